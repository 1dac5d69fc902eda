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
}

function form(file, fields) {
  const data = new FormData();
  data.set("image", file, file.name || "Pasted picture");
  for (const [name, value] of Object.entries(fields)) data.set(name, String(value));
  return data;
}

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
