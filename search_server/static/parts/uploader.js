/** Pictures of this device on their way into a gallery: a few at a time, with rate, time left and what was refused. */

import { isWithdrawn } from "../api.js";
import { button, h, icon } from "./dom.js";
import { entriesOf, filesIn, mayBePicture } from "./dropped_files.js";
import { announce } from "./messages.js";
import { problemState, tooLarge } from "./states.js";
import { bytesWords, count, duration, plural } from "./words.js";

const AT_ONCE = 16; // pictures of one request, as the server takes them
const BYTES_AT_ONCE = 20 * 2 ** 20;
const SHOWN_REFUSALS = 20;
const PATIENCE = 30; // seconds that are waited for a busy server before it is asked again, at most

/**
 * A place to drop pictures and folders into, or to choose them.
 *
 * @param {(files: File[]) => void} take What may be pictures of them.
 */
export function picturesBox(take) {
  /** @param {File[]} files */
  const given = (files) => {
    const pictures = files.filter(mayBePicture);
    if (pictures.length) take(pictures);
    else announce("There was no picture in it");
  };
  /** @param {import("./dom.js").Properties} attributes @param {...(Node | string)} children */
  const picker = (attributes, ...children) => {
    /** @type {HTMLInputElement} */
    const field = h("input", { type: "file", class: "visually-hidden", multiple: true, onchange: () => given([...(field.files ?? [])]), ...attributes });
    return h("label", { class: "button" }, field, ...children);
  };
  const box = h(
    "div",
    { class: "pictures-box", "data-slot": "pictures" },
    h("p", { class: "fine-only" }, h("strong", {}, "Drop pictures or a folder here")),
    h(
      "div",
      { class: "actions centred" },
      picker({ accept: "image/*" }, icon("picture"), h("span", {}, "Choose pictures")),
      picker({ webkitdirectory: true }, icon("folder"), h("span", {}, "Choose a folder")),
    ),
  );
  box.addEventListener("drop", async (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    dispatchEvent(new Event("dragend")); // whatever waits for the end of the drag
    event.stopPropagation();
    const entries = entriesOf(event.dataTransfer);
    given(entries.length ? await filesIn(entries) : [...event.dataTransfer.files]);
  });
  return box;
}

/** @typedef {{created: number, duplicate: number, failed: number, stopped: boolean}} Sent What came of it. */

export class Uploader {
  /**
   * @param {import("../server_api.js").ServerApi} server
   * @param {string} gallery
   * @param {File[]} files
   * @param {number} limit Bytes of one picture: a larger one is not even sent.
   * @param {(sent: Sent) => void} done All of them were sent, or the reader has stopped it.
   */
  constructor(server, gallery, files, limit, done) {
    this.server = server;
    this.gallery = gallery;
    this.files = files;
    this.limit = limit;
    this.done = done;
    this.withdrawn = new AbortController();
    this.sent = 0; // or refused
    /** @type {Record<string, number>} */
    this.counts = { created: 0, duplicate: 0 };
    /** @type {string[]} */
    this.refusals = [];
    this.began = performance.now();
    this.bar = h("progress", { max: files.length, value: 0, "aria-label": `Adding pictures to ${gallery}` });
    this.facts = h("p", { class: "job-facts" });
    this.trouble = h("div", {});
    this.refused = h("details", { class: "job-warnings", hidden: true });
    this.stop = button("close", "Stop", () => this.close());
    this.element = h("article", { class: "job" }, h("div", { class: "job-head" }, h("h2", {}, `Adding pictures to ${gallery}`)), this.bar, this.facts, this.refused, this.trouble, h("div", { class: "actions" }, this.stop));
    this.#show();
    this.#send();
  }

  close() {
    this.withdrawn.abort();
  }

  async #send() {
    this.trouble.replaceChildren();
    try {
      while (this.sent < this.files.length) {
        const some = this.#next();
        if (some.length) await this.#sendSome(some);
        this.#show();
      }
      this.#end();
    } catch (error) {
      if (isWithdrawn(error)) this.#end();
      else this.trouble.replaceChildren(problemState(error, { retry: () => this.#send(), heading: "h3" }));
    }
  }

  /** @param {File[]} some */
  async #sendSome(some) {
    const { results } = await this.#patiently(() => this.server.addPictures(this.gallery, some, this.withdrawn.signal));
    results.forEach((result, place) => {
      if (result.problem) this.#refuse(some[place]?.name ?? result.name, result.problem);
      else this.counts[result.status] = (this.counts[result.status] ?? 0) + 1;
    });
    this.sent += some.length;
  }

  /** The next few, no more bytes than a request may have. */
  #next() {
    /** @type {File[]} */
    const some = [];
    let bytes = 0;
    while (this.sent + some.length < this.files.length && some.length < AT_ONCE) {
      const file = this.files[this.sent + some.length];
      const isTooLarge = file.size > this.limit;
      if (some.length && (isTooLarge || bytes + file.size > BYTES_AT_ONCE)) break;
      if (isTooLarge) {
        this.#refuse(file.name, tooLarge(file, this.limit));
        this.sent += 1;
      } else {
        some.push(file);
        bytes += file.size;
      }
    }
    return some;
  }

  /** A busy server is asked again, as often as it takes. @template Answer @param {() => Promise<Answer>} ask @returns {Promise<Answer>} */
  async #patiently(ask) {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        if (error.code !== "busy" && error.code !== "rate_limited") throw error;
        await this.#wait(Math.min(PATIENCE, error.retryAfter ?? 1));
      }
    }
  }

  /** @param {number} seconds */
  #wait(seconds) {
    const { signal } = this.withdrawn;
    this.facts.textContent = `The server is busy: going on in ${plural(seconds, "second", "seconds")}.`;
    return new Promise((resolve, reject) => {
      const stop = () => (clearTimeout(timer), reject(signal.reason));
      const timer = setTimeout(() => (signal.removeEventListener("abort", stop), resolve(null)), 1000 * seconds);
      signal.addEventListener("abort", stop, { once: true });
    });
  }

  /** @param {string} name @param {{title?: string, detail?: string | null}} problem */
  #refuse(name, { title, detail }) {
    this.refusals.push(`${name}: ${title || detail}`);
  }

  #show() {
    const seconds = (performance.now() - this.began) / 1000;
    const rate = this.sent / Math.max(seconds, 0.001);
    this.bar.value = this.sent;
    const parts = [`${count(this.sent)} of ${count(this.files.length)} pictures`];
    if (this.sent) parts.push(`${count(Number(rate.toPrecision(2)))} a second`, `${duration((this.files.length - this.sent) / rate)} left`);
    else parts.push(bytesWords(this.files.reduce((sum, file) => sum + file.size, 0)));
    if (this.counts.duplicate) parts.push(`${count(this.counts.duplicate)} were there already`);
    this.facts.replaceChildren(...parts.map((words) => h("span", {}, words)));
    this.refused.hidden = !this.refusals.length;
    const shown = this.refusals.slice(0, SHOWN_REFUSALS);
    this.refused.replaceChildren(
      h("summary", {}, icon("warning"), h("span", {}, `${plural(this.refusals.length, "file", "files")} could not be used`)),
      h("ul", {}, shown.map((words) => h("li", {}, words))),
    );
  }

  #end() {
    this.stop.remove();
    this.#show();
    const { created, duplicate } = this.counts;
    const stopped = this.withdrawn.signal.aborted;
    const words = [`${plural(created, "picture", "pictures")} added`, duplicate && `${count(duplicate)} there already`, this.refusals.length && `${count(this.refusals.length)} could not be used`, stopped && "stopped"];
    this.facts.replaceChildren(...words.filter(Boolean).map((some) => h("span", {}, String(some))));
    announce(words.filter(Boolean).join(", "));
    this.done({ created, duplicate, failed: this.refusals.length, stopped });
  }
}
