/** How a training goes, or went: its curves, and the pictures that it painted. */

import { h } from "./dom.js";
import { lineChart } from "./line_chart.js";
import { trainingMoments } from "./training_moments.js";
import { trainingSheet } from "./training_sheet.js";
import { count, passes } from "./words.js";

/** @type {Record<string, string>} */
const SHEETS = {
  reconstructions: "Pictures, and what it paints of them",
  morphs: "One picture turning into another",
  neighbours: "Pictures, and those that it takes for the nearest",
};
const EPOCHS = { words: "passes over the pictures" };

/** What a training is, in a sentence. @param {Rest.TrainingOut} training */
export function trainingWords(training) {
  const length = training.epochs === null ? "" : `, ${passes(training.epochs)} passes over the pictures`;
  return `Recipe ${training.recipe} (${training.title})${length}${training.device ? `, on ${training.device}` : ""}.`;
}

/** The curves of a training; none before anything is measured. @param {Rest.TrainingOut} training @returns {HTMLElement | null} */
export function trainingCurves(training) {
  const charts = [errorChart(training), agreementChart(training), speedChart(training)].filter((chart) => chart !== null);
  return charts.length ? h("div", { class: "training-curves" }, charts.map((chart) => h("div", { class: "training-curve" }, chart))) : null;
}

/** Its sheets of pictures. @param {Rest.TrainingOut} training */
export function trainingSheets(training) {
  return Object.entries(training.sheets).map(([name, address]) => {
    if (name === "reconstructions" && training.moments.length > 1) return trainingMoments(training.moments, training.epochs);
    // While it is trained, the picture at an address changes: the number of measurements names it.
    const place = training.finished ? address : `${address}?at=${training.validation.length}`;
    const words = SHEETS[name] ?? name;
    return trainingSheet(words, h("img", { src: place, alt: words, loading: "lazy" }));
  });
}

/** @param {Rest.TrainingOut} training */
function errorChart(training) {
  const series = [
    { name: "pictures it has not learned from", points: points(training.validation, "mse") },
    { name: "pictures it learns from", points: points(training.train, "mse") },
  ].filter((one) => one.points.length);
  if (!series.length) return null;
  return lineChart({
    title: "Error of the reconstructions: lower is better",
    x: EPOCHS,
    y: { words: "mean squared error", logarithmic: true },
    series,
    level: training.pca_mse ? { y: training.pca_mse, words: "the best linear model (PCA)" } : null,
  });
}

/** @param {Rest.TrainingOut} training */
function agreementChart({ agreement }) {
  if (agreement.length < 2) return null;
  return lineChart({
    title: "Learning what is alike: lower is better",
    x: EPOCHS,
    y: { words: "how far views of one picture are apart" },
    series: [{ name: "views of one picture against other pictures", points: agreement.map((one) => ({ x: one.epoch, y: one.agreement_loss })) }],
  });
}

/** @param {Rest.TrainingOut} training */
function speedChart(training) {
  const speed = points(training.train, "images_per_second");
  if (speed.length < 2) return null;
  return lineChart({ title: "Speed", x: EPOCHS, y: { words: "pictures a second" }, series: [{ name: "pictures a second", points: speed }] });
}

/** @param {Rest.MeasurementOut[]} measured @param {"mse" | "images_per_second"} what */
function points(measured, what) {
  return measured.flatMap((one) => {
    const value = one[what];
    return typeof value === "number" ? [{ x: one.epoch, y: value, words: `step ${count(one.step)}` }] : [];
  });
}
