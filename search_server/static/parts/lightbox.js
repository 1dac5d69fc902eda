/** One picture as large as there is room, or compared with the query; arrows go to the next one. */

import { homeOf, isItem } from "../api.js";
import { button, h, icon, iconButton } from "./dom.js";
import { announce } from "./messages.js";
import { actsOf } from "./picture_tile.js";
import { remember, remembered } from "./storage.js";
import { bytesWords, count, hitWords, scoreWords } from "./words.js";

/** How an item is shown; all but the first need something to compare it with, or a decoder. */
/** @type {Record<string, {words: string, icon: string, key: string}>} */
const MODES = {
  one: { words: "Picture", icon: "picture", key: "1" },
  beside: { words: "Beside the query", icon: "beside", key: "c" },
  over: { words: "Over the query", icon: "over", key: "o" },
  why: { words: "Why similar", icon: "heat", key: "w" },
  model: { words: "As the model sees it", icon: "eye", key: "e" },
};

/** @typedef {import("../api.js").Picture & {bytes?: number, gallery?: string}} Picture Gallery: where it is another one's. */
/** @typedef {import("./picture_tile.js").Act} Act */
/** @typedef {(item: any, tile: HTMLElement | null) => void} Doing */

/**
 * @typedef {object} Walk Pictures in their order, of which not all need to be known yet.
 * @property {number} length
 * @property {(place: number) => any} at
 * @property {(place: number) => Promise<any>} fetch
 * @property {(item: any) => number} placeOf
 * @property {(place: number) => void} [reveal] Bring the picture's tile into the window, and into the focus.
 */

/**
 * @typedef {object} LightboxWays
 * @property {any} [query] The picture that the items are like, to be shown beside them.
 * @property {(item: any) => void} similar
 * @property {((item: any) => void) | null} morph
 * @property {(item: any) => void} share
 * @property {import("./picture_tile.js").Act[]} [acts] All that can be done with a picture.
 * @property {string} [mode] How the picture is shown at first.
 * @property {any} [gallery] Whose model is asked why, and what it sees.
 * @property {import("../api.js").Api} [api]
 */
export class Lightbox {
  /** @type {Walk} */
  walk = walkOf([]);
  /** @type {LightboxWays} */
  ways = { similar: () => {}, morph: null, share: () => {} };
  place = 0;
  mode = "one";
  /** @type {import("./lightbox/zoom.js").Zoom | null} */
  zoom = null;
  /** @type {Element | null} Where the focus was. */
  opener = null;
  asking = new AbortController();

  constructor() {
    this.stage = h("div", { class: "lightbox-stage" });
    this.words = h("div", { class: "lightbox-words" });
    this.actions = h("div", { class: "actions" });
    this.modes = h("div", { class: "lightbox-modes", role: "group", "aria-label": "How it is shown" });
    this.details = h("aside", { class: "lightbox-details", "aria-label": "About this picture", hidden: true });
    this.back = iconButton("back", "Previous picture", () => this.step(-1), { class: "icon-button step step-back" });
    this.forward = iconButton("forward", "Next picture", () => this.step(1), { class: "icon-button step step-forward" });
    this.about = iconButton("info", "About this picture (i)", () => this.#toggleDetails(), { "aria-pressed": "false" });
    /** @type {HTMLDialogElement} */
    this.dialog = h(
      "dialog",
      { class: "lightbox", "aria-label": "Picture" },
      h("div", { class: "lightbox-head" }, this.modes, h("div", { class: "lightbox-tools" }, this.about, iconButton("close", "Close", () => this.dialog.close(), { class: "icon-button lightbox-close" }))),
      this.back,
      this.stage,
      this.forward,
      this.details,
      h("div", { class: "lightbox-foot" }, this.words, this.actions),
    );
    this.dialog.addEventListener("close", () => this.#closed());
    this.dialog.addEventListener("click", (event) => event.target === this.stage && !this.zoom?.moved && this.dialog.close());
    this.dialog.addEventListener("keydown", (event) => this.#key(event));
    document.body.append(this.dialog);
  }

  get isOpen() {
    return this.dialog.open;
  }

  /** The picture that is shown. */
  get item() {
    return this.walk.at(this.place);
  }

  /**
   * @param {any[] | Walk} items
   * @param {any} item The one to begin with.
   * @param {LightboxWays} ways
   */
  open(items, item, ways) {
    this.walk = Array.isArray(items) ? walkOf(items) : items;
    this.ways = ways;
    this.place = Math.max(0, this.walk.placeOf(item));
    this.mode = [ways.mode, remembered("lightbox", "one")].find((mode) => this.#possible(mode)) ?? "one";
    this.opener = document.activeElement;
    // An entry of the history of its own, so that a phone's Back closes the picture and not the page.
    history.pushState({ ...history.state, lightbox: true }, "");
    document.documentElement.classList.add("lightbox-open");
    this.#begin();
    this.#show();
    this.dialog.showModal();
  }

  async #begin() {
    const { Zoom } = await import("./lightbox/zoom.js");
    this.zoom ??= new Zoom(this.stage, (by) => this.step(by));
    this.zoom.reset();
  }

  /** @param {number} by */
  async step(by) {
    const place = this.place + by;
    if (place < 0 || place >= this.walk.length) return;
    this.place = place;
    if (!this.walk.at(place) && !(await this.walk.fetch(place))) return;
    if (this.place === place && this.isOpen) this.#show();
  }

  #closed() {
    this.asking.abort();
    document.documentElement.classList.remove("lightbox-open");
    if (history.state?.lightbox) history.back();
    this.stage.replaceChildren();
    const item = this.item;
    if (this.walk.reveal && item) return this.walk.reveal(this.place);
    const tile = item && document.querySelector(`.tile[data-id="${CSS.escape(item.id)}"] .tile-picture`);
    /** @type {any} */ (tile ?? this.opener)?.focus?.();
    return undefined;
  }

  /** Close first, and when the history is where it was before, go on. @param {Doing} act */
  #leaveFor(act) {
    const { item } = this;
    addEventListener("popstate", () => setTimeout(() => act(item, null)), { once: true });
    this.dialog.close();
  }

  /** @param {string | undefined} mode */
  #possible(mode) {
    const { query, gallery, api } = this.ways;
    if (mode === "one") return true;
    const elsewhere = homeOf(this.item?.id ?? "").gallery !== null;
    if (elsewhere && (mode === "model" || (mode === "why" && isItem(query?.id ?? "")))) return false; // of another model
    if (mode === "beside" || mode === "over") return Boolean(query?.image);
    if (mode === "why") return Boolean(query?.id && api && gallery);
    return mode === "model" && Boolean(api && gallery?.model.has_decoder);
  }

  #show() {
    const { item } = this;
    this.asking.abort();
    this.asking = new AbortController();
    this.zoom?.reset();
    if (!this.#possible(this.mode)) this.mode = "one"; // this one is of another gallery
    const held = this.stage.contains(document.activeElement); // what goes away must not take the keys with it
    this.stage.dataset.mode = this.mode;
    this.stage.classList.toggle("pair", this.mode === "beside");
    if (this.mode === "one") this.stage.replaceChildren(shown(item, null));
    else this.#compare(item, this.asking.signal);
    this.words.replaceChildren(h("h2", {}, item.name), facts(item));
    this.#showModes(held);
    this.#showActions(item);
    this.back.disabled = this.place === 0;
    this.forward.disabled = this.place === this.walk.length - 1;
    if (!this.details.hidden) this.#fillDetails(item);
    this.#fetchAhead();
    announce(`${item.name}, picture ${count(this.place + 1)} of ${count(this.walk.length)}`);
  }

  /** @param {Picture} item @param {AbortSignal} signal */
  async #compare(item, signal) {
    if (this.mode === "beside") return this.stage.replaceChildren(shown(this.ways.query, "Your picture"), shown(item, item.name));
    const stages = await import("./lightbox/comparing.js");
    if (signal.aborted) return undefined;
    return /** @type {Record<string, (...given: any[]) => unknown>} */ (stages)[this.mode](this.stage, item, this.ways, signal);
  }

  /** @param {boolean} held */
  #showModes(held) {
    const possible = Object.entries(MODES).filter(([mode]) => this.#possible(mode));
    this.modes.hidden = possible.length < 2;
    const focused = held || this.modes.contains(document.activeElement);
    this.modes.replaceChildren(
      ...possible.map(([mode, { words, icon: drawing, key }]) =>
        h("button", { type: "button", class: "mode", "aria-pressed": String(mode === this.mode), "aria-label": words, title: `${words} (${key})`, data: { mode }, onclick: () => this.#setMode(mode) }, icon(drawing), h("span", {}, words)),
      ),
    );
    if (focused) /** @type {HTMLElement | null} */ (this.modes.querySelector("[aria-pressed=true]"))?.focus();
  }

  /** @param {string} mode */
  #setMode(mode) {
    this.mode = mode;
    remember("lightbox", mode === "why" ? "beside" : mode); // why is computed: only where it is asked for
    this.#show();
  }

  /** @param {Picture} item */
  #showActions(item) {
    const { morph, similar, share } = this.ways;
    const acts = actsOf(this.ways.acts ?? [], item);
    const tray = acts.find((act) => act.name === "tray");
    const others = acts.filter((act) => ["plus", "minus", "item", "path", "download"].includes(act.name));
    const trayButton = tray && button("tray", "Tray", () => (tray.act(item, null), this.#showActions(item)), { "aria-pressed": String(tray.pressed?.(item)), data: { action: "tray" } });
    const focused = /** @type {HTMLElement | null} */ (this.actions.contains(document.activeElement) ? document.activeElement : null)?.dataset.action;
    this.actions.replaceChildren(
      button("similar", "More like this", () => this.#leaveFor(similar), { class: "button primary", data: { action: "similar" } }),
      morph && acts.some((act) => act.name === "morph") ? button("morph", "Morph with the query", () => this.#leaveFor(morph), { data: { action: "morph" } }) : "",
      trayButton ?? "",
      button("link", "Copy link", () => share(item), { data: { action: "link" } }),
      others.length ? this.#more(item, others) : "",
    );
    if (focused) /** @type {HTMLElement | null} */ (this.actions.querySelector(`[data-action=${focused}]`))?.focus();
  }

  /** @param {Picture} item @param {import("../parts/picture_tile.js").Act[]} others */
  #more(item, others) {
    const open = async () => {
      const { openMenu } = await import("./picture_menu.js");
      const leaving = others.map((act) => (act.name === "item" ? { ...act, act: () => this.#leaveFor(act.act) } : act));
      openMenu(more, item, leaving, null);
    };
    const more = iconButton("more", "More", open, { data: { action: "menu" }, "aria-haspopup": "dialog" });
    return more;
  }

  /** The neighbours' pictures are in the cache before they are asked for. */
  #fetchAhead() {
    for (const place of [this.place + 1, this.place - 1]) {
      const item = place >= 0 && place < this.walk.length ? this.walk.at(place) : null;
      if (item) new Image().src = item.image;
    }
  }

  #toggleDetails() {
    this.details.hidden = !this.details.hidden;
    this.about.setAttribute("aria-pressed", String(!this.details.hidden));
    if (!this.details.hidden) this.#fillDetails(this.item);
  }

  /** @param {Picture} item */
  async #fillDetails(item) {
    const { signal } = this.asking;
    const { fillDetails } = await import("./lightbox/details.js");
    if (!signal.aborted) fillDetails(this.details, item, this.ways.api, signal);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || !(event.target instanceof Element)) return;
    if (event.target.closest(".picture-menu") || (event.target.closest("input") && event.key.startsWith("Arrow"))) return;
    const mode = Object.keys(MODES).find((name) => MODES[name].key === event.key);
    const acts = actsOf(this.ways.acts ?? [], this.item);
    /** @param {string} name */
    const put = (name) => () => {
      acts.find((act) => act.name === name)?.act(this.item, null);
      this.#showActions(this.item);
    };
    /** @type {Record<string, () => unknown>} */
    const known = {
      ArrowLeft: () => this.step(-1),
      ArrowRight: () => this.step(1),
      Home: () => this.step(-this.place),
      End: () => this.step(this.walk.length - 1 - this.place),
      s: () => this.#leaveFor(this.ways.similar),
      m: () => this.ways.morph && acts.some((act) => act.name === "morph") && this.#leaveFor(this.ways.morph),
      i: () => this.#toggleDetails(),
      x: put("tray"),
      "+": () => this.zoom?.by(1.4),
      "=": () => this.zoom?.by(1.4),
      "-": () => this.zoom?.by(1 / 1.4),
      0: () => this.zoom?.reset(),
    };
    const act = mode ? () => this.#possible(mode) && this.#setMode(mode === this.mode ? "one" : mode) : known[event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }
}

/** @param {any[]} items @returns {Walk} */
function walkOf(items) {
  return { length: items.length, at: (place) => items[place], fetch: async (place) => items[place], placeOf: (item) => items.indexOf(item) };
}

/** A picture in a figure; the small one is there at once. @param {any} item @param {string | null} words */
function shown(item, words) {
  const picture = h("img", { class: "zoomed", src: item.image, alt: item.name, draggable: "false" });
  if (item.width) picture.style.setProperty("--width", String(item.width));
  if (item.height) picture.style.setProperty("--height", String(item.height));
  if (item.thumb) picture.style.backgroundImage = `url("${item.thumb}")`; // there at once, until the sharp one is
  picture.addEventListener("load", () => (picture.style.backgroundImage = ""));
  return h("figure", {}, picture, words && h("figcaption", {}, words));
}

/** @param {Picture} item */
function facts(item) {
  const size = `${count(item.width)} × ${count(item.height)}${item.bytes === undefined ? "" : `, ${bytesWords(item.bytes)}`}`;
  const score = item.score === undefined ? null : h("strong", {}, `${hitWords(item)} · ${scoreWords(item.score)}`);
  return h("p", {}, score, h("span", {}, size), item.path && h("span", { class: "path" }, item.gallery ? `${item.gallery}: ${item.path}` : item.path));
}
