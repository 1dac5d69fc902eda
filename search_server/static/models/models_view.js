/** The models: what each keeps of a picture, how good it is, how it was trained, which galleries use it. */

import { isWithdrawn } from "../api.js";
import { command } from "../parts/commands.js";
import { h, icon, opensElsewhere } from "../parts/dom.js";
import { modelSteps } from "../parts/model_steps.js";
import { problemState } from "../parts/states.js";
import { trainingCurves, trainingSheets, trainingWords } from "../parts/training_curves.js";
import { bytesWords, count } from "../parts/words.js";
import { qualityTable, qualityWords } from "./quality_words.js";
import { oneRun, otherRuns } from "./runs.js";
import { trainingView } from "./training_form.js";

/** @typedef {Rest.NamedModelOut} Model */

/** @param {import("../app.js").Page} page */
export function modelsView(page) {
  const [train, run] = [page.parameter("train"), page.parameter("run")];
  if (train) return trainingView(page, train);
  if (run) return oneRun(page, run);
  return listOrModel(page);
}

/** @param {import("../app.js").Page} page */
function listOrModel(page) {
  const withdrawn = new AbortController();
  const name = page.parameter("name");
  const element = h("div", { class: "models" });

  /** @param {Model[]} models */
  const show = (models) => {
    const chosen = models.find((model) => model.name === name);
    if (name && chosen) element.replaceChildren(...oneModel(page, chosen, withdrawn.signal));
    else if (name) element.replaceChildren(problemState({ ...GONE, detail: `There is no model ${name} in the server's workspace.` }, { heading: "h1", others: [toAll(page)] }));
    else element.replaceChildren(...allModels(page, models, withdrawn.signal));
  };

  const fetch = async () => {
    try {
      show(await page.server.models(withdrawn.signal));
    } catch (error) {
      if (!isWithdrawn(error)) element.replaceChildren(problemState(error, { retry: fetch, heading: "h1" }));
    }
  };

  if (page.initial?.models) show(page.initial.models);
  else fetch();
  return { element, title: name ?? "Models", close: () => withdrawn.abort() };
}

const GONE = { code: "no_such_model", title: "There is no such model", name: "Problem", message: "", status: 404, retryAfter: null };

/** @param {import("../app.js").Page} page @param {Model[]} models @param {AbortSignal} signal */
function allModels(page, models, signal) {
  const train = page.may.admin && page.gallery && h("a", { class: "button primary", href: page.address("models", { train: page.gallery.name }), onclick: (/** @type {MouseEvent} */ event) => follow(event, () => page.go("models", { train: page.gallery.name })) }, icon("model"), h("span", {}, "Train a model"));
  const head = h(
    "div",
    { class: "section-head" },
    h("div", {}, h("h1", {}, "Models"), h("p", { class: "quiet-words" }, "A model decides what alike means. Each gallery is searched with the one that it was made with, until it is given another.")),
    train,
  );
  const runs = page.may.write ? otherRuns(page, signal) : null;
  if (!models.length) return [head, h("p", { class: "quiet-words" }, "There is none in the workspace yet."), command("lookalike up FOLDER", "Train one on your own pictures:"), ...(runs ? [runs] : [])];
  return [head, h("ul", { class: "models-list", role: "list" }, models.map((model) => card(page, model))), ...(runs ? [runs] : [])];
}

/** @param {import("../app.js").Page} page @param {Model} model */
function card(page, model) {
  const link = h("a", { href: page.address("models", { name: model.name }), onclick: (/** @type {MouseEvent} */ event) => follow(event, () => page.go("models", { name: model.name })) }, model.name);
  return h(
    "li",
    { class: "model-card" },
    h("h2", {}, link),
    h("p", {}, sees(model)),
    usedBy(page, model),
    h("p", { class: "quiet-words" }, model.licence),
  );
}

/** @param {Model} model */
function sees(model) {
  const half = model.semantic_dims ? `, ${count(model.semantic_dims)} of them for what it is, the others for what it looks like` : "";
  const painting = model.has_decoder ? "It can paint: morphs and reconstructions work." : "It cannot paint: no morphs, no reconstructions.";
  return `Looks at ${model.image_size} × ${model.image_size} pixels and keeps ${count(model.dims)} numbers of each picture${half}. ${painting}`;
}

/** @param {import("../app.js").Page} page @param {Model} model */
function usedBy(page, model) {
  if (!model.galleries.length) return h("p", { class: "quiet-words" }, "No gallery here uses it.");
  const links = model.galleries.flatMap((name, place) => [place ? ", " : "", h("a", { href: `${page.top}g/${encodeURIComponent(name)}/` }, name)]);
  return h("p", { class: "quiet-words" }, "Used by ", ...links);
}

/** @param {import("../app.js").Page} page @param {Model} model @param {AbortSignal} signal */
function oneModel(page, model, signal) {
  const training = h("section", { class: "model-training", "aria-label": "Training" });
  showTraining(page, model, training, signal);
  const facts = [
    ["Size", `${bytesWords(model.bytes)}, as ${model.variants.join(", ")}`],
    ["Made of", model.source],
    ["Takes off pictures", model.removes.join(", ")],
    ["Licence", model.licence],
    ["Id", model.id.slice(0, 16)],
  ].filter(([, value]) => value);
  const report = h("a", { class: "button", href: `${page.server.base}/models/${encodeURIComponent(model.name)}/report`, target: "_blank", rel: "noopener" }, icon("expand"), h("span", {}, "Report of its evaluation"));
  return [
    h("p", {}, toAll(page)),
    h("div", { class: "model-head" }, h("h1", {}, model.name), h("p", {}, sees(model)), usedBy(page, model)),
    h(
      "div",
      { class: "model-columns" },
      h("section", { class: "model-card", "aria-labelledby": "quality-title" }, h("h2", { id: "quality-title" }, "How good it is"), h("ul", { class: "model-words" }, qualityWords(model.quality).map((words) => h("li", {}, words))), qualityTable(model.quality), model.has_report && h("p", {}, report)),
      h("section", { class: "model-card", "aria-labelledby": "facts-title" }, h("h2", { id: "facts-title" }, "What it is"), h("dl", { class: "model-facts" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))))),
    ),
    modelSteps(page, model.name, { used: model.galleries, look: false }),
    training,
  ];
}

/** @param {import("../app.js").Page} page @param {Model} model @param {HTMLElement} place @param {AbortSignal} signal */
async function showTraining(page, model, place, signal) {
  if (!model.source.startsWith("run ")) return;
  try {
    place.replaceChildren(...drawTraining(await page.server.training(model.name, signal)));
  } catch (error) {
    if (isWithdrawn(error)) return;
    if (error.code === "empty") place.replaceChildren(h("p", { class: "quiet-words" }, "How it was trained cannot be shown: its run is no longer in the workspace."));
    else place.replaceChildren(problemState(error, { retry: () => showTraining(page, model, place, signal) }));
  }
}

/** @param {Rest.TrainingOut} training */
function drawTraining(training) {
  return [h("h2", {}, "How it was trained"), h("p", { class: "quiet-words" }, trainingWords(training)), trainingCurves(training) ?? "", ...trainingSheets(training)];
}

/** @param {import("../app.js").Page} page */
function toAll(page) {
  return h("a", { class: "button quiet", href: page.address("models"), onclick: (/** @type {MouseEvent} */ event) => follow(event, () => page.go("models")) }, icon("back"), h("span", {}, "All models"));
}

/** @param {MouseEvent} event @param {() => void} go */
function follow(event, go) {
  if (opensElsewhere(event)) return;
  event.preventDefault();
  go();
}
