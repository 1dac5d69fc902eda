/** The query beside its results: the picture or the pictures, what the model sees of it, how long it took. */

import { isItem } from "../api.js";
import { button, h, icon, iconButton } from "../parts/dom.js";
import { copyLink } from "../parts/messages.js";
import { count, milliseconds, plural } from "../parts/words.js";
import { cropBox } from "./crop_box.js";
import { partsList } from "./query_parts.js";
import { isCombined } from "../parts/question.js";

/** @type {Record<string, string>} */
const WARNINGS = {
  "plain-query": "This picture is almost one colour: there is little to compare.",
  "nothing-close": "Nothing in this gallery is much like it. These are the nearest.",
};
/** @type {[string, string][]} */
const FORM_WORDS = [
  ["none", "As it is"],
  ["mirror", "Mirrored too"],
  ["rotate", "Turned too"],
  ["all", "Mirrored and turned too"],
];

/** @typedef {{morph: (() => void) | null, restart: () => void, refine: (change: Partial<import("../parts/question.js").Question>) => void}} Ways */

/**
 * @param {any} query As the API describes it, or {name, image} of a picture that is still on its way.
 * @param {import("../parts/question.js").Question} question
 * @param {import("../app.js").Page} page
 * @param {Ways} ways
 */
export function queryPanel(query, question, page, ways) {
  const combined = isCombined(question);
  const name = h("h1", { class: "query-name", title: query.name }, query.name);
  const facts = h("p", { class: "query-facts", "aria-busy": "true" }, "Looking …");
  const seen = h("figure", { class: "query-seen" });
  const notice = h("div", { class: "query-notice" });
  const frame = combined ? null : framed(query.image, query, `Query: ${query.name}`);
  const pictures = h("div", { class: "query-pictures" }, frame && h("figure", { class: "query-picture" }, frame, h("figcaption", {}, "Your picture")), seen);
  const crop = frame ? cropping(frame, question, ways) : null;
  /** @type {HTMLSelectElement} */
  const forms = h(
    "select",
    { "aria-label": "Forms to look for", onchange: () => ways.refine({ forms: forms.value }) },
    FORM_WORDS.map(([value, words]) => h("option", { value, selected: value === question.forms }, words)),
  );
  /** @type {HTMLInputElement} */
  const itself = h("input", { type: "checkbox", checked: question.self, onchange: () => ways.refine({ self: itself.checked }) });
  /** @type {HTMLInputElement} */
  const once = h("input", { type: "checkbox", checked: question.once, title: "Of duplicates only the best", onchange: () => ways.refine({ once: once.checked }) });
  const element = h(
    "section",
    { class: combined ? "query combined" : "query", "aria-label": combined ? "Your pictures" : "Your picture" },
    iconButton("close", "New search", ways.restart, { class: "icon-button query-close" }),
    pictures,
    h("div", { class: "query-words" }, name, facts),
    combined && partsList(page, question, ways.refine),
    h(
      "div",
      { class: "actions query-actions" },
      ways.morph && button("morph", "Morph", ways.morph),
      crop?.button,
      button("link", "Copy link", () => copyLink(location.href)),
    ),
    h(
      "div",
      { class: "query-options" },
      !combined && h("label", { class: "choice" }, icon("mirror"), forms),
      question.id && isItem(question.id) && h("label", { class: "check" }, itself, h("span", {}, "Show the picture itself too")),
      h("label", { class: "check" }, once, h("span", {}, "Show each picture once")),
    ),
    notice,
  );
  if (crop && question.crop) crop.begin();
  return { element, answered: (/** @type {Rest.SearchOut & {galleries?: string[]}} */ answer) => showAnswer(answer, page.gallery, { name, facts, seen, notice, combined }), frame };
}

/** The rectangle on the picture, and the button that begins and ends it. @param {HTMLElement} frame @param {import("../parts/question.js").Question} question @param {Ways} ways */
function cropping(frame, question, ways) {
  /** @type {ReturnType<typeof cropBox> | null} */
  let box = null;
  /** @param {import("../parts/question.js").Crop | null} crop */
  const act = (crop) => ways.refine({ crop });
  const begin = () => {
    box ??= cropBox(frame, question.crop, act);
    frame.closest(".query")?.classList.add("cropping");
    show();
    return box;
  };
  const end = () => {
    const { crop } = question;
    box?.element.remove();
    box = null;
    frame.closest(".query")?.classList.remove("cropping");
    show();
    if (crop) act(null);
  };
  const toggle = button("crop", "Crop", () => {
    if (box) return end();
    return begin().box.focus({ preventScroll: true });
  });
  const show = () => {
    /** @type {HTMLElement} */ (toggle.querySelector("span")).textContent = box ? "Whole picture" : "Crop";
    toggle.setAttribute("aria-pressed", String(Boolean(box)));
  };
  show();
  return { button: toggle, begin: () => queueMicrotask(begin) };
}

/** @param {string | null} source @param {{width?: number, height?: number}} side @param {string} alt */
function framed(source, { width, height }, alt) {
  const size = width && height ? { width, height } : {};
  return h("div", { class: "frame" }, h("img", { src: source, alt, ...size, decoding: "async", draggable: "false" }));
}

/**
 * @param {Rest.SearchOut & {galleries?: string[]}} answer Galleries: that were searched, where it is not this one alone.
 * @param {Rest.GalleryOut} gallery
 * @param {{name: HTMLElement, facts: HTMLElement, seen: HTMLElement, notice: HTMLElement, combined: boolean}} places
 */
function showAnswer({ query, index, took_ms: took, provider, galleries }, gallery, { name, facts, seen, notice, combined }) {
  name.textContent = query.name;
  name.title = query.name;
  facts.removeAttribute("aria-busy");
  const size = combined ? null : `${count(query.width)} × ${count(query.height)} pixels`;
  const embedded = took.embed === undefined ? null : `Embedded in ${milliseconds(took.embed)} on ${provider.toUpperCase()}`;
  const where = galleries ? ` in ${plural(galleries.length, "gallery", "galleries")}` : "";
  const searched = `Searched ${count(index.count)}${where} in ${milliseconds(took.search)}`;
  facts.replaceChildren(...[size, embedded, searched].filter(Boolean).map((line) => h("span", {}, line)));
  if (query.reconstruction_url) {
    const caption = combined
      ? [h("strong", {}, "Together"), h("span", {}, "What the model paints of their sum")]
      : [h("strong", {}, "What the model sees"), h("span", {}, `Painted from the ${gallery.model.dims} numbers that it keeps of it`)];
    const alt = combined ? "All of them together, as the model paints their sum" : "The query as the model paints it from its code";
    const there = seen.querySelector("img");
    if (there) there.src = query.reconstruction_url;
    else seen.replaceChildren(framed(query.reconstruction_url, { width: 1, height: 1 }, alt), h("figcaption", {}, caption));
  }
  const words = query.warning && (WARNINGS[query.warning] ?? query.warning);
  notice.replaceChildren(...(words ? [h("p", { class: "notice" }, icon("warning"), h("span", {}, words))] : []));
}
