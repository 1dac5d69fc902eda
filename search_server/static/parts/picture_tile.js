/** One picture of a list: what it shows, what it says, and what can be done with it. */

import { h, iconButton, svg } from "./dom.js";
import { hitWords, isPart, scoreWords } from "./words.js";

/**
 * @typedef {object} Act Something that can be done with a picture.
 * @property {string} name
 * @property {string} icon
 * @property {string} words
 * @property {(item: any, tile: HTMLElement | null) => void} act
 * @property {string} [key] The key that does the same while the tile has the focus.
 * @property {boolean} [quick] It has a button on the tile; all others stand in its menu.
 * @property {boolean} [only] It stands nowhere but there.
 * @property {(item: any) => string} [address] It leads there: a link, which can be opened in another tab.
 * @property {(item: any) => string} [download] Name of the file that it is saved as.
 * @property {(item: any) => boolean} [pressed] Whether it is so already.
 * @property {(item: any) => boolean} [fits] Whether it can be done with this picture; left out: with every one.
 */

/** What can be done with one picture. @param {Act[]} acts @param {any} item */
export function actsOf(acts, item) {
  return acts.filter((act) => !act.fits || act.fits(item));
}

/**
 * @param {any} item
 * @param {string} address Where its link leads.
 */
export function pictureTile(item, address) {
  const picture = h("img", { alt: altText(item), width: item.width, height: item.height, decoding: "async", draggable: "false" });
  const link = h("a", { class: "tile-picture", href: address, draggable: "true" }, picture);
  if (item.placeholder) {
    link.style.backgroundImage = `url("${item.placeholder}")`;
    picture.addEventListener("load", () => (link.style.backgroundImage = ""), { once: true }); // it would shine through
  }
  if (item.same_picture && isPart(item.same_picture)) link.append(partOutline(item.same_picture));
  const tile = h("li", { class: "tile", data: { id: item.id } }, link);
  if (item.gallery) tile.append(h("span", { class: "tile-gallery", "aria-hidden": "true" }, item.gallery));
  if (item.score !== undefined) tile.append(caption(item, item.score));
  return tile;
}

/** Which part of a hit the query shows. @param {import("./words.js").Lying} same */
function partOutline({ corners }) {
  const points = corners.map(([x, y]) => `${x},${y}`).join(" ");
  return svg("svg", { class: "part-outline", viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("polygon", { points }));
}

/** A picture of which only its shape is known yet. @param {string} id @param {string} address @param {string} words */
export function waitingTile(id, address, words) {
  return h("li", { class: "tile waiting", data: { id } }, h("a", { class: "tile-picture", href: address, "aria-label": words }));
}

/** Room for a picture of which nothing is known yet. */
export function skeletonTile() {
  return h("li", { class: "tile skeleton", "aria-hidden": "true" }, h("div", { class: "tile-picture" }));
}

/** "photo-12.jpg, near-duplicate, similarity 0.93" @param {any} item */
export function altText(item) {
  if (item.score === undefined) return item.name;
  return `${item.name}${item.gallery ? ` in ${item.gallery}` : ""}, ${hitWords(item).toLowerCase()}, similarity ${scoreWords(item.score)}`;
}

/**
 * @param {import("../api.js").Picture & {by?: string}} item By: what it is ranked by, where several models found it.
 * @param {number} score
 */
function caption(item, score) {
  const ranked = item.by === "percentile" && item.percentile !== null ? item.percentile : undefined;
  const share = Math.max(0, ranked === undefined ? score : ranked / 100).toFixed(3);
  const hint =
    item.percentile === undefined || item.percentile === null
      ? `Score ${score.toFixed(4)}`
      : `Score ${score.toFixed(4)}: closer than ${item.percentile.toFixed(1)} % of this gallery's nearest neighbours`;
  const first = item.same_picture ? `. ${hitWords(item)}` : item.stands_out ? ". First, because it stands out in what it shows or in how it looks" : "";
  // The picture's text alternative says the same; read twice it would only be noise.
  return h(
    "div",
    { class: "tile-caption", "aria-hidden": "true", title: hint + first, data: { label: item.label }, style: { "--score": share } },
    h("span", { class: "score-label" }, hitWords(item)),
    h("span", { class: "score" }, ranked === undefined ? scoreWords(score) : `${ranked.toFixed(1)} %`),
  );
}

/**
 * The buttons on a picture.
 *
 * @param {any} item
 * @param {HTMLElement} tile
 * @param {Act[]} acts
 * @param {((button: HTMLElement) => void) | null} menu Opens what else there is.
 */
export function tileActions(item, tile, acts, menu) {
  const buttons = acts.map((act) =>
    iconButton(act.icon, act.words, () => act.act(item, tile), {
      "aria-label": `${act.words}: ${item.name}`,
      "aria-pressed": act.pressed ? String(act.pressed(item)) : null,
      data: { action: act.name },
    }),
  );
  if (menu) {
    const more = iconButton("more", "More", () => menu(more), {
      "aria-label": `More: ${item.name}`,
      "aria-haspopup": "dialog",
      data: { action: "menu" },
    });
    buttons.push(more);
  }
  return h("div", { class: "tile-actions" }, buttons);
}
