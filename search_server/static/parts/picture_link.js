/** A small picture of the gallery that leads to what looks like it. */

import { h } from "./dom.js";

/**
 * @typedef {object} Shown
 * @property {string} id
 * @property {string} name
 * @property {string} thumb
 */

/**
 * @param {import("../app.js").Page} page
 * @param {Shown & Record<string, any>} picture An item, or a neighbour.
 * @param {string} words What it is, for tooltips and screen readers.
 * @param {Record<string, any>} [properties] Of the link.
 */
export function pictureLink(page, picture, words, properties = {}) {
  const address = page.address("search", { id: picture.id });
  return h(
    "a",
    { href: address, title: words, ...properties, onclick: leadTo(() => page.search(/** @type {any} */ (picture))) },
    h("img", { src: picture.thumb, alt: words, loading: "lazy", decoding: "async", draggable: "false" }),
  );
}

/**
 * Follow a link within the page; with a key that asks for a new tab or window, the browser does.
 *
 * @param {() => unknown} go
 * @returns {(event: MouseEvent) => void}
 */
export function leadTo(go) {
  return (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    go();
  };
}
