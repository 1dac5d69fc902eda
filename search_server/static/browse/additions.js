/** Pictures that are added to the gallery: sent a few at a time, with how far it is and what could not be used. */

import { Problem } from "../api.js";
import { button, h, icon, iconButton } from "../parts/dom.js";
import { announce } from "../parts/messages.js";
import { tooLarge } from "../parts/states.js";
import { count, plural } from "../parts/words.js";

const AT_ONCE = 8; // pictures of one request
const BYTES_AT_ONCE = 16 * 2 ** 20;
const PATIENCE = 5; // seconds to wait where the server does not say how long

/** A button that opens the file picker for many pictures. @param {(files: File[]) => void} take */
export function manyPicker(take) {
  const field = h("input", {
    type: "file",
    accept: "image/*",
    multiple: true,
    id: "picture-files",
    class: "visually-hidden",
    onchange: () => {
      take([...(field.files ?? [])]);
      field.value = "";
    },
  });
  return h("label", { class: "button" }, field, icon("plus"), h("span", {}, "Add pictures"));
}

/**
 * @param {import("../app.js").Page} page
 * @param {File[]} files
 * @param {() => void} changed Some were added, and it is over.
 */
export function addPictures(page, files, changed) {
  if (!files.length) return;
  new Addition(page, files, changed).begin();
}

class Addition {
  /** @type {import("../app.js").Page} */
  page;
  /** @type {File[]} */
  files;
  /** @type {() => void} */
  changed;
  /** @type {{name: string}[]} */
  failed = [];
  began = 0;

  /** @param {import("../app.js").Page} page @param {File[]} files @param {() => void} changed */
  constructor(page, files, changed) {
    this.page = page;
    this.files = files;
    this.changed = changed;
    this.done = 0;
    this.created = 0;
    this.known = 0;
    this.stopped = new AbortController();
    this.bar = h("progress", { max: files.length, value: 0, "aria-label": "Pictures sent" });
    this.words = h("p", { class: "addition-words" });
    this.list = h("ul", { class: "addition-failures", role: "list", hidden: true });
    this.end = iconButton("close", "Stop adding", () => this.stopped.abort());
    this.element = h("section", { class: "addition", "aria-label": "Adding pictures" }, h("div", { class: "sheet-head" }, h("h2", {}, "Adding pictures"), this.end), this.bar, this.words, this.list);
  }

  async begin() {
    document.querySelector(".addition")?.remove();
    document.body.append(this.element);
    this.began = performance.now();
    this.#show();
    const queue = [...this.files];
    try {
      while (queue.length && !this.stopped.signal.aborted) await this.#send(this.#next(queue));
    } catch (error) {
      if (!this.stopped.signal.aborted) this.#fail({ name: plural(queue.length + 1, "picture", "pictures") }, error);
    }
    this.#over();
  }

  /** The next few, no more bytes than a request may have. @param {File[]} queue */
  #next(queue) {
    /** @type {File[]} */
    const some = [];
    let size = 0;
    while (queue.length && some.length < AT_ONCE) {
      const file = queue[0];
      if (file.size > this.page.limits.image_bytes) {
        this.#fail(file, tooLarge(file, this.page.limits.image_bytes));
        this.done += 1;
        queue.shift();
        continue;
      }
      if (some.length && size + file.size > BYTES_AT_ONCE) break;
      size += file.size;
      some.push(file);
      queue.shift();
    }
    return some;
  }

  /** @param {File[]} files */
  async #send(files) {
    if (!files.length) return;
    const { results } = await this.#patiently(() => this.page.api.add(files, this.stopped.signal));
    for (const result of results) {
      if (result.status === "created") this.created += 1;
      else if (result.status === "duplicate") this.known += 1;
      else this.#fail(result, result.problem);
    }
    this.done += files.length;
    this.#show();
  }

  /** Ask again where the server is busy, as often as it says so. @param {() => Promise<any>} ask */
  async #patiently(ask) {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        if (!(error instanceof Problem) || ![429, 503].includes(error.status)) throw error;
        await this.#wait(error.retryAfter || PATIENCE);
      }
    }
  }

  /** @param {number} seconds */
  #wait(seconds) {
    this.words.textContent = `The server is busy: going on in ${seconds} s.`;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, seconds * 1000);
      this.stopped.signal.addEventListener("abort", () => (clearTimeout(timer), reject(new DOMException("stopped", "AbortError"))));
    });
  }

  /** @param {{name: string}} file @param {import("../api.js").Told} problem */
  #fail(file, problem) {
    this.failed.push(file);
    this.list.hidden = false;
    this.list.append(h("li", {}, h("strong", { class: "path" }, file.name), " ", problem.detail || problem.title));
  }

  #show() {
    this.bar.value = this.done;
    const seconds = (performance.now() - this.began) / 1000;
    const rate = this.done / Math.max(seconds, 0.001);
    const left = this.done ? Math.ceil((this.files.length - this.done) / rate) : null;
    const parts = [`${count(this.done)} of ${plural(this.files.length, "picture", "pictures")}`, this.done && `${rate.toFixed(1)} a second`, left ? `${left} s left` : null, this.failed.length && `${count(this.failed.length)} failed`];
    this.words.textContent = parts.filter(Boolean).join(" · ");
  }

  #over() {
    const words = [`${plural(this.created, "picture", "pictures")} added`, this.known && `${count(this.known)} there already`, this.failed.length && `${count(this.failed.length)} could not be used`, this.stopped.signal.aborted && "stopped"];
    this.bar.value = this.files.length;
    this.words.textContent = words.filter(Boolean).join(" · ");
    announce(this.words.textContent);
    /** @type {HTMLElement} */ (this.element.querySelector("h2")).textContent = this.failed.length ? "Added, but not all" : "Added";
    this.end.replaceWith(iconButton("close", "Close", () => this.element.remove()));
    this.element.append(h("div", { class: "actions" }, this.created ? button("grid", "Show them", () => this.#showThem(), { class: "button primary" }) : null));
    if (this.created) this.changed();
  }

  #showThem() {
    this.element.remove();
    this.page.go("browse", { sort: "-id" });
  }
}
