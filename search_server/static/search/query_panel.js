/** The query beside its results: the picture, what the model sees of it, how long it took. */

import { button, h, icon, iconButton } from "../parts/dom.js";
import { copyLink } from "../parts/messages.js";
import { count, milliseconds } from "../parts/words.js";

/** @type {Record<string, string>} */
const WARNINGS = {
  "plain-query": "This picture is almost one colour: there is little to compare.",
  "nothing-close": "Nothing in this gallery is much like it. These are the nearest.",
};

/** @typedef {{name: string, image: string | null, width?: number, height?: number}} Asked */

/**
 * @param {Asked} query As the API describes it, or {name, image} of a picture that is still on its way.
 * @param {Rest.GalleryOut} gallery
 * @param {{morph: (() => void) | null, restart: () => void}} ways
 */
export function queryPanel(query, gallery, ways) {
  const facts = h("p", { class: "query-facts", "aria-busy": "true" }, "Looking …");
  const seen = h("figure", { class: "query-seen" });
  const notice = h("div", { class: "query-notice" });
  const element = h(
    "section",
    { class: "query", "aria-label": "Your picture" },
    iconButton("close", "New search", ways.restart, { class: "icon-button query-close" }),
    h(
      "div",
      { class: "query-pictures" },
      h("figure", { class: "query-picture" }, framed(query.image, query, `Query: ${query.name}`), h("figcaption", {}, "Your picture")),
      seen,
    ),
    h("div", { class: "query-words" }, h("h1", { class: "query-name", title: query.name }, query.name), facts),
    h(
      "div",
      { class: "actions query-actions" },
      ways.morph && button("morph", "Morph", ways.morph),
      button("link", "Copy link", () => copyLink(location.href)),
    ),
    notice,
  );
  /** @param {Rest.SearchOut} answer */
  const answered = (answer) => showAnswer(answer, gallery, { facts, seen, notice });
  return { element, answered };
}

/** @param {string | null} source @param {{width?: number, height?: number}} side @param {string} alt */
function framed(source, { width, height }, alt) {
  const size = width && height ? { width, height } : {};
  return h("div", { class: "frame" }, h("img", { src: source, alt, ...size, decoding: "async" }));
}

/**
 * @param {Rest.SearchOut} answer
 * @param {Rest.GalleryOut} gallery
 * @param {Record<"facts" | "seen" | "notice", HTMLElement>} places
 */
function showAnswer({ query, index, took_ms: took, provider }, gallery, { facts, seen, notice }) {
  facts.removeAttribute("aria-busy");
  const embedded = took.embed === undefined ? null : `Embedded in ${milliseconds(took.embed)} on ${provider.toUpperCase()}`;
  const searched = `Searched ${count(index.count)} in ${milliseconds(took.search)}`;
  const lines = [`${count(query.width)} × ${count(query.height)} pixels`, embedded, searched];
  facts.replaceChildren(...lines.filter(Boolean).map((line) => h("span", {}, line)));
  if (query.reconstruction_url) {
    seen.replaceChildren(
      framed(query.reconstruction_url, { width: 1, height: 1 }, "The query as the model paints it from its code"),
      h("figcaption", {}, h("strong", {}, "What the model sees"), h("span", {}, `Painted from the ${gallery.model.dims} numbers that it keeps of it`)),
    );
  }
  const words = query.warning && (WARNINGS[query.warning] ?? query.warning);
  notice.replaceChildren(...(words ? [h("p", { class: "notice" }, icon("warning"), h("span", {}, words))] : []));
}
