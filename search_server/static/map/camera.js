/** Which part of the map is seen, and how large: the plane from -1 to 1 with y upwards, the screen in CSS pixels. */

/** @typedef {{left: number, right: number, bottom: number, top: number}} Box On the plane. */

const MARGIN = 0.9; // of the window is filled by the whole map
const DEEPEST = 4096; // times as large as the whole map

export class Camera {
  constructor() {
    this.x = 0;
    this.y = 0;
    this.zoom = 1;
    this.width = 1;
    this.height = 1;
  }

  /** Pixels of one unit when the whole map is seen. */
  get base() {
    return (Math.min(this.width, this.height) / 2) * MARGIN;
  }

  get scale() {
    return this.base * this.zoom;
  }

  /** @param {number} x */
  screenX(x) {
    return (x - this.x) * this.scale + this.width / 2;
  }

  /** @param {number} y */
  screenY(y) {
    return (this.y - y) * this.scale + this.height / 2;
  }

  /** @param {number} px @returns {number} */
  worldX(px) {
    return (px - this.width / 2) / this.scale + this.x;
  }

  /** @param {number} py @returns {number} */
  worldY(py) {
    return this.y - (py - this.height / 2) / this.scale;
  }

  /** What is seen, and some pixels more on each side. @returns {Box} */
  box(pad = 0) {
    return { left: this.worldX(-pad), right: this.worldX(this.width + pad), bottom: this.worldY(this.height + pad), top: this.worldY(-pad) };
  }

  /** Move by pixels. @param {number} dx @param {number} dy */
  pan(dx, dy) {
    this.x -= dx / this.scale;
    this.y += dy / this.scale;
    this.#keepInside();
  }

  /** Zoom, so that what is at a pixel stays there. @param {number} factor @param {number} px @param {number} py */
  zoomAt(factor, px, py) {
    const [x, y] = [this.worldX(px), this.worldY(py)];
    this.zoom = Math.min(DEEPEST, Math.max(0.5, this.zoom * factor));
    this.x = x - (px - this.width / 2) / this.scale;
    this.y = y + (py - this.height / 2) / this.scale;
    this.#keepInside();
  }

  all() {
    Object.assign(this, { x: 0, y: 0, zoom: 1 });
  }

  /** Show a box. @param {Box} box */
  show({ left, right, bottom, top }) {
    const fits = Math.min(this.width / Math.max(right - left, 1e-6), this.height / Math.max(top - bottom, 1e-6)) * 0.74;
    Object.assign(this, { x: (left + right) / 2, y: (bottom + top) / 2, zoom: Math.min(DEEPEST, Math.max(1, fits / this.base)) });
  }

  /** As the address has it. */
  get words() {
    const digits = Math.max(2, Math.ceil(Math.log10(this.scale)));
    return [this.x.toFixed(digits), this.y.toFixed(digits), this.zoom.toFixed(2)].map(Number).join(",");
  }

  /** @param {string | null} words */
  read(words) {
    const [x, y, zoom] = (words ?? "").split(",").map(Number);
    if (![x, y, zoom].every(Number.isFinite)) return false;
    Object.assign(this, { x, y, zoom: Math.min(DEEPEST, Math.max(0.5, zoom)) });
    this.#keepInside();
    return true;
  }

  #keepInside() {
    this.x = Math.min(1, Math.max(-1, this.x));
    this.y = Math.min(1, Math.max(-1, this.y));
  }
}
