/** What has to be computed of the whole gallery: why, a button that starts it, how far it is, and when it is there. */

import { isWithdrawn } from "../api.js";
import { button, h, icon } from "./dom.js";
import { announce, note } from "./messages.js";
import { problemState, state } from "./states.js";
import { count } from "./words.js";

const LOOK = 700; // milliseconds between two looks at a job
const ENDED = new Set(["done", "failed", "cancelled", "interrupted"]);

/**
 * @typedef {object} Start One way to compute it.
 * @property {string} icon
 * @property {string} words
 * @property {(signal: AbortSignal) => Promise<any>} begin A job, or what was made at once.
 */

/**
 * @typedef {object} Wanted
 * @property {string} kind Of the job.
 * @property {string} iconName
 * @property {string} title
 * @property {string} text
 * @property {Start[]} starts
 * @property {() => void} done It is there.
 * @property {boolean} may Whether this reader may start it.
 * @property {boolean} mayStop Whether this reader may stop a job.
 */

export class Computation {
  /**
   * @param {import("../analyses_api.js").AnalysesApi} api
   * @param {string} gallery Its name.
   * @param {Wanted} wanted
   * @param {AbortSignal} signal
   */
  constructor(api, gallery, wanted, signal) {
    this.api = api;
    this.gallery = gallery;
    this.wanted = wanted;
    this.signal = signal;
    this.element = h("div", { class: "computation" });
    this.timer = 0;
    /** @type {Rest.JobOut | null} */
    this.job = null;
    this.bar = h("progress", { class: "progress", max: 1, "aria-label": wanted.title });
    this.words = h("p", { class: "quiet-words" });
    this.step = h("p", { class: "computation-step" });
    signal.addEventListener("abort", () => clearTimeout(this.timer));
  }

  /** Say that it is not there yet, and offer to compute it; or show the job that is at it already. */
  async offer() {
    const { iconName, title, text, may } = this.wanted;
    const starts = may ? this.wanted.starts : [];
    const actions = starts.map((start, number) =>
      button(start.icon, start.words, () => this.begin(start), { class: number ? "button" : "button primary" }),
    );
    const words = may ? text : `${text} Whoever runs this server can start it.`;
    this.element.replaceChildren(state({ iconName, title, text: words, heading: "h2", actions }));
    if (!may) return;
    try {
      const jobs = await this.api.activeJobs(this.signal);
      const ours = jobs.find((/** @type {Rest.JobOut} */ job) => job.kind === this.wanted.kind && job.gallery === this.gallery);
      if (ours) this.#watch(ours);
    } catch {
      // A reader who may not see jobs can still read.
    }
  }

  /** @param {Start} start */
  async begin(start) {
    this.#progress({ state: "queued", done: 0, total: null });
    try {
      const made = await start.begin(this.signal);
      if (typeof made?.id === "number" && made.state) this.#watch(made);
      else this.wanted.done();
    } catch (error) {
      if (!isWithdrawn(error)) this.#failed(error, () => this.begin(start));
    }
  }

  /** @param {Rest.JobOut} job */
  #watch(job) {
    this.job = job;
    if (ENDED.has(job.state)) return this.#ended(job);
    this.#progress(job);
    this.timer = setTimeout(async () => {
      try {
        this.#watch(await this.api.job(job.id, this.signal));
      } catch (error) {
        if (!isWithdrawn(error)) this.#failed(error, () => this.#watch(job));
      }
    }, LOOK);
  }

  /** @param {Rest.JobOut} job */
  #ended(job) {
    if (job.state === "done") return this.wanted.done();
    if (job.state === "cancelled") return this.offer();
    this.#failed({ code: "job_failed", title: "That did not work", detail: job.message ?? "The list of jobs has its log." }, null);
  }

  /** @param {import("../api.js").Told} problem @param {(() => void) | null} retry */
  #failed(problem, retry) {
    const again = button("loop", "Try again", retry ?? (() => this.offer()), { class: "button primary" });
    this.element.replaceChildren(problemState(problem, { retry: retry ?? undefined, others: [again] }));
  }

  /** @param {Pick<Rest.JobOut, "state" | "done" | "total"> & Partial<Rest.JobOut>} job */
  #progress(job) {
    const share = job.total ? Math.min(1, job.done / job.total) : null;
    const words = progressWords(job);
    if (!this.bar.isConnected) {
      const cancel = button("close", "Cancel", () => this.#cancel(), { class: "button quiet" });
      this.element.replaceChildren(
        h(
          "section",
          { class: "state" },
          h("div", { class: "state-icon" }, icon(this.wanted.iconName)),
          h("h2", {}, "Working …"),
          this.step,
          this.bar,
          this.words,
          h("p", { class: "quiet-words" }, "You may go on meanwhile: it is done in the background."),
          this.wanted.mayStop && h("div", { class: "actions" }, cancel),
        ),
      );
      announce("Working");
    }
    this.step.textContent = job.message ?? "";
    this.words.textContent = words;
    if (share === null) this.bar.removeAttribute("value");
    else this.bar.value = share;
  }

  async #cancel() {
    clearTimeout(this.timer);
    if (!this.job) return this.offer();
    try {
      const job = await this.api.cancelJob(this.job.id);
      note(ENDED.has(job.state) ? "It is stopped" : "It is being stopped");
      this.#watch(job); // what it has in hand it may still finish
    } catch (problem) {
      note(problem.message);
      this.#watch(this.job);
    }
  }
}

/** @param {Pick<Rest.JobOut, "state" | "done" | "total"> & Partial<Rest.JobOut>} job */
function progressWords(job) {
  if (job.state === "queued") return "Waiting for its turn";
  if (!job.total) return "Getting ready";
  const left = job.eta_s === null || job.eta_s === undefined ? "" : `, about ${durationWords(job.eta_s)} left`;
  return `${count(job.done)} of ${count(job.total)}${left}`;
}

/** @param {number} seconds */
function durationWords(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
