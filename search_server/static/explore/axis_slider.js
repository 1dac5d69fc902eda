/** One main axis: a slider between what the model paints at its ends, above real pictures that lie far out there. */

import { h } from "../parts/dom.js";

const STEP = 0.05; // standard deviations
const SHOWN = 3; // real pictures at each end

/** "+1.2", "−0.4", "0.0" */
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
 * @property {(item: any) => void} open A real picture was chosen.
 * @property {(id: string) => string} address Of a real picture.
 */

export class AxisSlider {
  /**
   * @param {number} number From 0.
   * @param {{share: number, low: string[], high: string[]}} axis
   * @param {{low: number, high: number, home: number}} range In standard deviations; home is where the picture stands.
   * @param {AxisWays} ways
   */
  constructor(number, axis, range, ways) {
    this.ways = ways;
    this.range = range;
    this.name = `Axis ${number + 1}`;
    this.value = h("output", { for: `axis-${number}`, class: "axis-value" });
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
    this.previews = { low: this.#preview("low", range.low), high: this.#preview("high", range.high) };
    this.real = { low: h("div", { class: "axis-real" }), high: h("div", { class: "axis-real axis-real-high" }) };
    this.axis = axis;
    this.element = h(
      "li",
      { class: "axis", onpointerenter: () => ways.near(), onfocusin: () => ways.near(), ontouchstart: () => ways.near() },
      h("div", { class: "axis-head" }, h("strong", {}, this.name), h("span", { class: "quiet-words" }, `${(axis.share * 100).toFixed(1)} % of all differences`), this.value),
      this.previews.low,
      this.field,
      this.previews.high,
      this.real.low,
      this.real.high,
    );
  }

  /** Move the thumb without telling anybody. @param {number} place */
  set(place) {
    this.field.value = String(place);
    this.#tell(place);
  }

  /** What is painted at both ends, as everything else stands. @param {string} low @param {string} high */
  paintEnds(low, high) {
    this.previews.low.firstChild.src = low;
    this.previews.high.firstChild.src = high;
  }

  /** @param {Map<string, any>} items */
  showReal(items) {
    for (const side of ["low", "high"]) {
      const ids = side === "low" ? this.axis.low.slice(0, SHOWN) : this.axis.high.slice(0, SHOWN).reverse(); // the farthest is outermost
      this.real[side].replaceChildren(...ids.filter((id) => items.has(id)).map((id) => this.#link(items.get(id))));
    }
  }

  /** @param {number} place */
  #tell(place) {
    this.value.textContent = deviations(place);
    this.field.classList.toggle("moved", Math.abs(place - this.range.home) >= STEP);
    this.field.setAttribute("aria-valuetext", `${deviations(place)} standard deviations`);
  }

  /** A click on what an end paints goes there. @param {"low" | "high"} side @param {number} place */
  #preview(side, place) {
    const words = `${this.name}, ${side === "low" ? "lower" : "upper"} end`;
    const go = () => {
      this.set(place);
      this.ways.drag(place);
      this.ways.settle();
    };
    return h("button", { type: "button", class: `axis-end axis-end-${side}`, title: `Go to the ${side === "low" ? "lower" : "upper"} end`, onclick: go }, h("img", { alt: words, width: 64, height: 64 }));
  }

  #link(item) {
    const open = (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      this.ways.open(item);
    };
    return h("a", { href: this.ways.address(item.id), title: item.name, onclick: open }, h("img", { src: item.thumb, alt: item.name, loading: "lazy" }));
  }
}
