/** One picture at full size, or beside the query; arrows go to the next one. */

import { button, h, icon, iconButton } from "./dom.js";
import { announce } from "./messages.js";
import { remember, remembered } from "./storage.js";
import { count, labelWords, scoreWords } from "./words.js";

/** @typedef {import("../api.js").Picture} Picture */
/** @typedef {{name: string, image: string | null, width: number, height: number, thumb?: string}} Shown What a picture's place needs to know. */
/** @typedef {(item: Picture) => void} Act */

/**
 * @typedef {object} LightboxWays
 * @property {Shown} [query] The picture that the items are like, to be shown beside them.
 * @property {Act} similar
 * @property {Act | null} morph
 * @property {Act} share
 */
export class Lightbox {
  /** @type {Picture[]} */
  items = [];
  index = 0;
  /** @type {LightboxWays} */
  ways = { similar: () => {}, morph: null, share: () => {} };
  /** @type {Element | null} Where the focus was. */
  opener = null;

  constructor() {
    this.stage = h("div", { class: "lightbox-stage" });
    this.words = h("div", { class: "lightbox-words" });
    this.actions = h("div", { class: "actions" });
    this.beside = h(
      "button",
      { type: "button", class: "button", "aria-pressed": "false", onclick: () => this.#toggleBeside() },
      icon("beside"),
      h("span", {}, "Beside the query"),
    );
    this.back = iconButton("back", "Previous picture", () => this.step(-1), { class: "icon-button step step-back" });
    this.forward = iconButton("forward", "Next picture", () => this.step(1), { class: "icon-button step step-forward" });
    /** @type {HTMLDialogElement} */
    this.dialog = h(
      "dialog",
      { class: "lightbox", "aria-label": "Picture" },
      iconButton("close", "Close", () => this.dialog.close(), { class: "icon-button lightbox-close" }),
      this.back,
      this.stage,
      this.forward,
      h("div", { class: "lightbox-foot" }, this.words, this.actions),
    );
    this.dialog.addEventListener("close", () => this.#closed());
    this.dialog.addEventListener("click", (event) => event.target === this.stage && this.dialog.close());
    this.dialog.addEventListener("keydown", (event) => this.#key(event));
    this.#swipe();
    document.body.append(this.dialog);
  }

  get isOpen() {
    return this.dialog.open;
  }

  /**
   * @param {Picture[]} items
   * @param {Picture} item The one to begin with.
   * @param {LightboxWays} ways
   */
  open(items, item, ways) {
    this.items = items;
    this.ways = ways;
    this.index = items.indexOf(item);
    this.beside.hidden = !ways.query;
    this.opener = document.activeElement;
    // An entry of the history of its own, so that a phone's Back closes the picture and not the page.
    history.pushState({ ...history.state, lightbox: true }, "");
    this.#show();
    this.dialog.showModal();
  }

  /** @param {number} by */
  step(by) {
    const index = this.index + by;
    if (index < 0 || index >= this.items.length) return;
    this.index = index;
    this.#show();
  }

  #closed() {
    if (history.state?.lightbox) history.back();
    this.stage.replaceChildren();
    const tile = document.querySelector(`.tile[data-id="${CSS.escape(this.items[this.index].id)}"] .tile-picture`);
    /** @type {HTMLElement | null} */ (tile ?? this.opener)?.focus();
  }

  /** Close first, and when the history is where it was before, go on. @param {Act} act */
  #leaveFor(act) {
    const item = this.items[this.index];
    addEventListener("popstate", () => setTimeout(() => act(item)), { once: true });
    this.dialog.close();
  }

  #show() {
    const item = this.items[this.index];
    const { query: given, morph } = this.ways;
    const query = given && remembered("beside", "no") === "yes" ? given : null;
    this.beside.setAttribute("aria-pressed", String(Boolean(query)));
    this.stage.classList.toggle("pair", Boolean(query));
    this.stage.replaceChildren(...(query ? [shown(query, "Your picture")] : []), shown(item, query ? item.name : null));
    this.words.replaceChildren(h("h2", {}, item.name), facts(item));
    this.actions.replaceChildren(
      this.beside,
      button("similar", "More like this", () => this.#leaveFor(this.ways.similar), { class: "button primary", data: { action: "similar" } }),
      ...(morph ? [button("morph", "Morph with the query", () => this.#leaveFor(morph))] : []),
      button("link", "Copy link", () => this.ways.share(item)),
    );
    this.back.disabled = this.index === 0;
    this.forward.disabled = this.index === this.items.length - 1;
    this.#fetchAhead();
    announce(`${item.name}, picture ${this.index + 1} of ${this.items.length}`);
  }

  /** The neighbours' pictures are in the cache before they are asked for. */
  #fetchAhead() {
    for (const index of [this.index + 1, this.index - 1]) {
      const item = this.items[index];
      if (item) new Image().src = item.image;
    }
  }

  #toggleBeside() {
    remember("beside", remembered("beside", "no") === "yes" ? "no" : "yes");
    this.#show();
    this.beside.focus();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    /** @type {Record<string, () => void>} */
    const acts = {
      ArrowLeft: () => this.step(-1),
      ArrowRight: () => this.step(1),
      s: () => this.#leaveFor(this.ways.similar),
      m: () => this.ways.morph && this.#leaveFor(this.ways.morph),
      c: () => this.ways.query && this.#toggleBeside(),
    };
    const act = acts[event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  #swipe() {
    const FAR = 50; // CSS pixels
    /** @type {number | null} */
    let start = null;
    this.stage.addEventListener("touchstart", (event) => (start = event.touches.length === 1 ? event.touches[0].clientX : null), { passive: true });
    this.stage.addEventListener("touchend", (event) => {
      if (start === null) return;
      const way = event.changedTouches[0].clientX - start;
      if (Math.abs(way) > FAR) this.step(way < 0 ? 1 : -1);
    });
  }
}

/** @param {Shown} item @param {string | null} words */
function shown(item, words) {
  const picture = h("img", { src: item.image, alt: item.name, style: { "--width": item.width, "--height": item.height } });
  if (item.thumb) picture.style.backgroundImage = `url("${item.thumb}")`; // there at once, until the sharp one is
  picture.addEventListener("load", () => (picture.style.backgroundImage = ""));
  return h("figure", {}, picture, words && h("figcaption", {}, words));
}

/** @param {Picture} item */
function facts(item) {
  const size = `${count(item.width)} × ${count(item.height)}`;
  const score = item.score === undefined ? null : h("strong", {}, `${labelWords(item.label ?? "")} · ${scoreWords(item.score)}`);
  return h("p", {}, score, h("span", {}, size), item.path && h("span", { class: "path" }, item.path));
}
