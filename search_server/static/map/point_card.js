/** What a point is: a card beside it while the reader points at it, with what can be done once it is clicked. */

import { isWithdrawn } from "../api.js";
import { button, h, iconButton } from "../parts/dom.js";
import { announce, note } from "../parts/messages.js";

const PATIENCE = 60; // milliseconds that a mouse rests on a point before it is asked about
const KEPT = 300;

export class PointCard {
  /** @param {import("../app.js").Page} page @param {import("./map_stage.js").MapStage} stage @param {AbortSignal} signal */
  constructor(page, stage, signal) {
    this.page = page;
    this.stage = stage;
    this.signal = signal;
    /** @type {Map<string, Rest.ItemOut>} */
    this.known = new Map();
    this.timer = 0;
    this.row = -1;
    this.pinned = false;
    this.element = h("div", { class: "point-card", hidden: true });
    this.element.addEventListener("keydown", (event) => event.key === "Escape" && this.#close());
    signal.addEventListener("abort", () => clearTimeout(this.timer));
  }

  /** The reader points at a picture, or at none. @param {number} row @param {number} x @param {number} y */
  hint(row, x, y) {
    if (this.pinned) return row < 0 && this.stage.moving ? this.hide() : undefined;
    clearTimeout(this.timer);
    if (row < 0) return this.hide();
    this.timer = setTimeout(() => this.#show(row, x, y, false), PATIENCE);
  }

  /** A picture was clicked, or none. @param {number} row @param {number} x @param {number} y */
  pin(row, x, y) {
    clearTimeout(this.timer);
    if (row < 0) return this.hide();
    this.#show(row, x, y, true);
  }

  hide() {
    this.pinned = false;
    this.row = -1;
    if (!this.element.hidden) this.element.hidden = true;
  }

  #close() {
    this.hide();
    this.stage.element.focus();
  }

  /** @param {number} row @param {number} x @param {number} y @param {boolean} pinned */
  async #show(row, x, y, pinned) {
    this.row = row;
    this.pinned = pinned;
    const id = String(this.stage.ids[row]);
    let item;
    try {
      item = await this.#item(id);
    } catch (error) {
      if (!isWithdrawn(error) && pinned) note(error.message);
      return;
    }
    if (this.row !== row) return; // the reader points at another one meanwhile
    const group = this.stage.colouring.groups.find(({ code }) => code === this.stage.colouring.codes[row]);
    this.element.replaceChildren(
      h("img", { src: item.thumb, alt: "", width: item.width, height: item.height }),
      h("div", { class: "point-words" }, h("p", { class: "path" }, h("strong", {}, item.name)), h("p", { class: "quiet-words" }, group?.words ?? "")),
      ...(pinned ? [this.#actions(item)] : []),
    );
    this.element.classList.toggle("pinned", pinned);
    this.element.hidden = false;
    this.#place(x, y);
    if (pinned) {
      announce(item.name);
      this.element.querySelector("button")?.focus({ preventScroll: true });
    }
  }

  /** @param {string} id @returns {Promise<Rest.ItemOut>} */
  async #item(id) {
    const known = this.known.get(id);
    if (known) return known;
    if (this.known.size > KEPT) this.known.clear();
    const item = /** @type {Rest.ItemOut} */ (await this.page.api.picture(id, this.signal));
    this.known.set(id, item);
    return item;
  }

  /** @param {Rest.ItemOut} item */
  #actions(item) {
    const { page } = this;
    const toTray = () => note(page.tray.add([item]) ? "The tray is full: take some pictures out first" : `${item.name} is on the tray`);
    return h(
      "div",
      { class: "point-actions" },
      button("similar", "More like this", () => page.search(item), { class: "button primary" }),
      iconButton("info", "All about it", () => page.go(`item/${item.id}`)),
      iconButton("plus", "Put on the tray", toTray),
      iconButton("close", "Close", () => this.#close()),
    );
  }

  /** Beside the point, where there is room. @param {number} x @param {number} y */
  #place(x, y) {
    const { width, height } = this.stage.camera;
    const box = this.element.getBoundingClientRect();
    const left = x + 18 + box.width < width ? x + 18 : x - 18 - box.width;
    const top = Math.min(Math.max(8, y - box.height / 2), height - box.height - 8);
    this.element.style.setProperty("--left", `${Math.round(Math.max(8, left))}px`);
    this.element.style.setProperty("--top", `${Math.round(Math.max(8, top))}px`);
  }
}
