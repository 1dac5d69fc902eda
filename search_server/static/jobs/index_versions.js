/** The versions of a gallery's index: which one answers, how good and how quick each is, and why it is as it is. */

import { isWithdrawn } from "../api.js";
import { button, h, icon } from "../parts/dom.js";
import { lineChart } from "../parts/line_chart.js";
import { note } from "../parts/messages.js";
import { problemState } from "../parts/states.js";
import { bytesWords, count } from "../parts/words.js";

const KINDS = ["flat", "hnsw", "hnsw-fp16", "hnsw-sq8", "ivf-pq", "ivf-rabitq"];

/**
 * @param {import("../app.js").Page} page
 * @param {(job: import("../server_api.js").Job) => void} started
 * @param {AbortSignal} signal
 */
export function indexVersions(page, started, signal) {
  const { gallery, server } = page;
  const body = h("div", {});
  const why = h("div", { class: "index-why" });
  const trouble = h("div", {});

  const refresh = async () => {
    try {
      const { indexes } = await server.indexes(gallery.name, signal);
      body.replaceChildren(table(indexes));
      const current = indexes.find((one) => one.current) ?? indexes[0];
      if (current) explain(current.version);
    } catch (error) {
      if (!isWithdrawn(error)) body.replaceChildren(problemState(error, { retry: refresh }));
    }
  };

  /** @param {Rest.IndexBuildOut[]} indexes */
  const table = (indexes) =>
    h(
      "table",
      { class: "index-table" },
      h("caption", { class: "visually-hidden" }, `Versions of the index of ${gallery.name}`),
      h("thead", {}, h("tr", {}, ["Version", "Kind", "Pictures", "Recall", "Size", ""].map((words) => h("th", { scope: "col" }, words || h("span", { class: "visually-hidden" }, "What can be done"))))),
      h("tbody", {}, indexes.map(row)),
    );

  /** @param {Rest.IndexBuildOut} one */
  const row = (one) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, h("button", { type: "button", class: "index-name", onclick: () => explain(one.version) }, Number(one.version))),
      h("td", {}, one.kind ?? "damaged, or of another model"),
      h("td", {}, one.count === null ? "" : count(one.count)),
      h("td", {}, one.recall === null ? "" : `${(100 * one.recall).toFixed(1)} %`),
      h("td", {}, one.bytes === null ? "" : bytesWords(one.bytes)),
      h("td", {}, one.current ? h("span", { class: "index-current" }, icon("check"), "answers") : page.may.admin && one.kind && button("loop", "Use it", () => choose(one.version), { class: "button quiet", "aria-label": `Let version ${Number(one.version)} answer` })),
    );

  /** @param {string} version @returns {Promise<void>} */
  const choose = async (version) => {
    try {
      await server.chooseIndex(gallery.name, version);
      note(`Version ${Number(version)} answers now`);
      trouble.replaceChildren();
      await refresh();
    } catch (error) {
      trouble.replaceChildren(problemState(error, { retry: () => choose(version), heading: "h3" }));
    }
  };

  /** @param {string} version */
  const explain = async (version) => {
    try {
      why.replaceChildren(...explained(await server.index(gallery.name, version, signal)));
    } catch (error) {
      if (!isWithdrawn(error)) why.replaceChildren(h("p", { class: "quiet-words" }, error.message));
    }
  };

  /** @param {Event} event */
  const build = async (event) => {
    event.preventDefault();
    /** @type {Record<string, any>} */
    const given = Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== "").map(([name, value]) => [name, name === "kind" ? value : Number(value)]));
    if (given.target_recall) given.target_recall /= 100;
    try {
      started(await server.work(gallery.name, "indexes", given));
      trouble.replaceChildren();
    } catch (error) {
      trouble.replaceChildren(problemState(error, { heading: "h3" }));
    }
  };

  /** @param {string} words @param {string} name @param {Record<string, any>} attributes @param {string} [after] */
  const field = (words, name, attributes, after = "") => h("label", { class: "field" }, h("span", {}, words), h("input", { name, type: "number", ...attributes }), after && h("small", {}, after));
  const form = h(
    "form",
    { class: "index-form", onsubmit: build },
    h("label", { class: "field" }, h("span", {}, "Kind"), h("select", { name: "kind" }, h("option", { value: "" }, "Choose by measurement"), KINDS.map((kind) => h("option", { value: kind }, kind)))),
    field("Recall, at least", "target_recall", { min: 1, max: 100, step: "any", placeholder: "99" }, "%"),
    field("Compare all below", "latency_ms", { min: 0.1, max: 10_000, step: "any", placeholder: "5" }, "ms"),
    field("Memory, at most", "memory_mb", { min: 1, max: 1_000_000, step: 1 }, "MB"),
    h("div", {}, h("button", { class: "button primary" }, icon("play"), h("span", {}, "Build"))),
  );
  const element = h(
    "section",
    { class: "jobs-panel", "aria-labelledby": "index-title" },
    h("h2", { id: "index-title" }, `Index of ${gallery.name}`),
    body,
    why,
    page.may.admin && h("details", { class: "index-build" }, h("summary", {}, icon("add"), h("span", {}, "Build a new version")), h("p", { class: "quiet-words" }, "It is built aside and answers when it is proved; the one before is kept."), form),
    trouble,
  );
  refresh();
  return { element, refresh };
}

/** Why an index is as it is: sentences, and the curve where there is one. @param {Rest.IndexExplanationOut} index */
function explained(index) {
  const sentences = h("ul", { class: "index-reasons" }, h("li", {}, `Version ${Number(index.version)}: ${index.says}.`), index.reasons.map((reason) => h("li", {}, reason)));
  const ks = [...new Set(index.points.map((point) => point.k))];
  /** @type {import("../parts/line_chart.js").Series[]} */
  const series = ks.map((k) => ({
    name: `${k} neighbours`,
    points: index.points.filter((point) => point.k === k).map((point) => ({ x: 100 * point.recall, y: point.p50_ms, words: point.setting, marked: point.chosen })),
  }));
  const others = index.trials.filter((trial) => trial.kind !== index.kind).map((trial) => ({ x: 100 * trial.recall, y: trial.expected_ms, words: trial.kind }));
  if (index.points.length < 2 && !others.length) return [sentences];
  return [
    sentences,
    lineChart({
      title: "Time of a search for each recall",
      x: { words: "share of the true neighbours that are found", unit: "%" },
      y: { words: "milliseconds, one thread", unit: "ms", logarithmic: true },
      series: others.length ? [...series, { name: "other kinds, on a sample", points: others, line: false }] : series,
      level: index.exact_ms === null ? null : { y: index.exact_ms, words: "comparing all" },
    }),
  ];
}
