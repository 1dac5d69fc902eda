/** One job: how far it is, how fast, how long it still takes, what it says; with its Cancel and Resume. */

import { isWithdrawn } from "../api.js";
import { button, h, icon, opensElsewhere } from "./dom.js";
import { announce, note } from "./messages.js";
import { problemState } from "./states.js";
import { ago, count, duration, plural } from "./words.js";

/** @typedef {import("../server_api.js").Job} Job */

/** @type {Record<string, string>} */
const KINDS = {
  add: "Adding pictures",
  scan: "Looking through the folders",
  build: "Building the index",
  train: "Training a model",
  export: "Exporting a model",
  model: "Another model",
  map: "Drawing the map",
  duplicates: "Looking for duplicates",
  outliers: "Looking for outliers",
};
/** @type {Record<Job["state"], [string, string]>} */
const STATES = {
  queued: ["Waiting", "jobs"],
  running: ["Running", "jobs"],
  done: ["Done", "check"],
  failed: ["Failed", "warning"],
  cancelled: ["Stopped", "pause"],
  interrupted: ["Interrupted", "warning"],
};
const SHOWN_RESULTS = 8;

/** What a job does, in words. @param {Job} job */
export function jobWords(job) {
  const kind = KINDS[job.kind] ?? job.kind;
  if (job.kind === "train") return `Training the model ${job.model ?? ""}${job.gallery ? ` on ${job.gallery}` : ""}`;
  if (job.kind === "model") return `Giving ${job.gallery} the model ${job.model}`;
  return job.gallery ? `${kind} of ${job.gallery}`.replace("Adding pictures of", "Adding pictures to") : kind;
}

/** The state of a job as a mark with words. @param {Job} job */
export function stateMark(job) {
  const [words, drawing] = STATES[job.state];
  return h("span", { class: "job-state", data: { state: job.state } }, icon(drawing), h("span", {}, words));
}

/** Whether a job has come to an end. @param {Job} job */
export function hasEnded(job) {
  return job.state !== "queued" && job.state !== "running";
}

export class JobCard {
  /**
   * @param {import("../app.js").Page} page
   * @param {Job} job
   * @param {{heading?: "h1" | "h2" | "h3", open?: boolean, linked?: boolean, told?: (job: Job) => void, ended?: (job: Job) => void}} [ways]
   *   heading: of its title; open: its log stands open; linked: its title leads to its own page, and it to its gallery;
   *   told: there is news of it; ended: it came to an end.
   */
  constructor(page, job, { heading = "h2", open = false, linked = true, told, ended } = {}) {
    this.page = page;
    this.job = job;
    this.told = told;
    this.ended = ended;
    this.linked = linked;
    this.withdrawn = new AbortController();
    const title = linked ? h("a", { href: page.address("jobs", { id: job.id }), onclick: (/** @type {MouseEvent} */ event) => this.#open(event) }, jobWords(job)) : jobWords(job);
    this.state = h("span", {});
    this.bar = h("progress", { "aria-label": jobWords(job) });
    this.facts = h("p", { class: "job-facts" });
    this.words = h("p", { class: "job-message" });
    this.warnings = h("div", {});
    this.log = h("pre", { class: "job-log", tabindex: "0", "aria-label": "Log" });
    this.logBox = h("details", { class: "job-log-box", open }, h("summary", {}, "Log"), this.log);
    this.acts = h("div", { class: "actions" });
    this.shownActs = "";
    this.element = h(
      "article",
      { class: "job" },
      h("div", { class: "job-head" }, h(heading, {}, title), this.state),
      this.bar,
      this.facts,
      this.words,
      this.warnings,
      this.logBox,
      this.acts,
    );
    this.show(job);
    if (!hasEnded(job)) this.#watch();
  }

  /** Let go what is watched. */
  close() {
    this.withdrawn.abort();
  }

  /** @param {Job} job */
  show(job) {
    this.job = job;
    this.element.dataset.state = job.state;
    this.state.replaceChildren(stateMark(job));
    this.#showBar(job);
    this.facts.replaceChildren(...facts(job));
    this.words.textContent = job.message ?? "";
    this.words.hidden = !job.message;
    this.warnings.replaceChildren(...warnings(job.warnings));
    this.#showLog(job.log_tail);
    const acts = this.#acts(job);
    // What has the focus is not taken away under the reader's hand.
    if (acts.key !== this.shownActs) this.acts.replaceChildren(...acts.buttons);
    this.shownActs = acts.key;
    this.acts.hidden = !acts.buttons.length;
  }

  /** @param {Job} job */
  #showBar(job) {
    this.bar.hidden = job.state !== "running";
    if (job.total) {
      this.bar.max = job.total;
      this.bar.value = job.done;
    } else this.bar.removeAttribute("value"); // under way, nobody knows how far
  }

  /** @param {string[]} lines */
  #showLog(lines) {
    const text = lines.map(logLine).filter(Boolean).join("\n");
    this.logBox.hidden = !text;
    if (text === this.log.textContent) return;
    const atEnd = this.log.scrollTop + this.log.clientHeight >= this.log.scrollHeight - 8;
    this.log.textContent = text;
    if (atEnd) this.log.scrollTop = this.log.scrollHeight;
  }

  /** @param {Job} job */
  #acts(job) {
    const { may } = this.page;
    const buttons = [];
    const toGallery = this.linked && job.gallery && this.page.galleries.includes(job.gallery);
    if (may.admin && !hasEnded(job)) buttons.push(button("close", "Stop", () => this.#ask("cancelJob", "It stops as soon as it can; what it has done is kept")));
    if (may.admin && ["failed", "cancelled", "interrupted"].includes(job.state))
      buttons.push(button("play", "Go on", () => this.#ask("resumeJob", "It goes on where it was"), { class: "button primary" }));
    if (job.state === "done" && job.gallery && toGallery)
      buttons.push(h("a", { class: "button", href: `${this.page.top}g/${encodeURIComponent(job.gallery)}/` }, icon("picture"), h("span", {}, `Open ${job.gallery}`)));
    return { key: `${job.state}${toGallery}`, buttons };
  }

  /** @param {"cancelJob" | "resumeJob"} what @param {string} words */
  async #ask(what, words) {
    try {
      const job = await this.page.server[what](this.job.id);
      note(words);
      this.show({ ...job, log_tail: this.job.log_tail });
      this.page.jobs.look();
      if (what === "resumeJob") this.#watch();
    } catch (error) {
      note(error.message);
    }
  }

  #watch() {
    /** @param {Job} job */
    const told = (job) => {
      const ended = hasEnded(job) && !hasEnded(this.job);
      this.told?.(job);
      this.show(job.log_tail.length ? job : { ...job, log_tail: this.job.log_tail });
      if (!ended) return;
      announce(`${jobWords(job)}: ${STATES[job.state][0]}`);
      this.page.jobs.look();
      this.ended?.(job);
    };
    /** @param {boolean} here */
    const heard = (here) => this.element.toggleAttribute("data-unheard", !here);
    this.page.server.watchJob(this.job, told, heard, this.withdrawn.signal);
  }

  /** @param {MouseEvent} event */
  #open(event) {
    if (opensElsewhere(event)) return;
    event.preventDefault();
    this.page.go("jobs", { id: this.job.id });
  }
}

/**
 * A job by its id: a card that asks for it first.
 *
 * @param {import("../app.js").Page} page
 * @param {number} id
 * @param {HTMLElement} place
 * @param {{heading?: "h1" | "h2" | "h3", open?: boolean, linked?: boolean, told?: (job: Job) => void, ended?: (job: Job) => void}} ways As of a card.
 * @param {AbortSignal} signal
 */
export async function fetchJobCard(page, id, place, ways, signal) {
  try {
    const card = new JobCard(page, await page.server.job(id, signal), ways);
    place.replaceChildren(card.element);
    signal.addEventListener("abort", () => card.close());
    ways.told?.(card.job);
    if (hasEnded(card.job)) ways.ended?.(card.job);
  } catch (error) {
    if (!isWithdrawn(error)) place.replaceChildren(problemState(error, { retry: () => fetchJobCard(page, id, place, ways, signal) }));
  }
}

/** @param {Job} job */
function facts(job) {
  const parts = [];
  const unit = job.unit ?? "";
  if (job.state === "queued") parts.push("It begins as soon as the job before it is done.");
  if (job.state === "running") {
    if (job.total) parts.push(`${count(job.done)} of ${count(job.total)} ${unit}`);
    else if (job.done) parts.push(`${count(job.done)} ${unit}`);
    if (job.rate) parts.push(`${count(Number(job.rate.toPrecision(job.rate < 100 ? 2 : 3)))} ${unit} a second`);
    if (job.eta_s !== null) parts.push(`${duration(job.eta_s)} left`);
    if (!parts.length) parts.push("It has begun.");
  }
  if (hasEnded(job)) {
    if (job.ended_at) parts.push(ago(job.ended_at));
    if (job.ended_at && job.started_at) parts.push(`took ${duration((Date.parse(job.ended_at) - Date.parse(job.started_at)) / 1000)}`);
    parts.push(...resultFacts(job.result));
  }
  return parts.map((words) => h("span", {}, words));
}

/** Numbers of what a job found, as words. @param {Job["result"]} result */
function resultFacts(result) {
  return Object.entries(result ?? {})
    .filter(([, value]) => Number.isInteger(value) && value !== 0)
    .slice(0, SHOWN_RESULTS)
    .map(([name, value]) => `${name.replaceAll("_", " ")} ${count(value)}`);
}

/** @param {string[]} lines */
function warnings(lines) {
  if (!lines.length) return [];
  return [
    h(
      "details",
      { class: "job-warnings" },
      h("summary", {}, icon("warning"), h("span", {}, plural(lines.length, "warning", "warnings"))),
      h("ul", {}, lines.map((line) => h("li", {}, line))),
    ),
  ];
}

/** A line of a job's log as people read it: most are events in JSON. @param {string} line */
function logLine(line) {
  let event;
  try {
    event = JSON.parse(line);
  } catch {
    return line;
  }
  if (event === null || typeof event !== "object") return line;
  if (event.text) return event.text;
  if (event.done === undefined) return line;
  const total = event.total ? ` of ${count(event.total)}` : "";
  const counts = Object.entries(event.counts ?? {}).map(([name, value]) => `${count(value)} ${name}`);
  return [`${event.task}: ${count(event.done)}${total} ${event.unit}`, ...counts, event.note].filter(Boolean).join(", ");
}
