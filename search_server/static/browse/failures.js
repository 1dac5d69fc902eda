/** Files of the gallery's folders that could not be used, and why. */

import { isWithdrawn } from "../api.js";
import { button, h } from "../parts/dom.js";
import { problemState, state } from "../parts/states.js";

/**
 * @param {import("../app.js").Page} page
 * @param {AbortSignal} signal
 */
export function failuresList(page, signal) {
  const body = h("tbody");
  const foot = h("div", { class: "results-foot" });
  const table = h(
    "table",
    { class: "failures" },
    h("thead", {}, h("tr", {}, ["File", "Why", "What helps"].map((words) => h("th", { scope: "col" }, words)))),
    body,
  );
  const element = h("div", { class: "failures-scroll" });

  /** @param {number} cursor */
  const fetchFrom = async (cursor) => {
    foot.replaceChildren();
    try {
      const { failures, next_cursor: next } = await page.api.failures(cursor, signal);
      body.append(...failures.map(row));
      if (body.children.length) element.replaceChildren(table, foot);
      else element.replaceChildren(state({ iconName: "check", title: "Every file could be used", text: "Nothing was left out of this gallery." }));
      if (next) foot.replaceChildren(button("down", "Show more", () => fetchFrom(next)));
    } catch (error) {
      if (!isWithdrawn(error)) element.replaceChildren(problemState(error, { retry: () => fetchFrom(cursor) }));
    }
  };
  fetchFrom(0);
  return element;
}

/** @param {Rest.FailureOut} failure */
function row(failure) {
  return h("tr", {}, h("th", { scope: "row", class: "path" }, failure.path), h("td", {}, failure.title), h("td", {}, failure.remedy));
}
