/** The jobs: those at work, those that ended; what can be done to a gallery; one job by itself. */

import { isWithdrawn } from "../api.js";
import { button, h, icon, opensElsewhere } from "../parts/dom.js";
import { fetchJobCard, hasEnded, JobCard, jobWords, stateMark } from "../parts/job_card.js";
import { announce } from "../parts/messages.js";
import { problemState, state } from "../parts/states.js";
import { ago, duration } from "../parts/words.js";
import { galleryWork } from "./gallery_work.js";
import { indexVersions } from "./index_versions.js";
import { trainingProgress } from "./training_progress.js";

const LISTED = 20;

/** @param {import("../app.js").Page} page */
export function jobsView(page) {
  if (!page.may.write) return refused();
  const id = page.parameter("id");
  return id ? oneJob(page, id) : allJobs(page);
}

function refused() {
  const element = state({
    iconName: "lock",
    title: "Jobs are not for everybody",
    text: "Your token lets you search. To see what the server works at takes one with the scope write; to stop a job, admin.",
    heading: "h1",
  });
  return { element, title: "Jobs", close: () => {} };
}

/** @param {import("../app.js").Page} page @param {string} id */
function oneJob(page, id) {
  const withdrawn = new AbortController();
  const place = h("div", {});
  const training = trainingProgress(page, withdrawn.signal);
  /** @param {import("../server_api.js").Job} job */
  const told = (job) => job.kind === "train" && training.told(job);
  /** @param {import("../server_api.js").Job} job */
  const ended = (job) => job.kind === "train" && training.ended(job);
  const element = h(
    "div",
    { class: "jobs one" },
    h("p", {}, h("a", { class: "button quiet", href: page.address("jobs"), onclick: (/** @type {MouseEvent} */ event) => follow(event, () => page.go("jobs")) }, icon("back"), h("span", {}, "All jobs"))),
    place,
    training.element,
  );
  fetchJobCard(page, Number(id), place, { heading: "h1", open: true, linked: false, told, ended }, withdrawn.signal);
  return { element, title: `Job ${id}`, close: () => withdrawn.abort() };
}

/** @param {import("../app.js").Page} page */
function allJobs(page) {
  const withdrawn = new AbortController();
  /** @type {Map<number, JobCard>} */
  const cards = new Map();
  const active = h("section", { class: "jobs-active", "aria-label": "At work" });
  const list = h("ul", { class: "jobs-list", role: "list" });
  const foot = h("div", { class: "results-foot" });
  const ended = h("section", { "aria-labelledby": "ended-title" }, h("h2", { id: "ended-title" }, "Before"), list, foot);
  /** @type {number | null} */
  let cursor = null;

  /** @param {import("../server_api.js").Job[]} jobs */
  const show = (jobs) => {
    for (const job of jobs) {
      if (hasEnded(job)) list.append(row(page, job));
      else if (!cards.has(job.id)) addCard(job);
    }
    settle();
  };

  /** @param {import("../server_api.js").Job} job */
  const addCard = (job) => {
    const card = new JobCard(page, job, { ended: again });
    cards.set(job.id, card);
    active.prepend(card.element); // the newest first was listed: the one that runs is the oldest
  };

  const settle = () => {
    const nothing = !cards.size && !list.children.length;
    if (!cards.size) active.replaceChildren(nothing ? none() : h("p", { class: "quiet-words" }, "Nothing is being done at the moment."));
    ended.hidden = !list.children.length;
    foot.replaceChildren(cursor ? button("down", "Show more", () => more(), { class: "button" }) : "");
  };

  const more = async () => {
    try {
      const found = await page.server.jobs(LISTED, cursor, withdrawn.signal);
      cursor = found.next_cursor;
      show(found.jobs);
    } catch (error) {
      if (!isWithdrawn(error)) foot.replaceChildren(problemState(error, { retry: more }));
    }
  };

  /** @param {{jobs: import("../server_api.js").Job[], next_cursor: number | null}} found */
  const begin = (found) => {
    cards.forEach((card) => card.close());
    cards.clear();
    active.replaceChildren();
    list.replaceChildren();
    cursor = found.next_cursor;
    show(found.jobs);
  };

  /** A job was started here, or has ended: look at all of them anew. */
  const again = async () => {
    try {
      begin(await page.server.jobs(LISTED, null, withdrawn.signal));
      versions?.refresh();
      work?.refresh();
    } catch (error) {
      if (!isWithdrawn(error)) active.replaceChildren(problemState(error, { retry: again }));
    }
  };

  /** @param {import("../server_api.js").Job} job */
  const started = (job) => {
    announce(`Started: ${jobWords(job)}`);
    page.jobs.look();
    again();
    active.scrollIntoView({ block: "nearest" });
  };

  const work = page.gallery ? galleryWork(page, started, withdrawn.signal) : null;
  const versions = page.gallery ? indexVersions(page, started, withdrawn.signal) : null;
  const element = h(
    "div",
    { class: "jobs" },
    h(
      "div",
      { class: "section-head" },
      h("div", {}, h("h1", {}, "Jobs"), h("p", { class: "quiet-words" }, "Long work goes on one after the other, also when this page is closed.")),
      page.may.admin && h("a", { class: "button", href: page.address("new"), "data-view": "new" }, icon("add"), h("span", {}, "New gallery")),
    ),
    active,
    h("div", { class: "jobs-gallery" }, work?.element, versions?.element),
    ended,
  );
  if (page.initial?.jobs) begin(page.initial);
  else again();
  return {
    element,
    title: "Jobs",
    close: () => {
      withdrawn.abort();
      cards.forEach((card) => card.close());
    },
  };
}

/** One job of before, in a line. @param {import("../app.js").Page} page @param {import("../server_api.js").Job} job */
function row(page, job) {
  const seconds = job.started_at && job.ended_at ? (Date.parse(job.ended_at) - Date.parse(job.started_at)) / 1000 : null;
  return h(
    "li",
    {},
    h(
      "a",
      { href: page.address("jobs", { id: job.id }), onclick: (/** @type {MouseEvent} */ event) => follow(event, () => page.go("jobs", { id: job.id })) },
      stateMark(job),
      h("span", { class: "jobs-what" }, jobWords(job)),
      h("time", { datetime: job.ended_at ?? job.created_at }, ago(job.ended_at ?? job.created_at)),
      h("span", { class: "jobs-took" }, seconds === null ? "" : duration(seconds)),
    ),
  );
}

function none() {
  return state({
    iconName: "jobs",
    title: "No jobs yet",
    text: "When you add a folder, build an index or draw a map, you see here how far it is.",
  });
}

/** @param {MouseEvent} event @param {() => void} go */
function follow(event, go) {
  if (opensElsewhere(event)) return;
  event.preventDefault();
  go();
}
