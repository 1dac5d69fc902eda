/** What can be done to a gallery: look through its folders again, draw its map, find duplicates and outliers. */

import { isWithdrawn } from "../api.js";
import { button, h } from "../parts/dom.js";
import { note } from "../parts/messages.js";
import { problemState } from "../parts/states.js";
import { bytesWords, count, plural } from "../parts/words.js";

const WORK = [
  { what: "scan", icon: "loop", words: "Look for new pictures", says: "Looks through its folders again: new and changed pictures come in, missing ones go." },
  { what: "map", icon: "expand", words: "Draw the map", says: "Places every picture beside those it is like." },
  { what: "duplicates/compute", icon: "beside", words: "Find duplicates", says: "The same picture twice, or nearly." },
  { what: "anomalies", icon: "warning", words: "Find outliers", says: "Pictures that are unlike all others." },
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

  const rows = WORK.map(({ what, icon, words, says }) => {
    /** @type {HTMLButtonElement} */
    const pressed = button(icon, words, () => begin(what, pressed));
    return h("li", {}, pressed, h("span", { class: "quiet-words" }, says));
  });
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
