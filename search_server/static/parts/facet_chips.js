/** Filters to choose from: folders, tags, years, cameras and clusters with their counts, and what is chosen of them. */

import { isWithdrawn } from "../api.js";
import { h, icon, opensElsewhere } from "./dom.js";
import { problemState } from "./states.js";
import { count } from "./words.js";

/** @typedef {Record<string, any>} Filter As the API has it. */
/** @typedef {(fields: string[], values: number, filter: string | null, signal: AbortSignal) => Promise<Rest.FacetsOut>} Counting */

/** @type {Record<string, string>} */
const TITLES = { folder: "Folder", tags: "Tags", year: "Year", camera: "Camera", cluster: "Cluster" };

const NOTHING_TO_CHOOSE = "Nothing to choose from: these pictures are in one folder, and have no tags, years or cameras that differ.";

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
 * The chips above a grid: what is chosen, and one that opens what there is to choose. All of them stand there at once, so that
 * nothing below moves; values are counted when somebody wants to see them, where they did not come with the page.
 *
 * @param {import("../app.js").Page} page
 * @param {(filter: string | null) => Record<string, any>} parameters Of the address that shows what passes a filter.
 * @param {string} view Its view.
 * @param {AbortSignal} signal
 * @param {{count?: Counting, first?: HTMLElement | null}} [ways] Who counts, where it is not this gallery alone; and what stands
 *   before the chips.
 */
export function facetChips(page, view, parameters, signal, { count: counting, first = null } = {}) {
  const filter = filterOf(page);
  const chosen = readFilter(filter);
  /** @param {Filter} then */
  const open = (then) => link(page, view, () => parameters(Object.keys(then).length ? JSON.stringify(then) : null));
  const values = h("div", { class: "facet-values chip-panel" });
  /** @param {Rest.FacetsOut} counted */
  const show = ({ facets }) => {
    const groups = groupsOf(facets, chosen, open);
    if (!counting && !filter) page.filterable = groups.length > 0;
    values.replaceChildren(...(groups.length ? groups : [h("p", { class: "quiet-words" }, NOTHING_TO_CHOOSE)]));
  };
  const count = async () => {
    values.replaceChildren(h("p", { class: "quiet-words late", "aria-busy": "true" }, "Counting …"));
    try {
      show(await (counting ?? page.api.facets.bind(page.api))(Object.keys(TITLES), page.limits.choices, filter, signal));
    } catch (error) {
      if (!isWithdrawn(error)) values.replaceChildren(problemState(error, { retry: count, heading: "h3" }));
    }
  };
  const given = page.takeFacets();
  if (given) show(given);
  /** @type {HTMLDetailsElement} */
  const choices = h(
    "details",
    { class: "facet-groups", ontoggle: () => choices.open && !values.hasChildNodes() && count() },
    h("summary", { class: "chip quiet-chip" }, icon("down"), h("span", {}, "Filter")),
    values,
  );
  const isOffered = counting || page.filterable !== false;
  const children = [first, ...chosenChips(chosen, open), isOffered && choices].filter(Boolean);
  return h("section", { class: "facets", "aria-label": "Filter", hidden: !children.length }, children);
}

/** Count before anybody asks for it, so that the next view knows whether it offers a choice. @param {import("../app.js").Page} page */
export async function countAhead(page) {
  if (page.filterable !== null || !page.gallery.items) return;
  const { facets } = await page.api.facets(Object.keys(TITLES), page.limits.choices, null, null, true);
  page.filterable = tellingFacets(facets).length > 0;
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

/** What is chosen besides a field. @param {Filter} chosen @param {string} field */
function othersThan(chosen, field) {
  return Object.fromEntries(Object.entries(chosen).filter(([name]) => name !== field));
}

/**
 * What is chosen: also what is not among the most frequent values, or no choice among values at all, can be taken away.
 *
 * @param {Filter} chosen
 * @param {(then: Filter) => import("./dom.js").Properties} open
 */
function chosenChips(chosen, open) {
  return Object.entries(chosen).map(([field, condition]) => {
    const words = chosenWords(field, condition);
    const label = `${field in TITLES && field !== "cluster" && "eq" in condition ? `${TITLES[field]} ` : ""}${words}: take this filter away`;
    return h("a", { class: "chip", "aria-label": label, ...open(othersThan(chosen, field)) }, h("span", {}, words), icon("close"));
  });
}

/** Those that tell pictures apart: all pictures have a folder, but not all a tag. @param {Rest.FacetOut[]} facets */
function tellingFacets(facets) {
  return facets.filter(({ field, values }) => values.length > 1 || (field === "tags" && values.length > 0));
}

/**
 * What there is to choose; nothing where all pictures have the same.
 *
 * @param {Rest.FacetOut[]} facets
 * @param {Filter} chosen
 * @param {(then: Filter) => import("./dom.js").Properties} open
 */
function groupsOf(facets, chosen, open) {
  return tellingFacets(facets).map(({ field, values }) => {
    const others = othersThan(chosen, field);
    const drawn = values.map(({ value, count: number, thumb }) => {
      const isChosen = JSON.stringify(chosen[field]) === JSON.stringify({ eq: value });
      const current = isChosen ? { "aria-current": "true" } : {};
      const picture = thumb ? h("img", { src: thumb, alt: "", width: 32, height: 32, loading: "lazy", decoding: "async" }) : null;
      const properties = { class: picture ? "chip pictured" : "chip", ...current, ...open(isChosen ? others : { ...others, [field]: { eq: value } }) };
      return h("li", {}, h("a", properties, picture, h("span", {}, wordsOf(field, value)), " ", h("small", {}, count(number))));
    });
    return h("div", { class: "facet", role: "group", "aria-label": TITLES[field] }, h("p", { class: "facet-title" }, TITLES[field]), h("ul", { role: "list" }, drawn));
  });
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
 * A link that leads where its parameters say at the moment of the click.
 *
 * @param {import("../app.js").Page} page
 * @param {string} view
 * @param {() => import("../app.js").Parameters} parameters
 * @returns {import("./dom.js").Properties}
 */
function link(page, view, parameters) {
  return {
    href: page.address(view, parameters()),
    onclick: (event) => {
      if (opensElsewhere(event)) return;
      event.preventDefault();
      page.go(view, parameters());
    },
  };
}
