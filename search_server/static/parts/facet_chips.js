/** Filters to choose from: folders, tags, years, cameras and clusters with their counts, and what is chosen of them. */

import { isWithdrawn } from "../api.js";
import { h, icon, opensElsewhere } from "./dom.js";
import { count } from "./words.js";

/** @typedef {Record<string, any>} Filter As the API has it. */
/** @typedef {(fields: string[], values: number, filter: string | null, signal: AbortSignal) => Promise<Rest.FacetsOut>} Counting */

/** @type {Record<string, string>} */
const TITLES = { folder: "Folder", tags: "Tags", year: "Year", camera: "Camera", cluster: "Cluster" };

/** @type {Record<string, string>} */
const OPERATORS = { eq: "", ne: "not", lt: "<", lte: "≤", gt: ">", gte: "≥", prefix: "begins with", in: "one of" };

/**
 * The filter of the address; nothing where it cannot be read: the server then says what is wrong with it.
 *
 * @param {import("../app.js").Page} page
 */
export function filterOf(page) {
  return page.parameter("filter");
}

/**
 * The chips above a grid. They come when the server has counted; the first view has them at once.
 *
 * @param {import("../app.js").Page} page
 * @param {(filter: string | null) => Record<string, any>} parameters Of the address that shows what passes a filter.
 * @param {string} view Its view.
 * @param {AbortSignal} signal
 * @param {{count?: Counting, first?: HTMLElement | null}} [ways] Who counts, where it is not this gallery alone; and what stands
 *   before the chips.
 */
export function facetChips(page, view, parameters, signal, { count: counting, first = null } = {}) {
  const element = h("section", { class: "facets", "aria-label": "Filter", hidden: !first }, first);
  const chosen = readFilter(filterOf(page));
  /** @param {Rest.FacetsOut} counted */
  const show = (counted) => {
    const children = drawn(counted.facets, chosen, (filter) => link(page, view, parameters(filter)));
    element.replaceChildren(...(first ? [first] : []), ...children);
    element.hidden = !element.children.length;
  };
  const given = page.takeFacets();
  if (given && !counting) show(given);
  else {
    (counting ?? page.api.facets.bind(page.api))(Object.keys(TITLES), page.limits.choices, filterOf(page), signal)
      .then(show)
      .catch((error) => {
        if (!isWithdrawn(error)) element.hidden = !first; // the pictures themselves say what is wrong
      });
  }
  return element;
}

/** A filter as an object; an empty one where the text is none. @param {string | null} text @returns {Filter} */
export function readFilter(text) {
  try {
    const filter = JSON.parse(text ?? "{}");
    return filter && typeof filter === "object" && !Array.isArray(filter) ? filter : {};
  } catch {
    return {};
  }
}

/** A value as people read it; clusters are counted from 0, and called from 1 as on the map. @param {string} field @param {Rest.FacetValueOut["value"]} value */
function wordsOf(field, value) {
  if (field === "folder" && value === "") return "(top folder)";
  return field === "cluster" ? `Cluster ${Number(value) + 1}` : String(value);
}

/**
 * @param {Rest.FacetOut[]} facets
 * @param {Filter} chosen
 * @param {(filter: string | null) => import("./dom.js").Properties} open
 */
function drawn(facets, chosen, open) {
  /** What is chosen besides. @param {string} field */
  const othersThan = (field) => Object.fromEntries(Object.entries(chosen).filter(([name]) => name !== field));
  /** @param {Filter} then */
  const leadTo = (then) => open(Object.keys(then).length ? JSON.stringify(then) : null);
  // Also what is not among the most frequent values, or no choice among values at all, can be taken away.
  const chips = Object.entries(chosen).map(([field, condition]) => {
    const words = chosenWords(field, condition);
    const label = `${field in TITLES && field !== "cluster" && "eq" in condition ? `${TITLES[field]} ` : ""}${words}: take this filter away`;
    return h("a", { class: "chip", "aria-label": label, ...leadTo(othersThan(field)) }, h("span", {}, words), icon("close"));
  });
  /** @type {HTMLElement[]} */
  const groups = [];
  for (const { field, values } of facets) {
    const others = othersThan(field);
    const drawnValues = values.map(({ value, count: number, thumb }) => {
      const isChosen = JSON.stringify(chosen[field]) === JSON.stringify({ eq: value });
      const then = isChosen ? others : { ...others, [field]: { eq: value } };
      const words = wordsOf(field, value);
      const attributes = leadTo(then);
      const current = isChosen ? { "aria-current": "true" } : {};
      const picture = thumb ? h("img", { src: thumb, alt: "", width: 32, height: 32, loading: "lazy", decoding: "async" }) : null;
      return h("li", {}, h("a", { class: picture ? "chip pictured" : "chip", ...current, ...attributes }, picture, h("span", {}, words), " ", h("small", {}, count(number))));
    });
    if (values.length > 1 || field === "tags") groups.push(h("div", { class: "facet", role: "group", "aria-label": TITLES[field] }, h("p", { class: "facet-title" }, TITLES[field]), h("ul", { role: "list" }, drawnValues)));
  }
  if (!groups.length) return chips;
  const summary = h("summary", { class: "chip quiet-chip" }, icon("down"), h("span", {}, "Filter"));
  return [...chips, h("details", { class: "facet-groups" }, summary, groups)];
}

/** What is asked of a field, as people read it. @param {string} field @param {any} condition */
function chosenWords(field, condition) {
  return field in TITLES && Object.keys(condition).join() === "eq" ? wordsOf(field, condition.eq) : conditionWords(field, condition);
}

/**
 * A condition on a field: `{gte: 4}` of `rating` is "rating ≥ 4".
 *
 * @param {string} field
 * @param {any} condition
 */
function conditionWords(field, condition) {
  if (field === "and" || field === "or" || field === "not" || !condition || typeof condition !== "object") return "more conditions";
  const parts = Object.entries(condition).map(([operator, value]) => {
    if (operator === "exists") return value ? "is known" : "is not known";
    const words = Array.isArray(value) ? value.map(plainWords).join(", ") : plainWords(value);
    return `${OPERATORS[operator] ?? operator} ${words}`.trim();
  });
  return Object.keys(condition).join() === "eq" ? `${field}: ${parts[0]}` : `${field} ${parts.join(" and ")}`;
}

/** @param {unknown} value */
function plainWords(value) {
  return typeof value === "boolean" ? (value ? "yes" : "no") : String(value);
}

/**
 * @param {import("../app.js").Page} page
 * @param {string} view
 * @param {import("../app.js").Parameters} parameters
 * @returns {import("./dom.js").Properties}
 */
function link(page, view, parameters) {
  return {
    href: page.address(view, parameters),
    onclick: (event) => {
      if (opensElsewhere(event)) return;
      event.preventDefault();
      page.go(view, parameters);
    },
  };
}
