/** One picture at full size, or beside the query; arrows go to the next one. */

import { button, h, icon, iconButton } from "./dom.js";
import { announce } from "./messages.js";
import { remember, remembered } from "./storage.js";
import { count, labelWords, scoreWords } from "./words.js";

/**
 * @typedef {object} LightboxWays
 * @property {any} [query] The picture that the items are like, to be shown beside them.
 * @property {(item: any) => void} similar
 * @property {((item: any) => void) | null} morph
 * @property {(item: any) => void} share
 */
export class Lightbox {
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
   * @param {any[]} items
   * @param {any} item The one to begin with.
   * @param {LightboxWays} ways
   */
  open(items, item, ways) {
    Object.assign(this, { items, ways, index: items.indexOf(item) });
    this.beside.hidden = !ways.query;
    this.opener = document.activeElement;
    // An entry of the history of its own, so that a phone's Back closes the picture and not the page.
    history.pushState({ ...history.state, lightbox: true }, "");
    this.#show();
    this.dialog.showModal();
  }

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
    (tile ?? this.opener)?.focus?.();
  }

  /** Close first, and when the history is where it was before, go on. */
  #leaveFor(act) {
    const item = this.items[this.index];
    addEventListener("popstate", () => setTimeout(() => act(item)), { once: true });
    this.dialog.close();
  }

  #show() {
    const item = this.items[this.index];
    const { query } = this.ways;
    const beside = query && remembered("beside", "no") === "yes";
    this.beside.setAttribute("aria-pressed", String(Boolean(beside)));
    this.stage.classList.toggle("pair", Boolean(beside));
    this.stage.replaceChildren(
      ...[beside && shown(query, "Your picture"), shown(item, beside ? item.name : null)].filter(Boolean),
    );
    this.words.replaceChildren(h("h2", {}, item.name), facts(item));
    this.actions.replaceChildren(
      this.beside,
      button("similar", "More like this", () => this.#leaveFor(this.ways.similar), { class: "button primary", data: { action: "similar" } }),
      ...(this.ways.morph ? [button("morph", "Morph with the query", () => this.#leaveFor(this.ways.morph))] : []),
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

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
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
    let start = null;
    this.stage.addEventListener("touchstart", (event) => (start = event.touches.length === 1 ? event.touches[0].clientX : null), { passive: true });
    this.stage.addEventListener("touchend", (event) => {
      if (start === null) return;
      const way = event.changedTouches[0].clientX - start;
      if (Math.abs(way) > FAR) this.step(way < 0 ? 1 : -1);
    });
  }
}

function shown(item, words) {
  const style = item.width ? { "--width": item.width, "--height": item.height } : {};
  const picture = h("img", { src: item.image, alt: item.name, style });
  if (item.thumb) picture.style.backgroundImage = `url("${item.thumb}")`; // there at once, until the sharp one is
  picture.addEventListener("load", () => (picture.style.backgroundImage = ""));
  return h("figure", {}, picture, words && h("figcaption", {}, words));
}

function facts(item) {
  const size = `${count(item.width)} × ${count(item.height)}`;
  const score = item.score === undefined ? null : h("strong", {}, `${labelWords(item.label)} · ${scoreWords(item.score)}`);
  return h("p", {}, score, h("span", {}, size), item.path && h("span", { class: "path" }, item.path));
}
