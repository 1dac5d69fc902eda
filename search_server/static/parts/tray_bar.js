/** The tray at the foot of the window: pictures put aside, their sum as the model paints it, what can be done with them. */

import { isWithdrawn } from "../api.js";
import { button, h, icon, iconButton } from "./dom.js";
import { announce, note } from "./messages.js";
import { bodyOf, partsText } from "./question.js";
import { remember, remembered } from "./storage.js";
import { count, plural } from "./words.js";

const MOST_PARTS = 16; // of a query, with each sign
const PATIENCE = 150; // milliseconds before the sum is painted: several may be put in at once

export class TrayBar {
  /** @type {string | null} Of what the sum is painted. */
  painted = null;
  /** @type {AbortController | null} */
  painting = null;
  resting = 0;

  /** @param {import("../app.js").Page} page */
  constructor(page) {
    this.page = page;
    this.tray = page.tray;
    this.open = remembered("tray", "open") === "open";
    this.list = h("ol", { class: "tray-pictures", role: "list", "aria-label": "Pictures on the tray" });
    this.sum = h("div", { class: "tray-sum" });
    this.words = h("span", { class: "tray-words" });
    this.handle = h("button", { type: "button", class: "tray-handle", "aria-controls": "tray-body", onclick: () => this.#fold() }, icon("tray"), this.words, icon("up"));
    this.acts = h("div", { class: "actions tray-acts" });
    this.body = h("div", { class: "tray-body", id: "tray-body" }, this.sum, this.list, this.acts);
    this.element = h("section", { class: "tray", "aria-label": "Tray", hidden: true }, this.handle, this.body);
    this.tray.addEventListener("change", () => this.#show());
    document.body.append(this.element);
    new ResizeObserver(() => this.#makeRoom()).observe(this.element);
    this.#show();
  }

  #fold() {
    this.open = !this.open;
    remember("tray", this.open ? "open" : "closed");
    this.#show();
  }

  #show() {
    const { entries, size } = this.tray;
    this.element.hidden = !size;
    this.element.classList.toggle("open", this.open);
    this.body.hidden = !this.open;
    this.handle.setAttribute("aria-expanded", String(this.open));
    const minus = entries.filter(({ sign }) => sign < 0).length;
    this.words.textContent = `Tray: ${plural(size, "picture", "pictures")}${minus ? `, ${count(minus)} of them less` : ""}`;
    this.#makeRoom();
    if (!size || !this.open) return;
    this.#pictures(entries);
    this.#actions(entries);
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.#paint(), PATIENCE);
  }

  /** What lies below can be scrolled clear of the tray. */
  #makeRoom() {
    document.body.style.setProperty("--tray", this.element.hidden ? "0px" : `${this.element.offsetHeight}px`);
  }

  /** Only what has changed is drawn anew, so that the focus stays where it is. @param {import("../parts/tray.js").Entry[]} entries */
  #pictures(entries) {
    const there = new Map([...this.list.children].map((one) => [/** @type {HTMLElement} */ (one).dataset.id, one]));
    const wanted = entries.map(({ item, sign }) => {
      const one = /** @type {HTMLElement} */ (there.get(item.id) ?? this.#picture(item));
      one.dataset.sign = sign > 0 ? "plus" : "minus";
      const toggle = /** @type {HTMLElement} */ (one.querySelector(".tray-sign"));
      toggle.setAttribute("aria-label", sign > 0 ? `More of ${item.name}: press for less` : `Less of ${item.name}: press for more`);
      toggle.replaceChildren(icon(sign > 0 ? "plus" : "minus"));
      return one;
    });
    for (const one of there.values()) if (!wanted.includes(/** @type {HTMLElement} */ (one))) one.remove();
    wanted.forEach((/** @type {HTMLElement} */ one, /** @type {number} */ place) => this.list.children[place] === one || this.list.insertBefore(one, this.list.children[place] ?? null));
  }

  /** @param {import("../api.js").Picture} item */
  #picture(item) {
    const sign = h("button", { type: "button", class: "icon-button tray-sign", onclick: () => this.tray.add([item], this.tray.signOf(item.id) > 0 ? -1 : 1) });
    const picture = h("img", { src: item.thumb ?? item.image, alt: item.name, width: item.width, height: item.height, draggable: "false" });
    const away = iconButton("close", `Take ${item.name} off the tray`, () => this.#takeOff(item), { class: "icon-button tray-away" });
    const one = h("li", { class: "tray-picture", tabindex: 0, data: { id: item.id }, "aria-label": item.name }, picture, sign, away);
    one.addEventListener("keydown", (event) => this.#key(event, item, one));
    return one;
  }

  /** @param {KeyboardEvent} event @param {import("../api.js").Picture} item @param {HTMLElement} one */
  #key(event, item, one) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    /** @type {Record<string, () => unknown>} */
    const acts = {
      "+": () => this.tray.add([item], 1),
      "-": () => this.tray.add([item], -1),
      Delete: () => this.#takeOff(item),
      x: () => this.#takeOff(item),
      ArrowLeft: () => /** @type {HTMLElement | null} */ (one.previousElementSibling)?.focus(),
      ArrowRight: () => /** @type {HTMLElement | null} */ (one.nextElementSibling)?.focus(),
      s: () => this.page.search(item),
    };
    const act = acts[event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  /** @param {import("../api.js").Picture} item */
  #takeOff(item) {
    const one = this.list.querySelector(`[data-id="${CSS.escape(item.id)}"]`);
    const next = /** @type {HTMLElement | null} */ (one?.nextElementSibling ?? one?.previousElementSibling);
    this.tray.remove(item.id);
    announce(`${item.name} taken off the tray`);
    (next ?? document.querySelector("main"))?.focus({ preventScroll: true });
  }

  /** @param {import("../parts/tray.js").Entry[]} entries */
  #actions(entries) {
    const { page } = this;
    const plus = entries.filter(({ sign }) => sign > 0);
    const pair = page.gallery.model.has_decoder && entries.length === 2;
    this.acts.replaceChildren(
      button("search", entries.length > 1 ? "Search with all" : "Search", () => this.search(), { class: "button primary", disabled: !plus.length }),
      pair ? button("morph", "Morph", () => page.go("morph", { a: entries[0].item.id, b: entries[1].item.id })) : "",
      button("picture", "Contact sheet", () => this.#sheet(), { class: "button quiet" }),
      button("table", "CSV", () => this.#csv(), { class: "button quiet" }),
      button("copy", "Copy ids", () => this.#ids(), { class: "button quiet" }),
      button("close", "Clear", () => this.#clear(), { class: "button quiet" }),
    );
  }

  get #parts() {
    /** @param {1 | -1} wanted */
    const parts = (wanted) => this.tray.entries.filter(({ sign }) => sign === wanted).map(({ item }) => ({ id: item.id, weight: 1 }));
    return { like: parts(1), unlike: parts(-1) };
  }

  /** Search with all at once: like the mean of those with +, unlike those with −. */
  search() {
    const { like, unlike } = this.#parts;
    if (like.length > MOST_PARTS || unlike.length > MOST_PARTS) {
      note(`A search takes at most ${MOST_PARTS} pictures of each sign: the first ${MOST_PARTS} count`);
    }
    if (like.length === 1 && !unlike.length) return this.page.search(this.tray.entries[0].item);
    return this.page.go("search", { like: partsText(like.slice(0, MOST_PARTS)), unlike: partsText(unlike.slice(0, MOST_PARTS)) });
  }

  /** What the model paints of the sum: the query, before it is asked. */
  async #paint() {
    const { like, unlike } = this.#parts;
    this.painting?.abort();
    const asked = partsText(like) + "|" + partsText(unlike);
    if (asked === this.painted) return;
    if (!this.page.gallery.model.has_decoder || !like.length || like.length + unlike.length < 2) {
      this.painted = asked;
      return this.sum.replaceChildren();
    }
    this.painting = new AbortController();
    const question = { id: null, like: like.slice(0, MOST_PARTS), unlike: unlike.slice(0, MOST_PARTS), crop: null, forms: "none", self: false, once: false, same: false, beta: 1, filter: null, galleries: [] };
    try {
      const { query } = await this.page.api.sum(bodyOf(question, true), this.painting.signal);
      this.painted = asked;
      const picture = h("img", { src: query.reconstruction_url, alt: "All of them together, as the model paints their sum", width: 64, height: 64 });
      this.sum.replaceChildren(h("button", { type: "button", class: "tray-together", title: "Search with all", "aria-label": "Search with all: this is their sum", onclick: () => this.search() }, picture), h("span", { "aria-hidden": "true" }, "="));
    } catch (error) {
      if (!isWithdrawn(error)) this.sum.replaceChildren(); // only a preview: the search itself will say what is wrong
    }
    return undefined;
  }

  async #sheet() {
    const { contactSheet } = await import("./tray/contact_sheet.js");
    try {
      download(await contactSheet(this.tray.entries, this.page.gallery.name), `${this.page.gallery.name}-tray.png`);
    } catch {
      note("The contact sheet could not be drawn: a picture is not available");
    }
  }

  async #csv() {
    const { trayTable } = await import("./tray/tray_table.js");
    download(trayTable(this.tray.entries, (id) => new URL(this.page.address("search", { id }), location.href).href), `${this.page.gallery.name}-tray.csv`);
  }

  async #ids() {
    const { copyText } = await import("./picture_acts.js");
    copyText(this.tray.entries.map(({ item }) => item.id).join("\n"), `${plural(this.tray.size, "id", "ids")} copied`);
  }

  #clear() {
    this.tray.clear();
    announce("The tray is empty");
    document.querySelector("main")?.focus({ preventScroll: true });
  }
}

/** Hand a file to the reader. @param {Blob} blob @param {string} name */
function download(blob, name) {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000); // milliseconds: the browser has begun by then
}
