/** The figures of a model in plain words, and all of them as a table. */

import { h } from "../parts/dom.js";
import { count } from "../parts/words.js";

const DIFFERENT = 0.03; // of an error, relative: less is the same for the eye

/**
 * What the figures say. Only what was measured is said.
 *
 * @param {Record<string, any>} quality
 */
export function qualityWords(quality) {
  const words = [];
  if (typeof quality.psnr === "number") words.push(`${paints(quality.psnr)} (PSNR ${quality.psnr.toFixed(1)} dB on pictures that it had not seen).`);
  if (typeof quality.ratio === "number") words.push(`${compared(quality.ratio)} (its error is ${quality.ratio.toFixed(2)} times that of PCA with as many numbers).`);
  if (typeof quality.train_images === "number") words.push(`It learned from ${count(quality.train_images)} pictures${typeof quality.test_images === "number" ? ` and was tested on ${count(quality.test_images)} others` : ""}.`);
  if (typeof quality.train_images === "number" && quality.train_images < 300) words.push("That is few: it may know little beyond them.");
  return words.length ? words : ["Nothing was measured of it here."];
}

/** @param {number} psnr dB. */
function paints(psnr) {
  if (psnr < 15) return "It hardly paints what it sees: its codes may have collapsed";
  if (psnr < 20) return "It paints colours and rough shapes";
  if (psnr < 26) return "It paints shapes, and loses fine detail";
  return "It paints close to the original";
}

/** @param {number} ratio Error by the error of PCA. */
function compared(ratio) {
  if (ratio < 1 - DIFFERENT) return "It paints better than the best linear model of its size";
  if (ratio <= 1 + DIFFERENT) return "It paints as well as the best linear model of its size";
  return "It paints less exactly than the best linear model of its size: more training would help";
}

/** All figures. @param {Record<string, any>} quality */
export function qualityTable(quality) {
  const rows = Object.entries(quality).filter(([, value]) => typeof value === "number" || (typeof value === "string" && value));
  if (!rows.length) return null;
  return h(
    "details",
    { class: "model-figures" },
    h("summary", {}, "All figures"),
    h("dl", { class: "model-facts" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name.replaceAll("_", " ")), h("dd", {}, typeof value === "number" ? Number(value.toPrecision(5)).toLocaleString("en", { maximumSignificantDigits: 5 }) : value)))),
  );
}
