/** One main axis: a slider between what the model paints at its ends, above real pictures that lie far out there. */

import { h } from "../parts/dom.js";
import { pictureLink } from "../parts/picture_link.js";

const STEP = 0.05; // standard deviations
const SHOWN = 3; // real pictures at each end

/** "+1.2", "−0.4", "0.0" @param {number} place */
export function deviations(place) {
  const text = Math.abs(place).toFixed(1);
  if (text === "0.0") return text;
  return `${place > 0 ? "+" : "−"}${text}`;
}

/**
 * @typedef {object} AxisWays
 * @property {() => void} near The reader is about to use it.
 * @property {(place: number) => void} drag It is being moved.
 * @property {() => void} settle It rests.
 */

/** @typedef {{low: number, high: number, home: number}} Range In standard deviations; home is where the picture stands. */

export class AxisSlider {
  /**
   * @param {import("../app.js").Page} page
   * @param {number} number From 0.
   * @param {Rest.AxisOut} axis
   * @param {Range} range
   * @param {AxisWays} ways
   */
  constructor(page, number, axis, range, ways) {
    this.page = page;
    this.ways = ways;
    this.range = range;
    this.name = `Axis ${number + 1}`;
    this.value = h("output", { for: `axis-${number}`, class: "axis-value" });
    /** @type {HTMLInputElement} */
    this.field = h("input", {
      type: "range",
      id: `axis-${number}`,
      class: "axis-field",
      min: range.low,
      max: range.high,
      step: STEP,
      style: { "--home": String((range.home - range.low) / (range.high - range.low)) },
      "aria-label": this.name,
      oninput: () => {
        this.#tell(Number(this.field.value));
        ways.drag(Number(this.field.value));
      },
      onchange: () => ways.settle(),
    });
    this.low = this.#preview("lower", range.low);
    this.high = this.#preview("upper", range.high);
    this.realLow = h("div", { class: "axis-real" });
    this.realHigh = h("div", { class: "axis-real axis-real-high" });
    this.axis = axis;
    this.element = h(
      "li",
      { class: "axis", onpointerenter: () => ways.near(), onfocusin: () => ways.near(), ontouchstart: () => ways.near() },
      h("div", { class: "axis-head" }, h("strong", {}, this.name), h("span", { class: "quiet-words" }, `${(axis.share * 100).toFixed(1)} % of all differences`), this.value),
      this.low.button,
      this.field,
      this.high.button,
      this.realLow,
      this.realHigh,
    );
  }

  /** Move the thumb without telling anybody. @param {number} place */
  set(place) {
    this.field.value = String(place);
    this.#tell(place);
  }

  /** What is painted at both ends, as everything else stands. @param {string} low @param {string} high */
  paintEnds(low, high) {
    this.low.picture.src = low;
    this.high.picture.src = high;
  }

  /** @param {Map<string, Rest.ItemOut>} items */
  showReal(items) {
    this.realLow.replaceChildren(...this.#links(this.axis.low.slice(0, SHOWN), items));
    this.realHigh.replaceChildren(...this.#links(this.axis.high.slice(0, SHOWN).reverse(), items)); // the farthest is outermost
  }

  /** @param {string[]} ids @param {Map<string, Rest.ItemOut>} items */
  #links(ids, items) {
    return ids.flatMap((id) => {
      const item = items.get(id);
      return item ? [pictureLink(this.page, item, item.name)] : [];
    });
  }

  /** @param {number} place */
  #tell(place) {
    this.value.textContent = deviations(place);
    this.field.classList.toggle("moved", Math.abs(place - this.range.home) >= STEP);
    this.field.setAttribute("aria-valuetext", `${deviations(place)} standard deviations`);
  }

  /** A click on what an end paints goes there. @param {string} side @param {number} place */
  #preview(side, place) {
    const go = () => {
      this.set(place);
      this.ways.drag(place);
      this.ways.settle();
    };
    const picture = h("img", { alt: `${this.name}, ${side} end`, width: 64, height: 64 });
    return { picture, button: h("button", { type: "button", class: "axis-end", title: `Go to the ${side} end`, onclick: go }, picture) };
  }
}
