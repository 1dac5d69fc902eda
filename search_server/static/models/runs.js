/** The trainings of the workspace: those that no model was made of yet, and one of them. */

import { isWithdrawn } from "../api.js";
import { command } from "../parts/commands.js";
import { h, icon, opensElsewhere } from "../parts/dom.js";
import { problemState } from "../parts/states.js";
import { trainingCurves, trainingSheets, trainingWords } from "../parts/training_curves.js";
import { count } from "../parts/words.js";

/**
 * Trainings that no model of their name was made of: under way, stopped, or not exported.
 *
 * @param {import("../app.js").Page} page
 * @param {AbortSignal} signal
 */
export function otherRuns(page, signal) {
  const list = h("ul", { class: "models-runs", role: "list" });
  const element = h("section", { hidden: true, "aria-labelledby": "runs-title" }, h("h2", { id: "runs-title" }, "Trainings without a model yet"), list);
  const look = async () => {
    try {
      const runs = (await page.server.runs(signal)).filter((run) => !run.has_model);
      element.hidden = !runs.length;
      list.replaceChildren(...runs.map((run) => row(page, run)));
    } catch (error) {
      if (isWithdrawn(error)) return;
      element.hidden = false;
      list.replaceChildren(h("li", {}, problemState(error, { retry: look, heading: "h3" })));
    }
  };
  look();
  return element;
}

/** @param {import("../app.js").Page} page @param {Rest.RunOut} run */
function row(page, run) {
  /** @param {MouseEvent} event */
  const open = (event) => {
    if (opensElsewhere(event)) return;
    event.preventDefault();
    page.go("models", { run: run.name });
  };
  return h("li", {}, h("a", { href: page.address("models", { run: run.name }), onclick: open }, run.name), h("span", { class: "quiet-words" }, howFar(run)));
}

/** @param {Rest.RunOut} run */
function howFar(run) {
  if (run.finished) return "trained, no model of it yet";
  if (run.steps === null || !run.step) return "just begun";
  return `${count(run.step)} of ${count(run.steps)} steps`;
}

/** @param {import("../app.js").Page} page @param {string} name */
export function oneRun(page, name) {
  const withdrawn = new AbortController();
  const body = h("div", { class: "model-training" });
  const all = h("a", { class: "button quiet", href: page.address("models"), "data-view": "models" }, icon("back"), h("span", {}, "All models"));
  const show = async () => {
    try {
      const training = await page.server.run(name, withdrawn.signal);
      const next = training.finished ? command(`lookalike export ${name}`, "To make a model of it:") : h("p", { class: "quiet-words" }, "It is not finished: under Jobs it is going on, or can be gone on with.");
      body.replaceChildren(h("p", { class: "quiet-words" }, trainingWords(training)), next, trainingCurves(training) ?? "", ...trainingSheets(training));
    } catch (error) {
      if (!isWithdrawn(error)) body.replaceChildren(problemState(error, { retry: show }));
    }
  };
  show();
  return { element: h("div", { class: "models" }, h("p", {}, all), h("div", { class: "model-head" }, h("h1", {}, name)), body), title: name, close: () => withdrawn.abort() };
}
