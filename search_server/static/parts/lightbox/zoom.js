/** Zoom and pan: wheel, double click, two fingers, keys; all pictures of a stage move together. */

const MOST = 12; // times
const DOUBLE = 2.5;
const FAR = 50; // CSS pixels of a swipe
const CLICK = 4; // CSS pixels that a hand may tremble

export class Zoom {
  scale = 1;
  x = 0;
  y = 0;
  moved = false; // the last press was none: something was pulled
  /** @type {Map<number, {x: number, y: number, startX: number}>} */
  fingers = new Map();

  /**
   * @param {HTMLElement} stage
   * @param {(by: number) => void} step A swipe to the next or the previous picture.
   */
  constructor(stage, step) {
    this.stage = stage;
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    stage.addEventListener("dblclick", (event) => this.#to(this.scale > 1 ? 1 : DOUBLE, event.clientX, event.clientY));
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    for (const kind of ["pointerup", "pointercancel"]) stage.addEventListener(kind, (event) => this.#up(/** @type {PointerEvent} */ (event), step));
    this.reset();
  }

  reset() {
    Object.assign(this, { scale: 1, x: 0, y: 0, moved: false });
    this.fingers.clear();
    this.#apply();
  }

  /** Keys: around the middle. @param {number} times */
  by(times) {
    const area = this.stage.getBoundingClientRect();
    this.#to(this.scale * times, area.left + area.width / 2, area.top + area.height / 2);
  }

  /** @param {any} event */
  #wheel(event) {
    event.preventDefault();
    this.#to(this.scale * Math.exp(-event.deltaY / (event.ctrlKey ? 120 : 400)), event.clientX, event.clientY);
  }

  /** Scale so that what is under a point stays under it: within the figure that the point is in. @param {number} scale @param {number} clientX @param {number} clientY */
  #to(scale, clientX, clientY) {
    const after = Math.min(MOST, Math.max(1, scale));
    const figure = document.elementsFromPoint(clientX, clientY).find((one) => one.matches("figure")) ?? this.stage;
    const area = figure.getBoundingClientRect();
    const [px, py] = [clientX - area.left - area.width / 2, clientY - area.top - area.height / 2];
    const ratio = after / this.scale;
    this.x = px - (px - this.x) * ratio;
    this.y = py - (py - this.y) * ratio;
    this.scale = after;
    this.#apply();
  }

  /** @param {any} event */
  #down(event) {
    if (event.button || event.target.closest("button, input")) return;
    this.moved = false;
    this.fingers.set(event.pointerId, { x: event.clientX, y: event.clientY, startX: event.clientX });
  }

  /** @param {any} event */
  #move(event) {
    const finger = this.fingers.get(event.pointerId);
    if (!finger) return;
    const before = [...this.fingers.values()].map(({ x, y }) => ({ x, y }));
    const [dx, dy] = [event.clientX - finger.x, event.clientY - finger.y];
    Object.assign(finger, { x: event.clientX, y: event.clientY });
    if (Math.abs(event.clientX - finger.startX) > CLICK) this.moved = true;
    const now = [...this.fingers.values()];
    if (now.length === 2) {
      this.moved = true;
      /** @param {{x: number, y: number}[]} both */
      const apart = ([one, other]) => Math.hypot(one.x - other.x, one.y - other.y);
      this.#to((this.scale * apart(now)) / Math.max(1, apart(before)), (now[0].x + now[1].x) / 2, (now[0].y + now[1].y) / 2);
    } else if (this.scale > 1) {
      this.x += dx;
      this.y += dy;
      this.moved = true;
      this.#apply();
    }
  }

  /** @param {any} event @param {(by: number) => void} step */
  #up(event, step) {
    const finger = this.fingers.get(event.pointerId);
    this.fingers.delete(event.pointerId);
    if (!finger || this.scale > 1 || this.fingers.size || event.pointerType === "mouse") return;
    const way = event.clientX - finger.startX;
    if (Math.abs(way) > FAR) step(way < 0 ? 1 : -1);
  }

  /** What is zoomed in cannot be pushed out of sight. */
  #apply() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    /** @param {number} size */
    const room = (size) => (size * (this.scale - 1)) / 2;
    this.x = Math.max(-room(width), Math.min(room(width), this.x));
    this.y = Math.max(-room(height), Math.min(room(height), this.y));
    const { style, classList } = this.stage;
    style.setProperty("--scale", String(this.scale));
    style.setProperty("--x", `${this.x}px`);
    style.setProperty("--y", `${this.y}px`);
    classList.toggle("zoomed-in", this.scale > 1);
  }
}
