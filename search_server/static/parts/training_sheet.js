/** A sheet of a training's pictures under its words; where the window is narrow it is moved sideways, not made small. */

import { h } from "./dom.js";

/**
 * @param {string} words What it shows.
 * @param {HTMLImageElement} picture
 * @param {...HTMLElement} controls That stand above it.
 * @returns {HTMLElement}
 */
export function trainingSheet(words, picture, ...controls) {
  const scrolled = h("div", { class: "sheet-scroll", role: "group", "aria-label": words, tabindex: 0 }, picture);
  return h("figure", { class: "training-sheet" }, h("figcaption", {}, words), ...controls, scrolled);
}
