/** The REST API as the page uses it: one gallery, promises, and problems that say what to do. */

import { begin } from "./parts/in_flight.js";
import { bodyOf } from "./parts/question.js";

// What the API answers has the types `Rest.…`: openapi.json as the tests hand it to TypeScript, see docs/page.md.

/** @typedef {{code: string, title: string, detail?: string, status?: number, retryAfter?: number | null}} Told What is said of a problem. */
/** @typedef {AbortSignal | null | undefined} Signal Withdraws a question. */
/** @typedef {{ids: BigInt64Array, aspects: Float32Array, total: number}} Outline Of a list: what it takes to lay it out. */

/**
 * A picture as a tile shows it: of a list, or a neighbour with its score.
 *
 * @typedef {Pick<Rest.HitOut, "id" | "name" | "path" | "width" | "height" | "thumb" | "image"> & Partial<Rest.HitOut>} Picture
 */

/** An answer that is no success, or no answer at all (code `server_gone`). */
export class Problem extends Error {
  /** @param {Told} told */
  constructor({ code, title, detail = "", status = 0, retryAfter = null }) {
    super(detail || title);
    this.code = code;
    this.title = title;
    this.detail = detail;
    this.status = status;
    this.retryAfter = retryAfter; // seconds after which it is worth asking again; null where the server did not say
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

/**
 * Where a picture is: a neighbour that was found in another gallery is called GALLERY/ID, every other one by its id alone.
 *
 * @param {string} id
 */
export function homeOf(id) {
  const [number, gallery = null] = id.split("/").reverse();
  return { gallery, id: number };
}

export class Api {
  /** @param {string} base Address of the gallery. */
  constructor(base) {
    this.base = base;
    this.server = base?.replace(/\/galleries\/[^/]*$/, "");
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
    const page = await ask(withParameters(`${this.base}/items`, { limit, seed, placeholders: true }), { signal });
    return page.items;
  }

  /**
   * Ids and aspects of all items that pass, in order, and how many there are: an outline may end before them.
   *
   * @param {string} sort
   * @param {string | null} filter JSON text.
   * @param {Signal} [signal]
   * @returns {Promise<Outline>}
   */
  async outline(sort, filter, signal) {
    const response = await answerTo(withParameters(`${this.base}/items/outline`, { sort, filter }), { signal });
    const length = Number(response.headers.get("X-Count"));
    const buffer = await response.arrayBuffer();
    const ids = new BigInt64Array(buffer, 0, length);
    return { ids, aspects: new Float32Array(buffer, 8 * length, length), total: Number(response.headers.get("X-Total")) };
  }

  /**
   * Some items by their ids.
   *
   * @param {string[]} ids
   * @param {Signal} [signal]
   * @returns {Promise<Rest.ItemOut[]>}
   */
  async described(ids, signal) {
    const page = await ask(withParameters(`${this.base}/items`, { ids: ids.join(","), limit: ids.length, placeholders: true }), { signal });
    return page.items;
  }

  /**
   * A page of the files that could not be used.
   *
   * @param {number} cursor
   * @param {Signal} [signal]
   * @returns {Promise<Rest.FailuresOut>}
   */
  failures(cursor, signal) {
    return ask(withParameters(`${this.base}/failures`, { cursor, limit: 200 }), { signal });
  }

  /** Give items tags, or take tags from them. @param {string[]} ids @param {{add?: string[], remove?: string[]}} change */
  tag(ids, change) {
    return keep(`${this.base}/items/tags`, { ids, ...change });
  }

  /** Set metadata of items by hand; null takes a field back. @param {string[]} ids @param {Record<string, any>} metadata @returns {Promise<Rest.DescribedOut>} */
  describe(ids, metadata) {
    return keep(`${this.base}/items/metadata`, { ids, metadata });
  }

  /** The fields of the gallery's metadata. @returns {Promise<Rest.FieldOut[]>} */
  async fields() {
    return (await ask(`${this.base}/fields`, { quiet: true })).fields;
  }

  /** Take items out of the gallery; their files stay. @param {string[]} ids */
  remove(ids) {
    return keep(`${this.base}/items/delete`, { ids });
  }

  /**
   * How many items have which value of some fields; a field's own condition does not count for itself.
   *
   * @param {string[]} fields
   * @param {number} values Of each field.
   * @param {string | null} filter JSON text.
   * @param {Signal} [signal]
   * @param {boolean} [quiet] Nobody waits for it.
   * @returns {Promise<Rest.FacetsOut>}
   */
  facets(fields, values, filter, signal, quiet = false) {
    return ask(withParameters(`${this.base}/facets`, { fields, values, filter, own: false }), { signal, quiet });
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
    return ask(`${this.base}/search`, { method: "POST", body: form(file, { k, placeholders: true }), signal });
  }

  /**
   * Neighbours of what is asked about. A plain question about an item is a GET, which the address alone decides.
   *
   * @param {import("./parts/question.js").Question} question
   * @param {boolean} paints Whether the model has a decoder.
   * @param {number} k
   * @param {number} offset
   * @param {Signal} [signal]
   * @returns {Promise<Rest.SearchOut>}
   */
  answer(question, paints, k, offset, signal) {
    const { id, crop, forms, self, once, same, beta, filter } = question;
    if (id && isItem(id) && !crop && forms === "none" && !self && !once && !same) {
      return ask(withParameters(`${this.base}/items/${id}/similar`, { k, offset, beta, filter, placeholders: true }), { signal });
    }
    return send(`${this.base}/search`, { ...bodyOf(question, paints), k, offset }, { signal });
  }

  /**
   * Neighbours of an item or of a stored query.
   *
   * @param {string} id
   * @param {number} k
   * @param {number} offset
   * @param {number | null} beta Weighs what it looks like, 1 as indexed.
   * @param {string | null} filter JSON text.
   * @param {Signal} [signal]
   * @returns {Promise<Rest.SearchOut>}
   */
  neighbours(id, k, offset, beta, filter, signal) {
    const asked = { ...(isItem(id) ? {} : { id }), k, offset, ...(beta === null ? {} : { beta }), ...(filter ? { filter } : {}) };
    if (isItem(id)) return ask(withParameters(`${this.base}/items/${id}/similar`, asked), { signal });
    return send(`${this.base}/search`, asked, { signal });
  }

  /**
   * A combined query as the model paints it.
   *
   * @param {Record<string, any>} body
   * @param {Signal} [signal]
   * @returns {Promise<Rest.SearchOut>}
   */
  sum(body, signal) {
    return send(`${this.base}/search`, { ...body, k: 1 }, { signal });
  }

  /**
   * Why two pictures are alike: how much each patch of each counts. A picture of another gallery is seen by its model.
   *
   * @param {string} a
   * @param {string} b
   * @param {string} gallery
   * @param {number} grid Patches in a row.
   * @param {Signal} [signal]
   * @returns {Promise<Rest.ExplainOut>}
   */
  explain(a, b, gallery, grid, signal) {
    const home = homeOf(b);
    return send(`${this.server}/explain`, { a, b: home.id, gallery: home.gallery ?? gallery, grid }, { signal });
  }

  /**
   * Neighbours in several galleries, of which this one need not be one.
   *
   * @param {Record<string, any>} body With the names of the galleries.
   * @param {Signal} [signal]
   * @returns {Promise<Rest.SearchAllOut>}
   */
  searchAll(body, signal) {
    return send(`${this.server}/search`, body, { signal });
  }

  /** The API of another gallery of this server. @param {string} gallery */
  of(gallery) {
    return new Api(`${this.server}/galleries/${encodeURIComponent(gallery)}`);
  }

  /** What the decoder paints of an item's or a stored query's code. @param {string} id @param {string} model */
  reconstructionAddress(id, model) {
    const { gallery, id: number } = homeOf(id);
    const base = gallery ? `${this.server}/galleries/${encodeURIComponent(gallery)}` : this.base;
    return `${base}/${isItem(number) ? "items" : "queries"}/${encodeURIComponent(number)}/reconstruction?v=${model}`;
  }

  /** Where an item's reconstruction differs from it. @param {string} id @param {string} model */
  errorMapAddress(id, model) {
    return `${this.base}/items/${id}/error-map?v=${model}`;
  }

  /**
   * Store a picture that lies elsewhere; the server fetches it, where it may.
   *
   * @param {string} url
   * @param {Signal} [signal]
   * @returns {Promise<Rest.StoredQueryOut>}
   */
  storeAddress(url, signal) {
    return send(`${this.base}/queries`, { url }, { signal });
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

/**
 * Ask the server.
 *
 * @param {string} address
 * @param {RequestInit & {quiet?: boolean}} [options] quiet: nobody waits for it, so no line at the top says so.
 * @returns {Promise<any>} The answer's JSON; null where it has none.
 */
export async function ask(address, { quiet = false, ...options } = {}) {
  const end = quiet ? () => {} : begin();
  try {
    const response = await answerTo(address, options);
    return response.status === 204 ? null : await response.json();
  } finally {
    end();
  }
}

/** Send JSON. @param {string} address @param {any} body @param {RequestInit} [options] */
export function send(address, body, options = {}) {
  const headers = { "Content-Type": "application/json", ...options.headers };
  return ask(address, { method: "POST", ...options, headers, body: JSON.stringify(body ?? {}) });
}

const KEPT_ALIVE_AT_MOST = 60_000; // characters: browsers let all requests that outlive their page have 64 KiB

/**
 * Send what a reader has changed: it reaches the server even if the reader leaves the page at once.
 *
 * @param {string} address
 * @param {any} body
 * @param {RequestInit} [options]
 */
export function keep(address, body, options = {}) {
  return send(address, body, { ...options, keepalive: JSON.stringify(body).length < KEPT_ALIVE_AT_MOST });
}

/**
 * Fetch a view as the server draws it for readers without JavaScript.
 *
 * @param {string} address
 * @param {string} selector Of the part that is wanted.
 * @param {Signal} [signal]
 * @returns {Promise<HTMLElement>}
 */
export async function fetchDrawn(address, selector, signal) {
  const end = begin();
  try {
    const response = await answerTo(address, { headers: { Accept: "text/html" }, signal });
    const drawn = new DOMParser().parseFromString(await response.text(), "text/html");
    const part = drawn.querySelector(selector);
    if (!part) throw new Problem(SERVER_GONE);
    return /** @type {HTMLElement} */ (document.adoptNode(part));
  } finally {
    end();
  }
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
  const seconds = Number(response.headers.get("Retry-After"));
  const retryAfter = seconds > 0 ? seconds : null;
  try {
    const problem = await response.json();
    const code = problem.code ?? problem.type?.split("/").pop();
    return { code, title: problem.title, detail: problem.detail, status, retryAfter };
  } catch {
    return { code: "unknown", title: `The server answered ${status}`, detail: response.statusText, status, retryAfter };
  }
}

/** Whether a promise was rejected because its question was withdrawn: nothing to tell the reader. @param {any} error */
export function isWithdrawn(error) {
  return error?.name === "AbortError";
}
