/** The REST API of the server as a whole: jobs, galleries and their indexes, models. */

import { ask, isWithdrawn, send, withParameters } from "./api.js";

const LOOK_SECONDS = 2; // between two looks at a job where its events cannot be had

/** @typedef {import("./api.js").Signal} Signal */

/**
 * @typedef {object} Job As GET /jobs/{id} has it.
 * @property {number} id
 * @property {string} kind
 * @property {string | null} gallery
 * @property {string | null} model That it trains, exports, or gives to the gallery.
 * @property {"queued" | "running" | "done" | "failed" | "cancelled" | "interrupted"} state
 * @property {number} done
 * @property {number | null} total
 * @property {string | null} unit
 * @property {number | null} rate Units a second.
 * @property {number | null} eta_s
 * @property {string | null} message
 * @property {string[]} warnings
 * @property {Record<string, any> | null} result
 * @property {string | null} result_url
 * @property {number | null} exit_code
 * @property {string[]} log_tail
 * @property {string} created_at
 * @property {string | null} started_at
 * @property {string | null} ended_at
 */

export class ServerApi {
  /** @param {string} base Address of the API. */
  constructor(base) {
    this.base = base;
  }

  // Jobs -------------------------------------------------------------------------------------------------------------

  /** Jobs, the newest first. @param {number} limit @param {number | null} cursor @param {Signal} [signal] @returns {Promise<{jobs: Job[], next_cursor: number | null}>} */
  jobs(limit, cursor, signal) {
    return ask(withParameters(`${this.base}/jobs`, { limit, cursor }), { signal });
  }

  /** Jobs that run or wait, the first to run first. @param {Signal} [signal] @returns {Promise<Job[]>} */
  async activeJobs(signal) {
    const quiet = { signal, quiet: true };
    const { jobs: running } = await ask(withParameters(`${this.base}/jobs`, { state: "running" }), quiet);
    const { jobs: queued } = await ask(withParameters(`${this.base}/jobs`, { state: "queued" }), quiet);
    return [...running, ...queued.reverse()];
  }

  /** @param {number} id @param {Signal} [signal] @returns {Promise<Job>} */
  job(id, signal, quiet = false) {
    return ask(`${this.base}/jobs/${id}`, { signal, quiet });
  }

  /** Ask a job to end; what it has done is kept. @param {number} id @returns {Promise<Job>} */
  cancelJob(id) {
    return send(`${this.base}/jobs/${id}/cancel`, {});
  }

  /** Let a job that ended too early go on. @param {number} id @returns {Promise<Job>} */
  resumeJob(id) {
    return send(`${this.base}/jobs/${id}/resume`, {});
  }

  /**
   * Follow a job until it ends: by its events, or, where it waits or too many are watched, by asking now and then.
   *
   * @param {Job} job
   * @param {(job: Job) => void} told
   * @param {(here: boolean) => void} heard Whether the server can be heard at the moment.
   * @param {AbortSignal} signal
   */
  watchJob({ id, state }, told, heard, signal) {
    if (state === "queued") return this.#askForJob(id, told, heard, signal);
    const events = new EventSource(`${this.base}/jobs/${id}/events`);
    /** @param {MessageEvent} event */
    const take = (event) => {
      heard(true);
      if (event.type === "end") events.close();
      told(JSON.parse(event.data));
    };
    events.addEventListener("progress", take);
    events.addEventListener("end", take);
    events.addEventListener("error", () => {
      if (events.readyState === EventSource.CLOSED) this.#askForJob(id, told, heard, signal);
      else heard(false); // it connects again by itself
    });
    signal.addEventListener("abort", () => events.close());
    return undefined;
  }

  /** @param {number} id @param {(job: Job) => void} told @param {(here: boolean) => void} heard @param {AbortSignal} signal */
  async #askForJob(id, told, heard, signal) {
    while (!signal.aborted) {
      try {
        const job = await this.job(id, signal, true);
        heard(true);
        told(job);
        if (job.ended_at) return;
      } catch (error) {
        if (isWithdrawn(error)) return;
        heard(false);
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_SECONDS * 1000));
    }
  }

  // Galleries --------------------------------------------------------------------------------------------------------

  /** Make a gallery of folders on the server's machine. @param {string} name @param {string} model @param {string[]} roots @returns {Promise<{gallery: any, jobs: Job[]}>} */
  makeGallery(name, model, roots) {
    return send(`${this.base}/galleries`, { name, roots, ...(model ? { model } : {}) });
  }

  /** Numbers of a gallery. @param {string} gallery @param {Signal} [signal] @returns {Promise<Rest.StatsOut>} */
  stats(gallery, signal) {
    return ask(`${this.#gallery(gallery)}/stats`, { signal });
  }

  /** The versions of a gallery's index, the newest first. @param {string} gallery @param {Signal} [signal] @returns {Promise<Rest.IndexesOut>} */
  indexes(gallery, signal) {
    return ask(`${this.#gallery(gallery)}/indexes`, { signal });
  }

  /**
   * Why a version of the index is as it is, and what a search costs at which recall.
   *
   * @param {string} gallery
   * @param {string} version
   * @param {Signal} [signal]
   * @returns {Promise<Rest.IndexExplanationOut>}
   */
  index(gallery, version, signal) {
    return ask(`${this.#gallery(gallery)}/indexes/${version}`, { signal });
  }

  /** Let another version answer. @param {string} gallery @param {string} version */
  chooseIndex(gallery, version) {
    return send(`${this.#gallery(gallery)}/indexes/current`, { version }, { method: "PUT" });
  }

  /**
   * Long work on a gallery: `scan`, `indexes`, `map`, `duplicates/compute`, `anomalies`.
   *
   * @param {string} gallery
   * @param {string} what
   * @param {Record<string, any>} [options]
   * @returns {Promise<any>} The job, or what is there at once.
   */
  work(gallery, what, options = {}) {
    return send(`${this.#gallery(gallery)}/${what}`, options);
  }

  /** Put pictures into a gallery. @param {string} gallery @param {File[]} files @param {Signal} [signal] @returns {Promise<Rest.AdditionOut>} */
  addPictures(gallery, files, signal) {
    const body = new FormData();
    for (const file of files) body.append("images", file, file.name || "picture");
    return ask(`${this.#gallery(gallery)}/items`, { method: "POST", body, signal });
  }

  /** @param {string} name */
  #gallery(name) {
    return `${this.base}/galleries/${encodeURIComponent(name)}`;
  }

  /** Give a gallery another model, as a job. @param {string} gallery @param {string} model @returns {Promise<Job>} */
  chooseModel(gallery, model) {
    return send(`${this.#gallery(gallery)}/model`, { model }, { method: "PUT" });
  }

  // Models -----------------------------------------------------------------------------------------------------------

  /** The models of the workspace. @param {Signal} [signal] @returns {Promise<Rest.NamedModelOut[]>} */
  async models(signal) {
    return (await ask(`${this.base}/models`, { signal })).models;
  }

  /** What can be trained here, and how. @param {Signal} [signal] @returns {Promise<Rest.TrainingWaysOut>} */
  trainingWays(signal) {
    return ask(`${this.base}/training`, { signal });
  }

  /** Train a model, as a job. @param {Record<string, any>} asked @returns {Promise<Job>} */
  train(asked) {
    return send(`${this.base}/jobs`, { kind: "train", ...asked });
  }

  /** The trainings of the workspace. @param {Signal} [signal] @returns {Promise<Rest.RunOut[]>} */
  async runs(signal) {
    return (await ask(`${this.base}/runs`, { signal })).runs;
  }

  /** How a training goes, or went. @param {string} run @param {Signal} [signal] @param {boolean} [quiet] @returns {Promise<Rest.TrainingOut>} */
  run(run, signal, quiet = false) {
    return ask(`${this.base}/runs/${encodeURIComponent(run)}`, { signal, quiet });
  }

  /** How a model was trained. @param {string} model @param {Signal} [signal] @returns {Promise<Rest.TrainingOut>} */
  training(model, signal) {
    return ask(`${this.base}/models/${encodeURIComponent(model)}/training`, { signal });
  }
}
