/** Why a result is like the query, laid over its tile and over the query while the pointer rests on it, or the focus. */

import { isWithdrawn } from "../api.js";
import { h } from "../parts/dom.js";
import { PATCHES, placesOf, shade } from "../parts/heat.js";
import { announce, note } from "../parts/messages.js";

const REST = 350; // milliseconds that the pointer or the focus stays on a tile before the model is asked
const PRESS = 450; // milliseconds that a finger stays
const STIR = 10; // CSS pixels that it may move meanwhile
const KEPT = 100; // answers
const SIDE = 192; // pixels of a veil: it is smooth

/**
 * @typedef {object} Asked What is asked of whom.
 * @property {(item: any, patches: number, signal: AbortSignal) => Promise<Rest.ExplainOut>} explain
 * @property {(item: any) => boolean} fits Whether its model knows the query.
 * @property {() => HTMLElement | null} frame Of the query's picture.
 */

export class WhyOnTiles {
  /** @type {Map<string, Rest.ExplainOut>} By the item's id, the latest last. */
  known = new Map();
  /** @type {HTMLElement | null} The tile that is pointed at. */
  tile = null;
  /** @type {any} The item that is asked about; the server is asked about one at a time. */
  asking = null;
  timer = 0;
  held = false; // a finger is down
  pressed = false; // it stayed: what follows is not a tap
  withdrawn = new AbortController(); // of all questions
  listening = new AbortController();

  /** @param {import("../parts/picture_grid.js").PictureGrid} grid @param {Asked} asked */
  constructor(grid, asked) {
    this.grid = grid;
    this.asked = asked;
    const { list } = grid;
    /** @param {string} type @param {(event: any) => void} act */
    const on = (type, act, capture = false) => list.addEventListener(type, act, { signal: this.listening.signal, capture });
    list.classList.add("explaining");
    on("pointerover", (event) => event.pointerType !== "touch" && this.#point(event.target));
    on("pointerleave", (event) => event.pointerType !== "touch" && this.#point(null));
    on("focusin", (event) => event.target.matches(":focus-visible") && this.#point(event.target));
    on("focusout", () => this.#point(null));
    on("pointerdown", (event) => event.pointerType === "touch" && this.#press(event));
    // A finger that stays would also open the browser's menu, drag the link or follow it.
    on("contextmenu", (event) => this.pressed && event.preventDefault());
    on("dragstart", (event) => (this.pressed || this.held) && (event.preventDefault(), event.stopPropagation()), true);
    on("click", (event) => this.#tapped(event), true);
    this.#point(list.querySelector(":focus-visible")); // it may have had the focus before anybody listened
  }

  /** The query is another one: what was known of it is not true any more. */
  forget() {
    this.withdrawn.abort();
    this.withdrawn = new AbortController();
    this.known.clear();
    this.asking = null;
    this.#point(null);
  }

  close() {
    this.forget();
    this.listening.abort();
    this.grid.list.classList.remove("explaining");
  }

  /** @param {EventTarget | null} target */
  #point(target, after = REST) {
    const tile = target instanceof Element ? /** @type {HTMLElement | null} */ (target.closest(".tile")) : null;
    if (tile === this.tile) return;
    clearTimeout(this.timer);
    this.#uncover();
    this.tile = tile;
    if (tile) this.timer = setTimeout(() => this.#rested(), after);
  }

  /** @param {PointerEvent} event */
  #press(event) {
    const { clientX: x, clientY: y } = event;
    this.pressed = false;
    this.held = true;
    this.#point(null);
    const rested = setTimeout(() => {
      this.pressed = true;
      this.#point(event.target, 0);
    }, PRESS);
    const done = new AbortController();
    const end = () => {
      this.held = false;
      clearTimeout(rested);
      done.abort();
    };
    addEventListener("pointermove", (moved) => Math.hypot(moved.clientX - x, moved.clientY - y) > STIR && end(), { signal: done.signal });
    for (const type of ["pointerup", "pointercancel"]) addEventListener(type, end, { signal: done.signal });
  }

  /** @param {Event} event */
  #tapped(event) {
    if (!this.pressed) return;
    this.pressed = false;
    event.preventDefault();
    event.stopPropagation();
  }

  #item() {
    const place = this.tile?.dataset.place;
    return place === undefined ? null : (this.grid.item(Number(place)) ?? null);
  }

  #rested() {
    const item = this.#item();
    if (!item || !this.asked.fits(item)) return;
    const known = this.known.get(item.id);
    if (known) this.#cover(item, known);
    else if (this.asking === null) this.#ask(item); // else it is asked when the one before is answered
    else this.tile?.setAttribute("aria-busy", "true");
  }

  /** @param {any} item */
  async #ask(item) {
    const { signal } = this.withdrawn;
    this.asking = item;
    this.tile?.setAttribute("aria-busy", "true");
    try {
      const answer = await this.asked.explain(item, PATCHES, signal);
      this.known.set(item.id, answer);
      if (this.known.size > KEPT) this.known.delete([...this.known.keys()][0]);
    } catch (error) {
      if (isWithdrawn(error) || signal.aborted) return;
      note(error.message);
      this.tile?.removeAttribute("aria-busy");
      this.tile = null; // not again at once
    }
    this.asking = null;
    if (this.tile?.hasAttribute("aria-busy")) this.#rested(); // its own answer, or the turn of the one that waits
  }

  /** @param {any} item @param {Rest.ExplainOut} answer */
  #cover(item, answer) {
    const tile = /** @type {HTMLElement} */ (this.tile);
    tile.removeAttribute("aria-busy");
    const picture = tile.querySelector(".tile-picture");
    if (picture) lay(/** @type {HTMLElement} */ (picture), item.width / item.height, answer.b.weights);
    const frame = this.asked.frame();
    const shown = frame?.querySelector("img");
    if (frame && shown) lay(frame, shown.naturalWidth / shown.naturalHeight, answer.a.weights);
    announce(`${placesOf(answer.b.weights, item.name)} ${placesOf(answer.a.weights, "your picture")}`);
  }

  #uncover() {
    this.tile?.removeAttribute("aria-busy");
    for (const veil of [this.tile?.querySelector(".tile-why"), this.asked.frame()?.querySelector(".tile-why")]) veil?.remove();
  }
}

/** Veil the square in the middle of a picture, which is what the model sees, and all beside it. @param {HTMLElement} box @param {number} aspect @param {number[][]} weights */
function lay(box, aspect, weights) {
  const { clientWidth: width, clientHeight: height } = box;
  const across = Math.min(width, height * (aspect || 1));
  const side = Math.min(across, across / (aspect || 1));
  const veil = h("canvas", { class: "tile-why", width: SIDE, height: SIDE, "aria-hidden": "true", style: { width: `${side}px`, height: `${side}px` } });
  shade(veil, weights);
  box.querySelector(".tile-why")?.remove();
  box.append(veil);
}
