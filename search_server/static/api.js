/** The REST API as the page uses it: one gallery, promises, and problems that say what to do. */

import { bodyOf } from "./parts/question.js";

/** An answer that is no success, or no answer at all (code `server_gone`). */
export class Problem extends Error {
  constructor({ code, title, detail, status = 0, retryAfter = 0 }) {
    super(detail || title);
    Object.assign(this, { code, title, detail, status, retryAfter });
  }
}

export const SERVER_GONE = {
  code: "server_gone",
  title: "The server does not answer",
  detail: "It may have been stopped, or the connection is gone. Start it again with lookalike serve, then try again.",
};

/** A stored query's id is told from an item's by this: items are numbered. */
export function isItem(id) {
  return /^\d+$/.test(id);
}

/** An item's or a stored query's id as the search's address has it. */
export function queryParameters(id) {
  return isItem(id) ? { id } : { q: id };
}

export class Api {
  /** @param {string} base Address of the gallery. */
  constructor(base) {
    this.base = base;
  }

  /** A random set of items; the same seed gives the same set. */
  async sample(limit, seed, signal) {
    const page = await ask(withParameters(`${this.base}/items`, { limit, seed }), { signal });
    return page.items;
  }

  /** A page of all items. */
  items(limit, cursor, filter, signal, sort = null) {
    return ask(withParameters(`${this.base}/items`, { limit, cursor, filter, sort }), { signal });
  }

  /** Ids and aspects of all items that pass, in order, and how many there are: an outline may end before them. */
  async outline(sort, filter, signal) {
    const response = await answered(withParameters(`${this.base}/items/outline`, { sort, filter }), { signal });
    const length = Number(response.headers.get("X-Count"));
    const buffer = await response.arrayBuffer();
    const ids = new BigInt64Array(buffer, 0, length);
    return { ids, aspects: new Float32Array(buffer, 8 * length, length), total: Number(response.headers.get("X-Total")) };
  }

  /** A page of the files that could not be used. */
  failures(cursor, signal) {
    return ask(withParameters(`${this.base}/failures`, { cursor, limit: 200 }), { signal });
  }

  /** Add pictures to the gallery; each has its result. @param {File[]} files */
  add(files, signal) {
    const data = new FormData();
    for (const file of files) data.append("images", file, file.name || "Pasted picture");
    return ask(`${this.base}/items`, { method: "POST", body: data, signal });
  }

  /** Give items tags, or take tags from them. @param {string[]} ids @param {{add?: string[], remove?: string[]}} change */
  tag(ids, change) {
    return send(`${this.base}/items/tags`, { ids, ...change });
  }

  /** Take items out of the gallery; their files stay. @param {string[]} ids */
  remove(ids) {
    return send(`${this.base}/items/delete`, { ids });
  }

  /** What the decoder paints of an item's or a stored query's code. */
  reconstructionAddress(id, model) {
    return `${this.base}/${isItem(id) ? "items" : "queries"}/${encodeURIComponent(id)}/reconstruction?v=${model}`;
  }

  /** Some items by their ids. @param {string[]} ids */
  async described(ids, signal) {
    const page = await ask(withParameters(`${this.base}/items`, { ids: ids.join(","), limit: ids.length }), { signal });
    return page.items;
  }

  /** How many items have which value of some fields; a field's own condition does not count for itself. */
  facets(fields, values, filter, signal) {
    return ask(withParameters(`${this.base}/facets`, { fields, values, filter, own: false }), { signal });
  }

  /** An item or a stored query. */
  picture(id, signal) {
    return ask(`${this.base}/${isItem(id) ? "items" : "queries"}/${encodeURIComponent(id)}`, { signal });
  }

  /** Neighbours of a picture that is sent; the answer's `query.id` stands for it for an hour. */
  search(file, k, signal) {
    return ask(`${this.base}/search`, { method: "POST", body: form(file, { k }), signal });
  }

  /**
   * Neighbours of what is asked about. A plain one of an item is a GET, which the address alone decides.
   *
   * @param {import("./parts/question.js").Question} question
   * @param {boolean} paints Whether the model has a decoder.
   */
  neighbours(question, paints, k, offset, signal) {
    const { id, crop, forms, self, beta, filter } = question;
    if (id && isItem(id) && !crop && forms === "none" && !self) {
      return ask(withParameters(`${this.base}/items/${id}/similar`, { k, offset, beta, filter }), { signal });
    }
    return send(`${this.base}/search`, { ...bodyOf(question, paints), k, offset }, signal);
  }

  /** A combined query as the model paints it. @param {Record<string, any>} body */
  sum(body, signal) {
    return send(`${this.base}/search`, { ...body, k: 1 }, signal);
  }

  /** Why two pictures are alike: how much each patch of each counts. */
  explain(a, b, gallery, grid, signal) {
    return send(`${this.base.replace(/\/galleries\/[^/]*$/, "")}/explain`, { a, b, gallery, grid }, signal);
  }

  /** Store a picture that lies elsewhere; the server fetches it, where it may. @param {string} url */
  storeAddress(url, signal) {
    return send(`${this.base}/queries`, { url }, signal);
  }

  /** Where an item's reconstruction differs from it. */
  errorMapAddress(id, model) {
    return `${this.base}/items/${id}/error-map?v=${model}`;
  }

  /** Store a picture without a search: one end of a morph. */
  store(file, signal) {
    return ask(`${this.base}/queries`, { method: "POST", body: form(file, {}), signal });
  }

  /** The frames of a morph, each with its nearest picture of the gallery. */
  morph(a, b, path, frames, signal) {
    return ask(withParameters(`${this.base}/morph`, { a, b, path, frames, nearest_k: 1, format: "json" }), { signal });
  }

  /** Address of a morph as a file: format webp (animated, there and back) or strip. */
  morphAddress(a, b, path, format, frames) {
    return withParameters(`${this.base}/morph`, { a, b, path, format, frames, pingpong: format === "webp" });
  }
}

function send(address, fields, signal) {
  const headers = { "Content-Type": "application/json" };
  return ask(address, { method: "POST", body: JSON.stringify(fields), headers, signal });
}

function form(file, fields) {
  const data = new FormData();
  data.set("image", file, file.name || "Pasted picture");
  for (const [name, value] of Object.entries(fields)) data.set(name, String(value));
  return data;
}

function withParameters(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined);
  return `${path}?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}

async function ask(address, options) {
  const response = await answered(address, options);
  return response.json();
}

async function answered(address, options) {
  let response;
  try {
    response = await fetch(address, { ...options, headers: { Accept: "application/json", ...options.headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(SERVER_GONE);
  }
  if (response.ok) return response;
  throw new Problem(await problemOf(response));
}

async function problemOf(response) {
  const { status } = response;
  try {
    const problem = await response.json();
    const code = problem.code ?? problem.type?.split("/").pop();
    const retryAfter = Number(response.headers.get("Retry-After")) || 0; // seconds
    return { code, title: problem.title, detail: problem.detail, status, retryAfter };
  } catch {
    return { code: "unknown", title: `The server answered ${status}`, detail: response.statusText, status };
  }
}

/** Whether a promise was rejected because its question was withdrawn: nothing to tell the reader. */
export function isWithdrawn(error) {
  return error?.name === "AbortError";
}
