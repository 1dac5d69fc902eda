/** Pictures in rows, each at its true aspect: the room is taken before the picture is there, so nothing jumps. */

import { h, iconButton, opensElsewhere, targetOf } from "./dom.js";
import { labelWords, scoreWords } from "./words.js";

// Thinner pictures than these are shown whole, in a tile of this aspect.
const NARROWEST = 0.45;
const WIDEST = 2.8;
const SHARP_ROW = 230; // CSS pixels: above, a thumbnail would be blurred and the preview is shown
const SKELETON_ASPECTS = [1.5, 0.75, 1.33, 1.5, 1, 1.5, 0.67, 1.33, 1.78, 1.5, 1.5, 0.8];
export const DRAGGED = "application/x-lookalike-picture"; // type of a tile that is dragged: its JSON

/** @typedef {import("../api.js").Picture} Picture */
/** @typedef {{icon: string, words: string, name: string, act: (item: Picture, tile: HTMLElement) => void}} Action */

/**
 * @typedef {object} GridChoices
 * @property {string} label What the list is, for screen readers.
 * @property {(id: string) => string} address Where a tile's link leads.
 * @property {(item: Picture, tile: HTMLElement) => void} choose A tile was clicked.
 * @property {Action[]} [actions]
 */
export class PictureGrid {
  /** @param {GridChoices} choices */
  constructor(choices) {
    this.choices = choices;
    /** @type {Picture[]} */
    this.items = [];
    this.sharp = false;
    this.list = h("ol", { class: "grid", role: "list", "aria-label": choices.label });
    this.list.addEventListener("keydown", (event) => this.#moveFocus(event));
    this.element = this.list;
    this.least = -1;
  }

  /** Add tiles below those that are there. @param {Picture[]} items */
  add(items) {
    this.list.querySelectorAll(".skeleton").forEach((tile) => tile.remove());
    this.list.removeAttribute("aria-busy");
    this.list.append(...items.map((item, number) => this.#tile(item, this.items.length + number)));
    this.items.push(...items);
    this.filter(this.least);
  }

  /** Show as many grey tiles where pictures will be. @param {number} number */
  expect(number) {
    this.list.setAttribute("aria-busy", "true");
    for (let index = 0; index < number; index++) {
      const aspect = SKELETON_ASPECTS[index % SKELETON_ASPECTS.length];
      const room = h("div", { class: "tile-picture" });
      this.list.append(h("li", { class: "tile skeleton", "aria-hidden": "true", style: { "--aspect": aspect } }, room));
    }
  }

  clear() {
    this.items = [];
    this.list.replaceChildren();
  }

  /** Hide tiles whose score is less, and return how many are shown. @param {number} least */
  filter(least) {
    this.least = least;
    const tiles = [.../** @type {NodeListOf<HTMLElement>} */ (this.list.querySelectorAll(".tile:not(.skeleton)"))];
    tiles.forEach((tile, index) => (tile.hidden = (this.items[index].score ?? 1) < least));
    return tiles.filter((tile) => !tile.hidden).length;
  }

  /** Set the height of a row in CSS pixels. @param {number} row */
  resize(row) {
    this.list.style.setProperty("--row", `${row}px`);
    this.sharp = row > SHARP_ROW;
    /** @type {NodeListOf<HTMLImageElement>} */
    const pictures = this.list.querySelectorAll("img[data-preview]");
    if (this.sharp) pictures.forEach(showPreview);
  }

  /** The item of the tile that has the focus, or null. */
  focused() {
    /** @type {HTMLElement | null | undefined} */
    const tile = document.activeElement?.closest(".tile");
    return tile && this.list.contains(tile) ? this.items[Number(tile.dataset.number)] : null;
  }

  /** @param {Picture} item @param {number} number */
  #tile(item, number) {
    const { address, choose, actions = [] } = this.choices;
    const aspect = Math.min(WIDEST, Math.max(NARROWEST, item.width / item.height));
    const picture = h("img", {
      src: this.sharp ? item.image : item.thumb,
      alt: altText(item),
      width: item.width,
      height: item.height,
      loading: number < 24 ? "eager" : "lazy",
      decoding: "async",
      draggable: "false",
      data: this.sharp ? {} : { preview: item.image },
      onerror: (event) => targetOf(event, ".tile")?.classList.add("broken"),
    });
    const link = h("a", { class: "tile-picture", href: address(item.id), draggable: "true" }, picture);
    const tile = h("li", { class: "tile", data: { number, id: item.id }, style: { "--aspect": aspect.toFixed(4) } }, link);
    link.addEventListener("click", (event) => {
      if (opensElsewhere(event)) return;
      event.preventDefault();
      choose(item, tile);
    });
    link.addEventListener("dragstart", (event) => {
      event.dataTransfer?.setData(DRAGGED, JSON.stringify(item));
      event.dataTransfer?.setData("text/uri-list", link.href);
    });
    if (item.score !== undefined) tile.append(caption(item, item.score));
    if (actions.length) tile.append(h("div", { class: "tile-actions" }, actions.map((action) => actionButton(action, item, tile))));
    return tile;
  }

  /** @param {KeyboardEvent} event */
  #moveFocus(event) {
    /** @type {Record<string, Step>} */
    const steps = { ArrowLeft: previous, ArrowRight: next, ArrowUp: above, ArrowDown: below };
    const step = steps[event.key];
    const link = targetOf(event, ".tile")?.querySelector(".tile-picture");
    if (!step || !link || event.altKey || event.ctrlKey || event.metaKey) return;
    /** @type {NodeListOf<HTMLElement>} */
    const links = this.list.querySelectorAll(".tile:not([hidden]):not(.skeleton) .tile-picture");
    const target = step([...links], /** @type {HTMLElement} */ (link));
    if (!target) return;
    event.preventDefault();
    target.focus();
    target.scrollIntoView({ block: "nearest" });
  }
}

/** "photo-12.jpg, near-duplicate, similarity 0.93" @param {Picture} item */
function altText(item) {
  if (item.score === undefined) return item.name;
  return `${item.name}, ${labelWords(item.label ?? "").toLowerCase()}, similarity ${scoreWords(item.score)}`;
}

/** @param {Picture} item @param {number} score */
function caption(item, score) {
  const share = Math.max(0, score).toFixed(3);
  const hint = item.percentile === undefined || item.percentile === null
    ? `Score ${score.toFixed(4)}`
    : `Score ${score.toFixed(4)}: closer than ${item.percentile.toFixed(1)} % of this gallery's nearest neighbours`;
  // The picture's text alternative says the same; read twice it would only be noise.
  return h(
    "div",
    { class: "tile-caption", "aria-hidden": "true", title: hint, data: { label: item.label }, style: { "--score": share } },
    h("span", { class: "score-label" }, labelWords(item.label ?? "")),
    h("span", { class: "score" }, scoreWords(score)),
  );
}

/** @param {Action} action @param {Picture} item @param {HTMLElement} tile */
function actionButton(action, item, tile) {
  return iconButton(action.icon, action.words, () => action.act(item, tile), {
    "aria-label": `${action.words}: ${item.name}`,
    data: { action: action.name },
  });
}

/** @param {HTMLImageElement} picture */
function showPreview(picture) {
  picture.src = picture.dataset.preview ?? picture.src;
  delete picture.dataset.preview;
}

/** @typedef {(links: HTMLElement[], link: HTMLElement) => HTMLElement | null | undefined} Step From one tile to another. */
/** @type {Step} */
const previous = (links, link) => links[links.indexOf(link) - 1];
/** @type {Step} */
const next = (links, link) => links[links.indexOf(link) + 1];
/** @type {Step} */
const above = (links, link) => nearestInRow(links, link, -1);
/** @type {Step} */
const below = (links, link) => nearestInRow(links, link, 1);

/**
 * The tile of the next row up or down whose middle is nearest.
 *
 * @param {HTMLElement[]} links
 * @param {HTMLElement} link
 * @param {-1 | 1} direction
 */
function nearestInRow(links, link, direction) {
  const here = link.getBoundingClientRect();
  /** @param {DOMRect} box */
  const middle = (box) => box.left + box.width / 2;
  const beyond = links
    .map((other) => ({ other, box: other.getBoundingClientRect() }))
    .filter(({ box }) => (direction > 0 ? box.top >= here.bottom : box.bottom <= here.top));
  if (!beyond.length) return null;
  const edge = direction > 0 ? Math.min(...beyond.map(({ box }) => box.top)) : Math.max(...beyond.map(({ box }) => box.top));
  const row = beyond.filter(({ box }) => Math.abs(box.top - edge) < 4);
  row.sort((one, two) => Math.abs(middle(one.box) - middle(here)) - Math.abs(middle(two.box) - middle(here)));
  return row[0].other;
}
