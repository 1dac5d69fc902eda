/** What can be done with a picture wherever it is shown, and the keys that do it. */

import { homeOf } from "../api.js";
import { copyLink, note } from "./messages.js";
import { plural } from "./words.js";
import { actsOf } from "./picture_tile.js";
import { VIEWS } from "../views.js";

/** @typedef {import("./picture_tile.js").Act} Act */

/**
 * @typedef {object} Ways What else the view that shows the pictures can do with them.
 * @property {(item: any) => void} [open]
 * @property {(item: any) => void} [compare]
 * @property {(item: any) => void} [why]
 * @property {((item: any) => void) | null} [morph]
 * @property {(item: any, act: "why" | "morph") => boolean} [fits] Whether that can be done with a picture of another gallery.
 * @property {Record<string, any>} [choices] Parameters that searches go on with.
 */

/**
 * @param {import("../app.js").Page} page
 * @param {Ways} ways
 * @returns {import("./picture_tile.js").Act[]}
 */
export function pictureActs(page, ways = {}) {
  const { tray } = page;
  const choices = () => ways.choices ?? {};
  const paints = page.gallery.model.has_decoder;
  /** @param {import("../api.js").Picture} item @param {1 | -1} sign */
  const put = (item, sign) => putOnTray(page, item, sign);
  /** @param {any} item */
  const isHere = (item) => homeOf(item.id).gallery === null; // the tray is of one gallery
  /** @param {"why" | "morph"} name @returns {(item: any) => boolean} */
  const fits = (name) => (item) => isHere(item) || Boolean(ways.fits?.(item, name));
  /** @param {any} item */
  const show = (item) => {
    const { id, gallery } = homeOf(item.id);
    page.go(`item/${id}`, {}, null, gallery);
  };
  /** @type {(Act | false | null | undefined)[]} */
  const acts = [
    { name: "similar", icon: "similar", words: "More like this", key: "s", quick: true, act: (item, tile) => page.search(item, tile, choices()) },
    { name: "tray", icon: "plus", words: "Put on the tray", key: "x", quick: true, only: true, act: (item) => put(item, tray.signOf(item.id) || 1), pressed: (item) => tray.has(item.id), fits: isHere },
    ways.open && { name: "open", icon: "expand", words: "Open", key: "Enter", act: ways.open },
    ways.compare && { name: "compare", icon: "beside", words: "Beside the query", key: "c", act: ways.compare },
    ways.why && { name: "why", icon: "heat", words: "Why similar", key: "w", act: ways.why, fits: fits("why") },
    paints && ways.morph && { name: "morph", icon: "morph", words: "Morph with the query", key: "m", act: ways.morph, fits: fits("morph") },
    paints && !ways.morph && { name: "morph", icon: "morph", words: "Morph from this", key: "m", act: (item) => page.go("morph", { a: item.id }) },
    { name: "plus", icon: "plus", words: "More of this", key: "+", act: (item) => put(item, 1), pressed: (item) => tray.signOf(item.id) > 0, fits: isHere },
    { name: "minus", icon: "minus", words: "Less of this", key: "-", act: (item) => put(item, -1), pressed: (item) => tray.signOf(item.id) < 0, fits: isHere },
    "item" in VIEWS && { name: "item", icon: "info", words: "All about it", act: show },
    { name: "link", icon: "link", words: "Copy link", act: (item) => copyLink(page.neighboursOf(item.id, choices())) },
    { name: "path", icon: "copy", words: "Copy path", act: (item) => copyText(item.path, "Path copied") },
    { name: "download", icon: "download", words: "Download", act: () => {}, address: (item) => fullAddress(item), download: (item) => jpegName(item.name) },
  ];
  return acts.filter((act) => Boolean(act)).map((act) => /** @type {Act} */ (act));
}

/** Keys that act on the picture that has the focus. @param {import("./picture_grid.js").PictureGrid} grid @param {import("../parts/picture_tile.js").Act[]} acts */
export function pictureKeys(grid, acts) {
  const focused = grid.focusedTile();
  const item = grid.focused();
  if (!focused?.tile || !item) return {};
  const { tile } = focused;
  const keys = Object.fromEntries(actsOf(acts, item).filter((/** @type {import("../parts/picture_tile.js").Act} */ act) => act.key && act.key.length === 1).map((/** @type {import("../parts/picture_tile.js").Act} */ act) => [act.key, () => act.act(item, tile)]));
  return { ...keys, ".": () => grid.menu(/** @type {HTMLElement} */ (tile.querySelector(".tile-picture")), item, tile) };
}

/** Put a picture on the tray, or take it off if it is there with this sign. @param {import("../app.js").Page} page @param {import("../api.js").Picture} item @param {1 | -1} sign */
export function putOnTray(page, item, sign) {
  const refused = page.tray.toggle(item, sign);
  if (refused) note("The tray is full");
  else if (!page.tray.has(item.id)) note("Taken off the tray");
  else note(`${sign > 0 ? "On the tray" : "On the tray, to look away from"}: ${plural(page.tray.size, "picture", "pictures")}`);
}

/** @param {string} text @param {string} done */
export async function copyText(text, done) {
  try {
    await navigator.clipboard.writeText(text);
    note(done);
  } catch {
    prompt("Copy this", text);
  }
}

/** Address of a picture at its full size, encoded anew as JPEG. @param {any} item */
export function fullAddress(item) {
  const address = new URL(item.image, location.href);
  address.searchParams.set("size", "full");
  address.searchParams.set("format", "jpeg");
  return address.pathname + address.search;
}

/** @param {string} name */
function jpegName(name) {
  return `${name.replace(/\.[^.]*$/, "")}.jpg`;
}
