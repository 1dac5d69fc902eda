/** What stands above pictures in rows: their size, their order, whether they are shown as the model sees them, of which galleries they are. */

import { SERVER_GONE } from "../api.js";
import { button, h, icon } from "./dom.js";
import { announce, note } from "./messages.js";
import { remember, remembered } from "./storage.js";
import { plural } from "./words.js";

const SMALLEST_ROW = 72; // CSS pixels
const LARGEST_ROW = 400;
const STEP = 8;

/** The height of a row that the reader has chosen. */
export function chosenRow() {
  const usual = matchMedia("(max-width: 40rem)").matches ? 128 : 176;
  return Math.min(LARGEST_ROW, Math.max(SMALLEST_ROW, Number(remembered("row", usual)) || usual));
}

/**
 * A slider for the size of the pictures, and what makes a step of it.
 *
 * @param {import("./picture_grid.js").PictureGrid} grid
 */
export function sizeSlider(grid) {
  const sizes = { min: SMALLEST_ROW, max: LARGEST_ROW, step: STEP, value: chosenRow() };
  /** @param {number} row */
  const act = (row) => {
    grid.resize(row);
    remember("row", row);
  };
  const element = range("Size", "picture-size", sizes, act, (value) => `${value} pixels high`);
  const field = /** @type {HTMLInputElement} */ (element.querySelector("input"));
  /** @param {number} by */
  const step = (by) => {
    field.value = String(Number(field.value) + by * 4 * STEP);
    field.dispatchEvent(new Event("input"));
  };
  return { element, step };
}

/**
 * "As the model sees them": every tile shows what the decoder paints of its code.
 *
 * @param {import("../app.js").Page} page
 * @param {import("./picture_grid.js").PictureGrid} grid
 */
export function modelToggle(page, grid) {
  if (!page.gallery.model.has_decoder) return { element: null, toggle: () => {} };
  const show = () => {
    const on = remembered("as-the-model", "no") === "yes";
    element.setAttribute("aria-pressed", String(on));
    grid.showAs(on ? (item) => page.api.reconstructionAddress(item.id, page.gallery.model.id) : null);
    return on;
  };
  const toggle = () => {
    remember("as-the-model", remembered("as-the-model", "no") === "yes" ? "no" : "yes");
    announce(show() ? "Pictures are shown as the model sees them" : "Pictures are shown as they are");
  };
  const element = button("eye", "As the model sees", toggle, { class: "button quiet as-the-model-button", "aria-label": "As the model sees", title: "Show what the model keeps of each picture (e)" });
  show();
  return { element, toggle };
}

/**
 * "Why similar": what counts is shown on the tile that is pointed at.
 *
 * @param {(on: boolean) => void} act Called at once where the reader has it on.
 */
export function whyToggle(act) {
  const isOn = () => remembered("why-on-tiles", "no") === "yes";
  const show = () => {
    element.setAttribute("aria-pressed", String(isOn()));
    act(isOn());
  };
  const toggle = () => {
    remember("why-on-tiles", isOn() ? "no" : "yes");
    show();
    announce(isOn() ? "Rest on a picture to see why it is similar" : "Why similar is off");
  };
  const element = button("heat", "Why similar", toggle, { class: "button quiet why-button", title: "Point at a picture, or hold a finger on it, to see what makes it similar (h)" });
  queueMicrotask(() => isOn() && show());
  element.setAttribute("aria-pressed", String(isOn()));
  return { element, toggle, isOn };
}

/**
 * Where several galleries are served: which of them are searched. The list of them comes when it is opened.
 *
 * @param {import("../app.js").Page} page
 * @param {import("./question.js").Question} question
 * @param {(galleries: string[]) => void} act
 * @param {boolean} [atOnce] Whether each tick counts at once.
 */
export function choiceOfGalleries(page, question, act, atOnce = false) {
  if (!page.searchable.length) return null;
  const words = h("span", {});
  /** @param {string[]} names */
  const say = (names) => (words.textContent = names.length === 1 ? `In ${names[0]}` : `In ${plural(names.length, "gallery", "galleries")}`);
  say(question.galleries.length ? question.galleries : [page.gallery.name]);
  /** @type {Promise<void> | null} */
  let filled = null;
  const fill = async () => {
    try {
      const { galleriesToTick } = await import("./gallery_choice.js");
      element.append(galleriesToTick(page, question, act, say, atOnce));
    } catch {
      element.open = false;
      filled = null;
      note(SERVER_GONE.title);
    }
  };
  /** @type {HTMLDetailsElement} */
  const element = h(
    "details",
    { class: "facet-groups gallery-choice", ontoggle: () => element.open && (filled ??= fill()) },
    h("summary", { class: "chip quiet-chip" }, icon("folder"), words, icon("down")),
  );
  return h("div", { class: "gallery-choice-place" }, element);
}

/**
 * The bar above pictures: on a phone its controls fold away behind a button.
 *
 * @param {HTMLElement} words
 * @param {(HTMLElement | null)[]} controls
 * @param {HTMLElement} chips Beside the words.
 * @param {(HTMLElement | null)[]} toggles At the end of their row, where there is room.
 */
export function toolbar(words, controls, chips, toggles = []) {
  /** @param {boolean} open */
  const show = (open) => {
    element.classList.toggle("folded", !open);
    fold.setAttribute("aria-expanded", String(open));
    remember("tools", open ? "open" : "folded");
  };
  const fold = button("sliders", "Options", () => show(element.classList.contains("folded")), { class: "button quiet toolbar-fold" });
  const element = h("div", { class: "toolbar" }, h("div", { class: "toolbar-words" }, words, chips), fold, toggles.length > 0 && h("div", { class: "toolbar-controls" }, toggles), h("div", { class: "toolbar-controls" }, controls));
  show(remembered("tools", "folded") === "open");
  return element;
}

/**
 * @param {string} words
 * @param {[string, string][]} choices Value and words.
 * @param {string} chosen
 * @param {(value: string) => void} act
 */
export function choiceField(words, choices, chosen, act) {
  /** @type {HTMLSelectElement} */
  const field = h(
    "select",
    { onchange: () => act(field.value) },
    choices.map(([value, name]) => h("option", { value, selected: value === chosen }, name)),
  );
  return h("label", { class: "choice" }, h("span", {}, words), field);
}

/**
 * A slider with its words.
 *
 * @param {string} words
 * @param {string} id
 * @param {Record<string, any>} attributes
 * @param {(value: number) => void} act
 * @param {(value: number) => string} speak
 * @param {boolean} [shown] Whether the value stands beside it.
 */
export function range(words, id, attributes, act, speak, shown = false) {
  const value = shown ? h("output", { for: id }, speak(attributes.value)) : null;
  const field = h("input", {
    type: "range",
    id,
    ...attributes,
    "aria-valuetext": speak(attributes.value),
    oninput: () => {
      const number = Number(field.value);
      field.setAttribute("aria-valuetext", speak(number));
      if (value) value.textContent = speak(number);
      act(number);
    },
  });
  return h("label", { class: "range" }, h("span", {}, words), field, value);
}
