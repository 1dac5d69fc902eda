/** What a point is: a card beside it while the reader points at it, with what can be done once it is clicked. */

import { isWithdrawn } from "../api.js";
import { button, h, iconButton } from "../parts/dom.js";
import { announce, note } from "../parts/messages.js";

const PATIENCE = 60; // milliseconds that a mouse rests on a point before it is asked about
const KEPT = 300;

export class PointCard {
  /** @param {import("../app.js").Page} page @param {import("../analyses_api.js").AnalysesApi} analyses @param {import("./map_stage.js").MapStage} stage @param {AbortSignal} signal */
  constructor(page, analyses, stage, signal) {
    Object.assign(this, { page, analyses, stage, signal, known: new Map() });
    this.element = h("div", { class: "point-card", hidden: true });
    this.element.addEventListener("keydown", (event) => event.key === "Escape" && this.#close());
    signal.addEventListener("abort", () => clearTimeout(this.timer));
  }

  /** The reader points at a picture, or at none. */
  hint(row, x, y) {
    if (this.pinned) return row < 0 && this.stage.moving ? this.hide() : undefined;
    clearTimeout(this.timer);
    if (row < 0) return this.hide();
    this.timer = setTimeout(() => this.#show(row, x, y, false), PATIENCE);
  }

  /** A picture was clicked, or none. */
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
      pinned && this.#actions(item),
    );
    this.element.classList.toggle("pinned", pinned);
    this.element.hidden = false;
    this.#place(x, y);
    if (pinned) {
      announce(item.name);
      this.element.querySelector("button")?.focus({ preventScroll: true });
    }
  }

  async #item(id) {
    if (!this.known.has(id)) {
      if (this.known.size > KEPT) this.known.clear();
      this.known.set(id, await this.page.api.picture(id, this.signal));
    }
    return this.known.get(id);
  }

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

  /** Beside the point, where there is room. */
  #place(x, y) {
    const { width, height } = this.stage.camera;
    const box = this.element.getBoundingClientRect();
    const left = x + 18 + box.width < width ? x + 18 : x - 18 - box.width;
    const top = Math.min(Math.max(8, y - box.height / 2), height - box.height - 8);
    this.element.style.setProperty("--left", `${Math.round(Math.max(8, left))}px`);
    this.element.style.setProperty("--top", `${Math.round(Math.max(8, top))}px`);
  }
}
