/** What a training painted of the same pictures, from its first step to its last: one moment after the other. */

import { h, iconButton } from "./dom.js";
import { trainingSheet } from "./training_sheet.js";
import { count, passes } from "./words.js";

/**
 * @param {Rest.MomentOut[]} moments Two or more.
 * @param {number | null} epochs Of the whole training.
 * @returns {HTMLElement}
 */
export function trainingMoments(moments, epochs) {
  let shown = moments.length - 1;
  const picture = h("img", { alt: "" });
  const words = h("output", {});
  /** @type {HTMLInputElement} */
  const slider = h("input", { type: "range", min: 0, max: moments.length - 1, step: 1, value: shown, "aria-label": "Moment of the training", oninput: () => show(Number(slider.value)) });
  const before = iconButton("back", "Moment before", () => show(shown - 1));
  const after = iconButton("forward", "Moment after", () => show(shown + 1));

  /** @param {number} place */
  const show = (place) => {
    shown = Math.max(0, Math.min(moments.length - 1, place));
    const said = momentWords(moments[shown], epochs);
    slider.value = String(shown);
    slider.setAttribute("aria-valuetext", said);
    words.textContent = said;
    picture.src = moments[shown].image;
    picture.alt = `Pictures, and what it painted of them: ${said}`;
    before.disabled = shown === 0;
    after.disabled = shown === moments.length - 1;
    for (const beside of [moments[shown - 1], moments[shown + 1]]) if (beside) new Image().src = beside.image;
  };

  show(shown);
  const steps = h("div", { class: "moment-steps" }, before, slider, after, words);
  return h("div", { class: "training-moments" }, trainingSheet("Pictures, and what it painted of them on its way", picture, steps));
}

/** @param {Rest.MomentOut} moment @param {number | null} epochs */
function momentWords({ step, epoch }, epochs) {
  if (step === 0) return "before the first step";
  const done = epoch === null ? "" : `after ${passes(epoch)}${epochs ? ` of ${passes(epochs)}` : ""} passes over the pictures, `;
  return `${done}step ${count(step)}`;
}
