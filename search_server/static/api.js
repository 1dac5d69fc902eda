/** The REST API as the page uses it: one gallery, promises, and problems that say what to do. */

/** An answer that is no success, or no answer at all (code `server_gone`). */
export class Problem extends Error {
  constructor({ code, title, detail, status = 0 }) {
    super(detail || title);
    Object.assign(this, { code, title, detail, status });
  }
}

export const SERVER_GONE = {
  code: "server_gone",
  title: "The server does not answer",
  detail: "It may have been stopped, or the connection is gone. Start it again with lookalike serve, then try again.",
};

const CODES_AT_ONCE = 64; // that are painted with one request

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
    const [, root, name] = /^(.*)\/galleries\/([^/]+)$/.exec(base);
    this.root = root; // of the routes that take a gallery's name
    this.gallery = decodeURIComponent(name);
  }

  /** A random set of items; the same seed gives the same set. */
  async sample(limit, seed, signal) {
    const page = await ask(withParameters(`${this.base}/items`, { limit, seed }), { signal });
    return page.items;
  }

  /** A page of all items. */
  items(limit, cursor, filter, signal) {
    return ask(withParameters(`${this.base}/items`, { limit, cursor, filter }), { signal });
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

  /** Neighbours of an item or of a stored query; beta weighs what it looks like, 1 as indexed; a filter is JSON text. */
  neighbours(id, k, offset, beta, filter, signal) {
    if (isItem(id)) return ask(withParameters(`${this.base}/items/${id}/similar`, { k, offset, beta, filter }), { signal });
    const headers = { "Content-Type": "application/json" };
    const body = JSON.stringify({ id, k, offset, beta, ...(filter ? { filter } : {}) });
    return ask(`${this.base}/search`, { method: "POST", body, headers, signal });
  }

  /** Store a picture without a search: one end of a morph. */
  store(file, signal) {
    return ask(`${this.base}/queries`, { method: "POST", body: form(file, {}), signal });
  }

  // Morphs and codes -------------------------------------------------------------------------------------------------

  /**
   * The frames of a morph, each with its nearest picture of the gallery.
   *
   * @param {string[]} ids Pictures that it leads past: both ends, and those between.
   * @param {{path: string, frames: number}} options Frames of the whole way.
   * @param {AbortSignal} signal
   */
  morph(ids, options, signal) {
    return ask(this.morphAddress(ids, { ...options, nearest_k: 1, format: "json" }), { signal });
  }

  /** Address of a morph in any form. @param {string[]} ids @param {Record<string, any>} options */
  morphAddress(ids, options) {
    const via = ids.slice(1, -1).join(",") || null;
    return withParameters(`${this.base}/morph`, { a: ids[0], via, b: ids.at(-1), ...options });
  }

  /** The main axes of the gallery, with what is needed to make codes from them. @param {number} count */
  axes(count, signal) {
    return ask(withParameters(`${this.base}/axes`, { count, steps: 3, include: "vectors" }), { signal });
  }

  /** Mean pictures of folders or clusters. @param {"folder" | "cluster"} by @param {number} count */
  prototypes(by, count, signal) {
    return ask(withParameters(`${this.base}/prototypes`, { by, count }), { signal });
  }

  /** Items by their ids. @param {string[]} ids @returns {Promise<Map<string, any>>} */
  async itemsById(ids, signal) {
    if (!ids.length) return new Map();
    const { items } = await ask(withParameters(`${this.base}/items`, { ids: [...new Set(ids)].join(",") }), { signal });
    return new Map(items.map((item) => [item.id, item]));
  }

  /** The code of an item or of a stored query: what the decoder paints it from. @param {string} id */
  async code(id, signal) {
    if (isItem(id)) return (await ask(`${this.base}/items/${id}/vector?kind=code`, { signal })).vector;
    const { vectors } = await ask(`${this.root}/embed`, json({ gallery: this.gallery, id, kind: "code" }, signal));
    return vectors[0];
  }

  /**
   * Paint codes.
   *
   * @param {number[][]} codes
   * @param {number} nearest How many real pictures to tell beside each.
   * @param {AbortSignal} signal
   * @returns {Promise<{images: string[], nearest: any[][]}>}
   */
  async paint(codes, nearest, signal) {
    const painted = { images: [], nearest: [] };
    for (let first = 0; first < codes.length; first += CODES_AT_ONCE) {
      const body = { gallery: this.gallery, codes: codes.slice(first, first + CODES_AT_ONCE), nearest_k: nearest };
      const some = await ask(`${this.root}/decode`, json(body, signal));
      painted.images.push(...some.images);
      painted.nearest.push(...some.nearest);
    }
    return painted;
  }

  /** A painted code as a file that can be searched with. @param {number[]} code @param {string} name */
  async paintedFile(code, name, signal) {
    const body = { gallery: this.gallery, code, format: "png" };
    const painted = await fetched(`${this.root}/decode`, json(body, signal));
    return new File([await painted.blob()], name, { type: "image/png" });
  }

  /** A file that the server makes. @param {string} address @param {AbortSignal} signal @returns {Promise<Blob>} */
  async file(address, signal) {
    return (await fetched(address, { signal })).blob();
  }
}

function form(file, fields) {
  const data = new FormData();
  data.set("image", file, file.name || "Pasted picture");
  for (const [name, value] of Object.entries(fields)) data.set(name, String(value));
  return data;
}

function json(body, signal) {
  return { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" }, signal };
}

function withParameters(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined);
  return `${path}?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}

async function ask(address, options) {
  const response = await fetched(address, { ...options, headers: { Accept: "application/json", ...options.headers } });
  return response.json();
}

/** What the server answers, where it is no problem. */
async function fetched(address, options) {
  let response;
  try {
    response = await fetch(address, options);
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
    return { code, title: problem.title, detail: problem.detail, status };
  } catch {
    return { code: "unknown", title: `The server answered ${status}`, detail: response.statusText, status };
  }
}

/** Whether a promise was rejected because its question was withdrawn: nothing to tell the reader. */
export function isWithdrawn(error) {
  return error?.name === "AbortError";
}
