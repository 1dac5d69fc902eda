/** The REST API as the page uses it: one gallery, promises, and problems that say what to do. */

// What the API answers has the types `Rest.…`: openapi.json as the tests hand it to TypeScript, see docs/page.md.

/** @typedef {{code: string, title: string, detail?: string, status?: number}} Told What is said of a problem. */
/** @typedef {AbortSignal | null | undefined} Signal Withdraws a question. */

/**
 * A picture as a tile shows it: of a list, or a neighbour with its score.
 *
 * @typedef {Pick<Rest.HitOut, "id" | "name" | "path" | "width" | "height" | "thumb" | "image"> & Partial<Rest.HitOut>} Picture
 */

/** An answer that is no success, or no answer at all (code `server_gone`). */
export class Problem extends Error {
  /** @param {Told} told */
  constructor({ code, title, detail = "", status = 0 }) {
    super(detail || title);
    this.code = code;
    this.title = title;
    this.detail = detail;
    this.status = status;
  }
}

export const SERVER_GONE = {
  code: "server_gone",
  title: "The server does not answer",
  detail: "It may have been stopped, or the connection is gone. Start it again with lookalike serve, then try again.",
};

/** A stored query's id is told from an item's by this: items are numbered. @param {string} id */
export function isItem(id) {
  return /^\d+$/.test(id);
}

/**
 * An item's or a stored query's id as the search's address has it.
 *
 * @param {string} id
 * @returns {Record<string, string>}
 */
export function queryParameters(id) {
  return isItem(id) ? { id } : { q: id };
}

export class Api {
  /** @param {string} base Address of the gallery. */
  constructor(base) {
    this.base = base;
  }

  /**
   * A random set of items; the same seed gives the same set.
   *
   * @param {number} limit
   * @param {number} seed
   * @param {Signal} [signal]
   * @returns {Promise<Rest.ItemOut[]>}
   */
  async sample(limit, seed, signal) {
    const page = await ask(withParameters(`${this.base}/items`, { limit, seed }), { signal });
    return page.items;
  }

  /**
   * A page of all items.
   *
   * @param {number} limit
   * @param {string | null} cursor
   * @param {string | null} filter JSON text.
   * @param {Signal} [signal]
   * @returns {Promise<Rest.ItemsOut>}
   */
  items(limit, cursor, filter, signal) {
    return ask(withParameters(`${this.base}/items`, { limit, cursor, filter }), { signal });
  }

  /**
   * How many items have which value of some fields; a field's own condition does not count for itself.
   *
   * @param {string[]} fields
   * @param {number} values Of each field.
   * @param {string | null} filter JSON text.
   * @param {Signal} [signal]
   * @returns {Promise<Rest.FacetsOut>}
   */
  facets(fields, values, filter, signal) {
    return ask(withParameters(`${this.base}/facets`, { fields, values, filter, own: false }), { signal });
  }

  /**
   * An item or a stored query.
   *
   * @param {string} id
   * @param {Signal} [signal]
   * @returns {Promise<Rest.ItemOut | Rest.StoredQueryOut>}
   */
  picture(id, signal) {
    return ask(`${this.base}/${isItem(id) ? "items" : "queries"}/${encodeURIComponent(id)}`, { signal });
  }

  /**
   * Neighbours of a picture that is sent; the answer's `query.id` stands for it for an hour.
   *
   * @param {File} file
   * @param {number} k
   * @param {Signal} [signal]
   * @returns {Promise<Rest.SearchOut>}
   */
  search(file, k, signal) {
    return ask(`${this.base}/search`, { method: "POST", body: form(file, { k }), signal });
  }

  /**
   * Neighbours of an item or of a stored query.
   *
   * @param {string} id
   * @param {number} k
   * @param {number} offset
   * @param {number} beta Weighs what it looks like, 1 as indexed.
   * @param {string | null} filter JSON text.
   * @param {Signal} [signal]
   * @returns {Promise<Rest.SearchOut>}
   */
  neighbours(id, k, offset, beta, filter, signal) {
    if (isItem(id)) return ask(withParameters(`${this.base}/items/${id}/similar`, { k, offset, beta, filter }), { signal });
    const headers = { "Content-Type": "application/json" };
    const body = JSON.stringify({ id, k, offset, beta, ...(filter ? { filter } : {}) });
    return ask(`${this.base}/search`, { method: "POST", body, headers, signal });
  }

  /**
   * Store a picture without a search: one end of a morph.
   *
   * @param {File} file
   * @param {Signal} [signal]
   * @returns {Promise<Rest.StoredQueryOut>}
   */
  store(file, signal) {
    return ask(`${this.base}/queries`, { method: "POST", body: form(file, {}), signal });
  }

  /**
   * The frames of a morph, each with its nearest picture of the gallery.
   *
   * @param {string} a
   * @param {string} b
   * @param {string} path
   * @param {number} frames
   * @param {Signal} [signal]
   * @returns {Promise<Rest.MorphOut>}
   */
  morph(a, b, path, frames, signal) {
    return ask(withParameters(`${this.base}/morph`, { a, b, path, frames, nearest_k: 1, format: "json" }), { signal });
  }

  /**
   * Address of a morph as a file.
   *
   * @param {string} a
   * @param {string} b
   * @param {string} path
   * @param {string} format webp (animated, there and back) or strip.
   * @param {number} frames
   */
  morphAddress(a, b, path, format, frames) {
    return withParameters(`${this.base}/morph`, { a, b, path, format, frames, pingpong: format === "webp" });
  }
}

/** @param {File} file @param {Record<string, unknown>} fields */
function form(file, fields) {
  const data = new FormData();
  data.set("image", file, file.name || "Pasted picture");
  for (const [name, value] of Object.entries(fields)) data.set(name, String(value));
  return data;
}

/** @param {string} path @param {Record<string, unknown>} parameters Null and undefined are left out. */
export function withParameters(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined);
  return given.length ? `${path}?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}` : path;
}

/** Ask the server for JSON. @param {string} address @param {RequestInit} [options] @returns {Promise<any>} */
export async function ask(address, options = {}) {
  const response = await answerTo(address, options);
  return response.status === 204 ? null : response.json();
}

/** Send JSON. @param {string} address @param {any} body @param {RequestInit} [options] */
export function send(address, body, options = {}) {
  const headers = { "Content-Type": "application/json", ...options.headers };
  return ask(address, { method: "POST", ...options, headers, body: JSON.stringify(body ?? {}) });
}

/** What the server answers. @param {string} address @param {RequestInit} options @returns {Promise<Response>} */
export async function answerTo(address, options) {
  let response;
  try {
    response = await fetch(address, { ...options, headers: { Accept: "application/json", ...options.headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(SERVER_GONE);
  }
  if (!response.ok) throw new Problem(await problemOf(response));
  return response;
}

/** @param {Response} response @returns {Promise<Told>} */
async function problemOf(response) {
  const { status } = response;
  try {
    const problem = await response.json();
    const code = problem.code ?? problem.type?.split("/").pop();
    return { code, title: problem.title, detail: problem.detail, status };
  } catch {
    return { code: "unknown", title: `The server answered ${status}`, detail: response.statusText, status };
  }
}

/** Whether a promise was rejected because its question was withdrawn: nothing to tell the reader. @param {any} error */
export function isWithdrawn(error) {
  return error?.name === "AbortError";
}
