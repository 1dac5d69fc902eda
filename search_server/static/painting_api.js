/** What the REST API paints, as the page uses it: morphs, codes, the main axes of a gallery, prototypes of its groups. */

import { answerTo, ask, isItem, send, withParameters } from "./api.js";

const CODES_AT_ONCE = 64; // that are painted with one request

/**
 * @typedef {object} Painted
 * @property {string[]} images data: URIs, in the order of the codes.
 * @property {Rest.HitOut[][]} nearest Real pictures that are nearest to each.
 */

export class PaintingApi {
  /** @param {string} base Address of the gallery. */
  constructor(base) {
    const end = base.lastIndexOf("/galleries/");
    this.base = base;
    this.server = base.slice(0, end);
    this.gallery = decodeURIComponent(base.slice(end + "/galleries/".length));
  }

  /**
   * The frames of a morph, each with its nearest picture of the gallery.
   *
   * @param {string[]} ids Pictures that it leads past: both ends, and those between.
   * @param {{path: string, frames: number}} options Frames of the whole way.
   * @param {AbortSignal} signal
   * @returns {Promise<Rest.MorphOut>}
   */
  morph(ids, options, signal) {
    return ask(this.morphAddress(ids, { ...options, nearest_k: 1, format: "json" }), { signal });
  }

  /** Address of a morph in any form. @param {string[]} ids @param {Record<string, any>} options */
  morphAddress(ids, options) {
    const via = ids.slice(1, -1).join(",") || null;
    return withParameters(`${this.base}/morph`, { a: ids[0], via, b: ids.at(-1), ...options });
  }

  /** A file that the server makes. @param {string} address @param {AbortSignal} signal @returns {Promise<Blob>} */
  async file(address, signal) {
    return (await answerTo(address, { signal, headers: { Accept: "*/*" } })).blob();
  }

  /**
   * The main axes of the gallery, with what is needed to make codes from them.
   *
   * @param {number} count
   * @param {AbortSignal} signal
   * @returns {Promise<Rest.AxesOut>}
   */
  axes(count, signal) {
    return ask(withParameters(`${this.base}/axes`, { count, steps: 3, include: "vectors" }), { signal });
  }

  /**
   * Mean pictures of folders or clusters.
   *
   * @param {"folder" | "cluster"} by
   * @param {number} count
   * @param {AbortSignal} signal
   * @returns {Promise<Rest.PrototypesOut>}
   */
  prototypes(by, count, signal) {
    return ask(withParameters(`${this.base}/prototypes`, { by, count }), { signal });
  }

  /**
   * Items by their ids; those that are gone are left out.
   *
   * @param {string[]} ids
   * @param {AbortSignal} signal
   * @returns {Promise<Map<string, Rest.ItemOut>>}
   */
  async items(ids, signal) {
    if (!ids.length) return new Map();
    /** @type {Rest.ItemsOut} */
    const { items } = await ask(withParameters(`${this.base}/items`, { ids: [...new Set(ids)].join(",") }), { signal });
    return new Map(items.map((item) => [item.id, item]));
  }

  /**
   * The code of an item or of a stored query: what the decoder paints it from.
   *
   * @param {string} id
   * @param {AbortSignal} signal
   * @returns {Promise<number[]>}
   */
  async code(id, signal) {
    if (isItem(id)) return (await ask(`${this.base}/items/${id}/vector?kind=code`, { signal })).vector;
    const { vectors } = await send(`${this.server}/embed`, { gallery: this.gallery, id, kind: "code" }, { signal });
    return vectors[0];
  }

  /**
   * Paint codes.
   *
   * @param {number[][]} codes
   * @param {number} nearest How many real pictures to tell beside each.
   * @param {AbortSignal} signal
   * @returns {Promise<Painted>}
   */
  async paint(codes, nearest, signal) {
    /** @type {Painted} */
    const painted = { images: [], nearest: [] };
    for (let first = 0; first < codes.length; first += CODES_AT_ONCE) {
      const body = { gallery: this.gallery, codes: codes.slice(first, first + CODES_AT_ONCE), nearest_k: nearest };
      /** @type {Rest.DecodedOut} */
      const some = await send(`${this.server}/decode`, body, { signal });
      painted.images.push(...some.images);
      painted.nearest.push(...some.nearest);
    }
    return painted;
  }

  /**
   * A painted code as a file that can be searched with.
   *
   * @param {number[]} code
   * @param {string} name
   * @param {AbortSignal} signal
   */
  async paintedFile(code, name, signal) {
    const body = JSON.stringify({ gallery: this.gallery, code, format: "png" });
    const options = { method: "POST", body, headers: { "Content-Type": "application/json", Accept: "*/*" }, signal };
    const answer = await answerTo(`${this.server}/decode`, options);
    return new File([await answer.blob()], name, { type: "image/png" });
  }
}
