/** Pictures of this device on their way into a gallery: a few at a time, with rate, time left and what was refused. */

import { isWithdrawn } from "../api.js";
import { button, h, icon } from "./dom.js";
import { announce } from "./messages.js";
import { problemState } from "./states.js";
import { bytesWords, count, duration, plural } from "./words.js";

const AT_ONCE = 16; // pictures of one request, as the server takes them
const BYTES_AT_ONCE = 20 * 2 ** 20;
const SHOWN_REFUSALS = 20;
const PATIENCE = 30; // seconds that are waited for a busy server before it is asked again, at most
const PICTURE = /\.(jpe?g|jfif|png|webp|gif|bmp|tiff?|avif)$/i;

/** Whether a file may be a picture, by its type or its name. @param {File} file */
function mayBePicture(file) {
  return file.type.startsWith("image/") || PICTURE.test(file.name);
}

/** All files of what was dropped, folders with everything in them. @param {DataTransfer} transfer @returns {Promise<File[]>} */
async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  return (await Promise.all(entries.map(filesOf))).flat();
}

/** @param {any} entry Of a file system: DOM types know no entries of files. @returns {Promise<File[]>} */
async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  /** @type {any[]} */
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) break; // a browser hands over a hundred at a time
    found.push(...some);
  }
  return (await Promise.all(found.map(filesOf))).flat();
}

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
    given(await droppedFiles(event.dataTransfer));
  });
  return box;
}

export class Uploader {
  /**
   * @param {import("../server_api.js").ServerApi} server
   * @param {string} gallery
   * @param {File[]} files
   * @param {(added: number) => void} done All of them were sent, or the reader has stopped it.
   */
  constructor(server, gallery, files, done) {
    this.server = server;
    this.gallery = gallery;
    this.files = files;
    this.done = done;
    this.withdrawn = new AbortController();
    this.sent = 0;
    /** @type {Record<string, number>} */
    this.counts = { created: 0, duplicate: 0, failed: 0 };
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
        const { results } = await this.#sendPatiently(some);
        results.forEach((result, place) => {
          this.counts[result.status] = (this.counts[result.status] ?? 0) + 1;
          if (result.problem) this.refusals.push(`${some[place]?.name ?? result.name}: ${result.problem.title}`);
        });
        this.sent += some.length;
        this.#show();
      }
      this.#end();
    } catch (error) {
      if (isWithdrawn(error)) this.#end();
      else this.trouble.replaceChildren(problemState(error, { retry: () => this.#send(), heading: "h3" }));
    }
  }

  /** A busy server is asked again, as often as it takes. @param {File[]} files @returns {Promise<Rest.AdditionOut>} */
  async #sendPatiently(files) {
    for (;;) {
      try {
        return await this.server.addPictures(this.gallery, files, this.withdrawn.signal);
      } catch (error) {
        if (error.code !== "busy" && error.code !== "rate_limited") throw error;
        await new Promise((resolve) => setTimeout(resolve, 1000 * Math.min(PATIENCE, error.retryAfter ?? 1)));
      }
    }
  }

  #next() {
    /** @type {File[]} */
    const some = [];
    let bytes = 0;
    for (const file of this.files.slice(this.sent, this.sent + AT_ONCE)) {
      if (some.length && bytes + file.size > BYTES_AT_ONCE) break;
      some.push(file);
      bytes += file.size;
    }
    return some;
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
    announce(`${plural(this.counts.created, "picture", "pictures")} added`);
    this.done(this.counts.created + this.counts.duplicate);
  }
}
