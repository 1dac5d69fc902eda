/** What the REST API computes of a whole gallery, as the page uses it: the map, duplicates, outliers, where an item stands. */

import { answerTo, ask, keep, send, withParameters } from "./api.js";

export class AnalysesApi {
  /** @param {string} base Address of the gallery. */
  constructor(base) {
    this.base = base;
    this.server = base.slice(0, base.lastIndexOf("/galleries/"));
  }

  /**
   * The map as columns (docs/api.md), as bytes.
   *
   * @param {string[]} include What points can be coloured by.
   * @param {number | null} sample At most so many items.
   * @param {AbortSignal} signal
   * @returns {Promise<ArrayBuffer>}
   */
  async map(include, sample, signal) {
    const address = withParameters(`${this.base}/map`, { format: "columns", include: include.join(",") || null, sample });
    return (await answerTo(address, { signal })).arrayBuffer();
  }

  /** Lay all items out anew; a job, or what was made at once. @param {"pca" | "umap"} method @param {AbortSignal} signal */
  drawMap(method, signal) {
    return send(`${this.base}/map`, { method }, { signal });
  }

  /** Where a picture lies on the map, and how that is known. @param {string} id @param {AbortSignal} signal @returns {Promise<Rest.QueryPlaceOut>} */
  placeOnMap(id, signal) {
    return ask(withParameters(`${this.base}/map/place`, { id }), { signal });
  }

  /** Whether the server can lay a map out by UMAP. @param {AbortSignal} signal @returns {Promise<boolean>} */
  async canDrawByUmap(signal) {
    return (await ask(`${this.server}/info`, { signal })).features.umap === true;
  }

  /** Look for duplicates, as a job. @param {AbortSignal} signal */
  findDuplicates(signal) {
    return send(`${this.base}/duplicates/compute`, {}, { signal });
  }

  /** Measure how unusual all items are, as a job. @param {AbortSignal} signal */
  findOutliers(signal) {
    return send(`${this.base}/anomalies`, {}, { signal });
  }

  /**
   * A page of the groups of duplicates, those that were taken apart too.
   *
   * @param {{only: string | null, minScore: number | null, cursor: string | null, limit: number}} wanted
   * @param {AbortSignal} signal
   */
  duplicates({ only, minScore, cursor, limit }, signal) {
    return ask(withParameters(`${this.base}/duplicates`, { judged: true, only, min_score: minScore, cursor, limit }), { signal });
  }

  /** Address of the list of what could go. @param {{only: string | null, minScore: number | null, format: string}} wanted */
  surplusAddress({ only, minScore, format }) {
    return withParameters(`${this.base}/duplicates/surplus`, { only, min_score: minScore, reviewed: true, format });
  }

  /** Say something of pictures: kept though the reader leaves at once. @param {string[]} ids @param {string} verdict @param {string[]} [insteadOf] */
  judge(ids, verdict, insteadOf = []) {
    return keep(`${this.base}/duplicates`, { ids, verdict, instead_of: insteadOf });
  }

  /** Address of what differs between two items. @param {string} a @param {string} b */
  differenceAddress(a, b) {
    return withParameters(`${this.base}/duplicates/difference`, { a, b });
  }

  /** A page of the most unusual items. @param {string} by @param {string | null} cursor @param {number} limit @param {AbortSignal} signal */
  outliers(by, cursor, limit, signal) {
    return ask(withParameters(`${this.base}/anomalies`, { by, cursor, limit }), { signal });
  }

  /** Where an item stands among the others. @param {string} id @param {AbortSignal} signal */
  standing(id, signal) {
    return ask(`${this.base}/items/${id}/standing`, { signal });
  }

  /** Set an item's tags or metadata: kept though the reader leaves at once. @param {string} id @param {{tags?: string[], metadata?: Record<string, any>}} patch */
  describe(id, patch) {
    return keep(`${this.base}/items/${id}`, patch, { method: "PATCH" });
  }

  /** Some items by their ids. @param {string[]} ids @param {AbortSignal} signal @returns {Promise<any[]>} */
  async items(ids, signal) {
    return (await ask(withParameters(`${this.base}/items`, { ids: ids.join(","), limit: ids.length }), { signal })).items;
  }

  /** Address of an item's thumbnail. @param {string} id */
  thumbAddress(id) {
    return `${this.base}/items/${id}/image?size=thumb`;
  }

  /** Address of what the model sees of an item. @param {string} id @param {string} model Its id: another one sees another thing. */
  reconstructionAddress(id, model) {
    return withParameters(`${this.base}/items/${id}/reconstruction`, { v: model });
  }

  /** Address of where an item and its reconstruction differ. @param {string} id @param {string} model */
  errorMapAddress(id, model) {
    return withParameters(`${this.base}/items/${id}/error-map`, { v: model });
  }

  /** A job. @param {number} id @param {AbortSignal} signal */
  job(id, signal) {
    return ask(`${this.server}/jobs/${id}`, { signal });
  }

  /** Jobs that wait or run. @param {AbortSignal} signal @returns {Promise<any[]>} */
  async activeJobs(signal) {
    const lists = await Promise.all(["running", "queued"].map((state) => ask(withParameters(`${this.server}/jobs`, { state }), { signal })));
    return lists.flatMap(({ jobs }) => jobs);
  }

  /** Ask a job to end. @param {number} id */
  cancelJob(id) {
    return send(`${this.server}/jobs/${id}/cancel`, {});
  }
}
