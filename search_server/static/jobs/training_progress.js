/** A training as it goes: its curves below the job, and what to do next when it is done. */

import { isWithdrawn } from "../api.js";
import { h } from "../parts/dom.js";
import { hasEnded } from "../parts/job_card.js";
import { modelSteps } from "../parts/model_steps.js";
import { trainingCurves, trainingSheets } from "../parts/training_curves.js";

const LOOK_SECONDS = 4; // at the curves, at the most often

/**
 * @param {import("../app.js").Page} page
 * @param {AbortSignal} signal
 */
export function trainingProgress(page, signal) {
  const next = h("div", {});
  const curves = h("div", { class: "training-progress" });
  const element = h("div", { class: "training-progress" }, next, curves);
  let [looked, looking, isThere, shown] = [-Infinity, false, false, ""];

  /** Draw what is known of the run, where it is not what is drawn. @param {string} run */
  const look = async (run) => {
    looking = true;
    looked = performance.now();
    try {
      isThere ||= (await page.server.runs(signal)).some((one) => one.name === run);
      if (!isThere) return; // it has not begun
      const training = await page.server.run(run, signal, true);
      const { agreement, train, validation, finished } = training; // long ones are thinned: their last points tell
      const known = [agreement.at(-1)?.epoch, train.at(-1)?.step, validation.at(-1)?.step, finished].join(" ");
      if (known !== shown && !reading()) {
        shown = known;
        curves.replaceChildren(...[trainingCurves(training), ...trainingSheets(training)].filter((part) => part !== null));
      }
    } catch (error) {
      if (isWithdrawn(error)) return;
      curves.replaceChildren(h("p", { class: "quiet-words" }, `How it goes cannot be shown: ${error.message}`));
    } finally {
      looking = false;
    }
  };

  /** Whether the reader has the numbers open: they are not shut under his eyes. */
  const reading = () => curves.querySelector("details[open]") !== null;

  /** @param {import("../server_api.js").Job} job */
  const told = (job) => {
    const due = hasEnded(job) || performance.now() - looked > LOOK_SECONDS * 1000;
    if (job.model && due && !looking) look(job.model);
  };

  /** @param {import("../server_api.js").Job} job */
  const ended = async (job) => {
    if (job.model) look(job.model);
    if (job.state !== "done" || !job.result_url?.includes("/models/")) return;
    try {
      const model = (await page.server.models(signal)).find((one) => one.name === job.model);
      if (model) next.replaceChildren(h("h2", {}, "What next"), modelSteps(page, model.name, { used: model.galleries, gallery: job.gallery }));
    } catch (error) {
      if (!isWithdrawn(error)) next.replaceChildren(h("p", { class: "quiet-words" }, error.message));
    }
  };
  return { element, told, ended };
}
