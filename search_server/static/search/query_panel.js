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
  "out-of-domain": "The model has hardly seen pictures of this kind: its neighbours may mean little.",
};
/** @type {[string, string][]} */
const FORM_WORDS = [
  ["none", "Find it as it is"],
  ["mirror", "Find it mirrored too"],
  ["rotate", "Find it turned too"],
  ["all", "… mirrored and turned too"],
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
  const seen = page.gallery.model.has_decoder ? seenFigure(combined, page.gallery) : null;
  const notice = h("div", { class: "query-notice" });
  const frame = combined ? null : framed(query.image, query, `Query: ${query.name}`);
  // Of a file only its decoding tells the size: it gets the room of any.
  const room = query.width ? "query-picture" : "query-picture unmeasured";
  const pictures = h("div", { class: "query-pictures" }, frame && h("figure", { class: room }, frame, h("figcaption", {}, "Your picture")), seen);
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
  const sameTitle = "Lays your picture over the first hits: the same picture cropped, mirrored, turned, recoloured or written on comes first";
  /** @type {HTMLInputElement} */
  const same = h("input", { type: "checkbox", checked: question.same, title: sameTitle, onchange: () => ways.refine({ same: same.checked }) });
  // What is sent to a model is measured: a line more.
  const isSent = !combined && (!question.id || !isItem(question.id) || question.galleries.length > 0);
  const element = h(
    "section",
    { class: combined ? "query combined" : isSent ? "query sent" : "query", "aria-label": combined ? "Your pictures" : "Your picture" },
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
      !combined && h("label", { class: "check" }, same, h("span", { title: sameTitle }, "Find the same picture first")),
    ),
    notice,
  );
  if (crop && question.crop) crop.begin();
  return { element, answered: (/** @type {Rest.SearchOut & {galleries?: string[]}} */ answer) => showAnswer(answer, { name, facts, seen, notice, combined }), frame };
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

/** A picture whose room is there before it is. @param {string | null} source @param {{width?: number, height?: number}} side @param {string} alt */
function framed(source, { width, height }, alt) {
  const size = width && height ? { width, height } : {};
  /** @type {Record<string, string | number>} */
  const style = width && height ? { "--wide": `${width}px`, "--aspect": width / height } : {};
  return h("div", { class: "frame", style }, h("img", { src: source, alt, ...size, decoding: "async", draggable: "false" }));
}

/** Room for what the model sees, until it is painted. @param {boolean} combined @param {Rest.GalleryOut} gallery */
function seenFigure(combined, gallery) {
  const caption = combined
    ? [h("strong", {}, "Together"), h("span", {}, "What the model paints of their sum")]
    : [h("strong", {}, "What the model sees"), h("span", {}, `Painted from the ${gallery.model.dims} numbers that it keeps of it`)];
  return h("figure", { class: "query-seen" }, h("div", { class: "frame" }), h("figcaption", {}, caption));
}

/**
 * @param {Rest.SearchOut & {galleries?: string[]}} answer Galleries: that were searched, where it is not this one alone.
 * @param {{name: HTMLElement, facts: HTMLElement, seen: HTMLElement | null, notice: HTMLElement, combined: boolean}} places
 */
function showAnswer({ query, index, took_ms: took, provider, galleries }, { name, facts, seen, notice, combined }) {
  name.textContent = query.name;
  name.title = query.name;
  facts.removeAttribute("aria-busy");
  const size = combined ? null : `${count(query.width)} × ${count(query.height)} pixels`;
  const embedded = took.embed === undefined ? null : `Embedded in ${milliseconds(took.embed)} on ${provider.toUpperCase()}`;
  const where = galleries ? ` in ${plural(galleries.length, "gallery", "galleries")}` : "";
  const searched = `Searched ${count(index.count)}${where} in ${milliseconds(took.search)}`;
  facts.replaceChildren(...[size, embedded, searched].filter(Boolean).map((line) => h("span", {}, line)));
  if (seen) showSeen(seen, query.reconstruction_url ?? null, combined);
  const words = query.warning && (WARNINGS[query.warning] ?? query.warning);
  notice.replaceChildren(...(words ? [h("p", { class: "notice" }, icon("warning"), h("span", {}, words))] : []));
}

/** @param {HTMLElement} seen @param {string | null} address @param {boolean} combined */
function showSeen(seen, address, combined) {
  seen.hidden = !address; // where models without a decoder were searched, nothing is painted
  if (!address) return;
  const alt = combined ? "All of them together, as the model paints their sum" : "The query as the model paints it from its code";
  const there = seen.querySelector("img");
  if (there) there.src = address;
  else seen.querySelector(".frame")?.replaceWith(framed(address, { width: 1, height: 1 }, alt));
}
