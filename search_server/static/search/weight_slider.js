/** The similarity slider, from "same thing" to "looks the same": the server ranks anew, nothing is indexed anew. */

import { h } from "../parts/dom.js";

export { AS_INDEXED } from "../parts/question.js";

const STEPS = 10; // to each side of it
const PATIENCE = 120; // milliseconds that the thumb rests before the server is asked

/**
 * @param {number} beta The weight to begin with.
 * @param {number} highest That the server allows.
 * @param {(beta: number) => void} act The reader has settled on another weight.
 */
export function weightSlider(beta, highest, act) {
  let resting = 0;
  const weigh = () => {
    show();
    clearTimeout(resting);
    resting = setTimeout(() => act(weightAt(Number(field.value), highest)), PATIENCE);
  };
  const reset = () => {
    if (field.value === "0") return;
    field.value = "0";
    weigh();
    field.focus(); // the button that was pressed is of no use now
  };
  /** @type {HTMLInputElement} */
  const field = h("input", {
    type: "range",
    id: "weight",
    class: "weight-field",
    min: -STEPS,
    max: STEPS,
    step: 1,
    value: stepOf(beta, highest),
    "aria-label": "From same thing to looks the same",
    oninput: weigh,
    ondblclick: reset,
  });
  const back = h("button", { type: "button", class: "button quiet weight-reset", onclick: reset }, "As indexed");
  const show = () => {
    const step = Number(field.value);
    field.setAttribute("aria-valuetext", weightWords(step));
    back.disabled = step === 0;
  };
  show();
  return h(
    "div",
    { class: "weight", role: "group", "aria-label": "What counts as similar" },
    h("span", { class: "weight-end", "aria-hidden": "true" }, "same thing"),
    field,
    h("span", { class: "weight-end", "aria-hidden": "true" }, "looks the same"),
    back,
  );
}

/** The weight of a step: 0 at the left end, 1 in the middle, and between and beyond on logarithmic scales. @param {number} step @param {number} highest */
function weightAt(step, highest) {
  if (step === -STEPS) return 0;
  const beta = step < 0 ? 2 ** (step / 2) : highest ** (step / STEPS);
  return Number(beta.toPrecision(2)); // it stands in the address
}

/** The step that is nearest to a weight, which may stand in the address as anything. @param {number} beta @param {number} highest */
function stepOf(beta, highest) {
  if (beta === 0) return -STEPS;
  if (beta < 1) return Math.max(1 - STEPS, Math.round(2 * Math.log2(beta)));
  return Math.min(STEPS, Math.round((STEPS * Math.log(beta)) / Math.log(highest)));
}

/** @param {number} step */
function weightWords(step) {
  if (step === 0) return "as indexed";
  const end = step < 0 ? "same thing" : "looks the same";
  return Math.abs(step) === STEPS ? `${end} only` : `${Math.abs(step)} of ${STEPS} towards ${end}`;
}
