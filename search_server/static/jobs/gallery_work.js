/** What can be done to a gallery: look through its folders again, draw its map, find duplicates and outliers. */

import { isWithdrawn } from "../api.js";
import { button, h, icon } from "../parts/dom.js";
import { note } from "../parts/messages.js";
import { problemState } from "../parts/states.js";
import { bytesWords, count, plural } from "../parts/words.js";

const WORK = [
  { what: "scan", drawing: "loop", words: "Look for new pictures", says: "Looks through its folders again: new and changed pictures come in, missing ones go." },
  { what: "map", drawing: "expand", words: "Draw the map", says: "Places every picture beside those it is like." },
  { what: "duplicates/compute", drawing: "beside", words: "Find duplicates", says: "The same picture twice, or nearly." },
  { what: "anomalies", drawing: "warning", words: "Find outliers", says: "Pictures that are unlike all others." },
];

/**
 * @param {import("../app.js").Page} page
 * @param {(job: import("../server_api.js").Job) => void} started
 * @param {AbortSignal} signal
 */
export function galleryWork(page, started, signal) {
  const { gallery, server } = page;
  const numbers = h("p", { class: "quiet-words" });
  const trouble = h("div", {});

  /** @param {string} what @param {HTMLButtonElement} pressed @returns {Promise<void>} */
  const begin = async (what, pressed) => {
    pressed.disabled = true;
    try {
      const answer = await server.work(gallery.name, what);
      if (answer.state) started(answer);
      else note("Done: there was so little to do that it needed no job");
      trouble.replaceChildren();
    } catch (error) {
      trouble.replaceChildren(problemState(error, { retry: () => begin(what, pressed), heading: "h3" }));
    } finally {
      pressed.disabled = false;
    }
  };

  const refresh = async () => {
    try {
      const stats = await server.stats(gallery.name, signal);
      const failures = stats.failures ? `, ${plural(stats.failures, "file", "files")} could not be read` : "";
      numbers.textContent = `${plural(stats.items, "picture", "pictures")}${failures}; ${bytesWords(stats.database_bytes + stats.index_bytes)} on disk`;
    } catch (error) {
      if (!isWithdrawn(error)) numbers.textContent = `${count(gallery.items)} pictures`;
    }
  };

  const rows = WORK.map(({ what, drawing, words, says }) => {
    /** @type {HTMLButtonElement} */
    const pressed = button(drawing, words, () => begin(what, pressed));
    return h("li", {}, pressed, h("span", { class: "quiet-words" }, says));
  });
  if (page.may.admin) {
    const train = h("a", { class: "button", href: page.address("models", { train: gallery.name }) }, icon("model"), h("span", {}, "Train a model"));
    rows.push(h("li", {}, train, h("span", { class: "quiet-words" }, "One that learns from these pictures what alike means here.")));
  }
  refresh();
  const element = h(
    "section",
    { class: "jobs-panel", "aria-labelledby": "work-title" },
    h("h2", { id: "work-title" }, gallery.name),
    numbers,
    h("ul", { class: "jobs-work", role: "list" }, rows),
    trouble,
  );
  return { element, refresh };
}
