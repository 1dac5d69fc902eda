/** A search that goes through several galleries: one answer, one count of what there is to filter by. */

import { isItem, isWithdrawn } from "../api.js";
import { bodyOf, isCombined } from "../parts/question.js";

/** @typedef {Rest.SearchOut & {by: "score" | "percentile", problems: Rest.SearchAllOut["problems"], galleries: string[]}} Together */

/**
 * Neighbours in all galleries that a question names, in the form that one gallery's have. Those of another one are called
 * GALLERY/ID: numbers are given by each gallery on its own.
 *
 * @param {import("../app.js").Page} page
 * @param {import("../parts/question.js").Question} question
 * @param {number} k
 * @param {number} offset
 * @param {AbortSignal} signal
 * @param {Rest.SearchAllOut | null} given The answer, where it came with the page.
 * @returns {Promise<Together>}
 */
export async function neighboursInAll(page, question, k, offset, signal, given) {
  const home = page.gallery.name;
  const chosen = page.searchable.filter(({ name }) => question.galleries.includes(name));
  const paints = chosen.length > 0 && chosen.every((gallery) => gallery.paints);
  const body = { ...bodyOf(question, paints), galleries: question.galleries, gallery: home, k, offset };
  const answer = given ?? (await page.api.searchAll(body, signal));
  const searched = chosen.filter(({ name }) => name in answer.queries && !(name in answer.problems));
  const hits = answer.hits.map((hit) => ({ ...hit, by: answer.by, id: hit.gallery === home ? hit.id : `${hit.gallery}/${hit.id}` }));
  return /** @type {Together} */ ({
    query: answer.queries[home] ?? (await asAtHome(page, question, Object.values(answer.queries)[0], signal)),
    hits,
    by: answer.by,
    problems: answer.problems,
    galleries: searched.map(({ name }) => name),
    beta: question.beta,
    provider: page.gallery.provider.used,
    took_ms: answer.took_ms,
    index: /** @type {any} */ ({ count: searched.reduce((sum, { items }) => sum + items, 0) }),
  });
}

/**
 * What is asked about, where its own gallery is not among those that are searched: to them it is a picture that came from
 * elsewhere.
 *
 * @param {import("../app.js").Page} page
 * @param {import("../parts/question.js").Question} question
 * @param {Rest.QueryOut} seen By one of them.
 * @param {AbortSignal} signal
 */
async function asAtHome(page, question, seen, signal) {
  const { id } = question;
  if (!id || isCombined(question) || !isItem(id)) return seen;
  const painted = page.gallery.model.has_decoder ? page.api.reconstructionAddress(id, page.gallery.model.id) : null;
  return { ...seen, ...(await page.api.picture(id, signal)), kind: "item", reconstruction_url: painted };
}

/**
 * How many items of several galleries together have which values; a gallery that does not know a field is left out.
 *
 * @param {import("../api.js").Api} api
 * @param {string[]} galleries
 * @param {Parameters<import("../parts/facet_chips.js").Counting>} asked
 * @returns {Promise<Rest.FacetsOut>}
 */
export async function countInAll(api, galleries, ...asked) {
  /** @param {any} error */
  const unknown = (error) => {
    if (isWithdrawn(error)) throw error;
    return null;
  };
  const counted = await Promise.all(galleries.map((name) => api.of(name).facets(...asked).catch(unknown)));
  const answers = counted.filter((answer) => answer !== null);
  const [fields, values] = asked;
  // A cluster's number means something in its own gallery alone.
  const shared = fields.filter((field) => field !== "cluster");
  const facets = shared.map((field) => summed(field, answers.flatMap((answer) => answer.facets.filter((facet) => facet.field === field)), values));
  return { passing: answers.reduce((sum, answer) => sum + (answer.passing ?? 0), 0), facets };
}

/** @param {string} field @param {Rest.FacetOut[]} facets @param {number} most @returns {Rest.FacetOut} */
function summed(field, facets, most) {
  /** @type {Map<any, number>} */
  const sums = new Map();
  for (const { value, count } of facets.flatMap((facet) => facet.values)) sums.set(value, (sums.get(value) ?? 0) + count);
  const values = [...sums].map(([value, count]) => ({ value, count })).sort((one, other) => other.count - one.count);
  return { ...facets[0], field, values: values.slice(0, most) };
}
