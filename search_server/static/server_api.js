/** The REST API of the server as a whole: jobs, models, galleries, how it is. */

import { ask, withParameters } from "./api.js";

export class ServerApi {
  /** @param {string} base Address of the API. */
  constructor(base) {
    this.base = base;
  }

  /** Jobs that run or wait, the first to run first. */
  async activeJobs(signal) {
    const quiet = { signal, quiet: true };
    const { jobs: running } = await ask(withParameters(`${this.base}/jobs`, { state: "running" }), quiet);
    if (!running.length) return [];
    const { jobs: queued } = await ask(withParameters(`${this.base}/jobs`, { state: "queued" }), quiet);
    return [...running, ...queued.reverse()];
  }
}
