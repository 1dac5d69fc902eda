/** The search: first a place for a picture above pictures to click, then the query beside its neighbours. */

import { isWithdrawn, queryParameters } from "../api.js";
import { button, h, icon } from "../parts/dom.js";
import { filePicker } from "../parts/drop_target.js";
import { facetChips, filterOf } from "../parts/facet_chips.js";
import { announce, copyLink } from "../parts/messages.js";
import { PictureGrid } from "../parts/picture_grid.js";
import { queryPanel } from "./query_panel.js";
import { problemState, state, tooLarge } from "../parts/states.js";
import { remember, remembered } from "../parts/storage.js";
import { AS_INDEXED, weightSlider } from "./weight_slider.js";
import { count, plural, scoreWords } from "../parts/words.js";

const SMALLEST_ROW = 72; // CSS pixels
const LARGEST_ROW = 400;
const PATIENCE = 200; // milliseconds before grey tiles are shown: an answer is usually quicker

/** @typedef {import("../api.js").Picture} Picture */
/** @typedef {{id?: string, item?: Picture, file?: File}} Asked What is searched with. */
/** @typedef {Rest.SearchOut & {done: boolean}} Answer Done: there are no more neighbours to be asked for. */

const PICTURE_FILE = /** @type {"input"} */ ("#picture-file");

/**
 * What the address asks for: the neighbours of an item (`id`) or of a stored query (`q`), of a file that was just put
 * in, or a place for a picture.
 *
 * @param {import("../app.js").Page} page
 */
export function searchView(page) {
  const asked = page.asked.get(page.key) ?? {};
  const id = page.parameter("id") ?? page.parameter("q");
  if (id) return resultsView(page, { ...asked, file: undefined, id });
  return asked.file ? resultsView(page, asked) : startView(page);
}

/** @param {import("../app.js").Page} page */
function startView(page) {
  const { gallery, api } = page;
  const withdrawn = new AbortController();
  const wall = new PictureGrid({
    label: "Pictures of the gallery",
    address: (id) => page.address("search", { id }),
    choose: (item, tile) => page.search(item, tile),
  });
  const below = h("div", {}, wall.element);

  const shuffle = async () => {
    wall.clear();
    wall.expect(18);
    await fill(page.newSeed());
    announce("Other pictures are shown");
  };

  /** @param {number} seed */
  const fill = async (seed) => {
    try {
      const items = await api.sample(page.limits.sample, seed, withdrawn.signal);
      wall.clear();
      wall.add(items);
    } catch (error) {
      if (!isWithdrawn(error)) below.replaceChildren(problemState(error, { retry: () => page.reload() }));
    }
  };

  const element = h(
    "div",
    { class: "start" },
    h(
      "section",
      { class: "hero" },
      h("h1", {}, "Find the pictures that look like yours"),
      h(
        "div",
        { class: "drop-box" },
        h("div", { class: "drop-drawing", "aria-hidden": "true" }, h("i"), h("i"), h("i")),
        h("p", { class: "drop-words fine-only" }, h("strong", {}, "Drop a picture anywhere"), " or paste it"),
        h(
          "div",
          { class: "actions" },
          filePicker(page.take, { class: "button primary", id: "picture-file" }, icon("upload"), h("span", {}, "Choose a picture")),
          filePicker(page.take, { class: "button coarse-only", capture: "environment" }, icon("camera"), h("span", {}, "Take a photo")),
          button("dice", "Surprise me", () => page.surprise()),
        ),
      ),
      h("p", { class: "hero-note" }, `Searches ${plural(gallery.items, "picture", "pictures")}. Nothing leaves this machine.`),
    ),
    gallery.items === 0
      ? emptyGallery(gallery)
      : h(
          "section",
          { class: "wall", "aria-labelledby": "wall-title" },
          h("div", { class: "section-head" }, h("h2", { id: "wall-title" }, "Or start from one of these"), button("dice", "Shuffle", shuffle, { class: "button quiet" })),
          below,
        ),
  );
  if (page.initial?.items) wall.add(page.initial.items);
  else if (gallery.items) {
    wall.expect(18);
    fill(page.seed());
  }
  return { element, title: gallery.name, close: () => withdrawn.abort(), grid: wall, field: () => element.querySelector(PICTURE_FILE) };
}

/** @param {Rest.GalleryOut} gallery */
function emptyGallery(gallery) {
  return state({
    iconName: "pick",
    title: "This gallery has no pictures yet",
    text: `Add a folder on the command line: lookalike index add ${gallery.name} FOLDER`,
  });
}

/**
 * The neighbours of an item or a stored query, or of a file that is still to be sent.
 *
 * @param {import("../app.js").Page} page
 * @param {Asked} asked
 */
function resultsView(page, asked) {
  return new Results(page, asked).view();
}

class Results {
  /** @type {Answer} */
  answer;
  /** @type {ReturnType<typeof queryPanel>} */
  panel;
  /** @type {HTMLElement} */
  leastField;
  /** @type {string | null} Address of the file that is searched with, on this device. */
  preview = null;

  /** @param {import("../app.js").Page} page @param {Asked} asked */
  constructor(page, asked) {
    this.page = page;
    this.asked = asked;
    this.withdrawn = new AbortController();
    this.least = Number(page.parameter("min") ?? -1);
    this.beta = Number(page.parameter("beta") ?? AS_INDEXED);
    this.filter = filterOf(page);
    this.grid = new PictureGrid({
      label: "Pictures like yours, the most similar first",
      address: (id) => page.address("search", { id, ...this.#choices() }),
      choose: (item) => this.#open(item),
      actions: [
        { icon: "similar", words: "More like this", name: "similar", act: (item, tile) => page.search(item, tile, this.#choices()) },
        ...(page.gallery.model.has_decoder
          ? [{ icon: "morph", words: "Morph with the query", name: "morph", act: (/** @type {Picture} */ item) => this.#morphWith(item) }]
          : []),
      ],
    });
    this.heading = h("h2", { class: "results-title", id: "results-title" }, "Looking …");
    this.foot = h("div", { class: "results-foot" });
    this.aside = h("div", { class: "query-column" });
    this.main = h("section", { class: "results", "aria-labelledby": "results-title" });
    this.element = h("div", { class: "answer" }, this.aside, this.main);
  }

  view() {
    this.preview = this.asked.file ? URL.createObjectURL(this.asked.file) : null;
    const { initial } = this.page;
    const answer = this.page.remembered() ?? (initial?.hits ? asAnswer(initial, this.page.limits) : null);
    if (answer?.beta === this.beta) {
      this.page.remember(answer);
      this.#show(answer);
    } else this.#ask();
    return {
      element: this.element,
      title: this.answer?.query.name ?? this.asked.item?.name ?? "Results",
      close: () => this.#close(),
      grid: this.grid,
      field: () => this.element.querySelector(PICTURE_FILE),
      morph: () => this.#morphWith(this.grid.focused()),
      resize: (/** @type {number} */ step) => this.#stepSize(step),
    };
  }

  #close() {
    this.withdrawn.abort();
    this.watcher?.disconnect();
    if (this.preview) URL.revokeObjectURL(this.preview);
  }

  async #ask() {
    const { api, limits } = this.page;
    const { file, item, id } = this.asked;
    if (file && file.size > limits.image_bytes) return this.#refuse(tooLarge(file, limits.image_bytes));
    if (file) this.#showPanel({ name: file.name || "Pasted picture", image: this.preview });
    else if (item) this.#showPanel(item);
    const patience = setTimeout(() => this.#expect(), PATIENCE);
    try {
      const response = file
        ? await api.search(file, limits.neighbours, this.withdrawn.signal)
        : await api.neighbours(id ?? "", limits.neighbours, 0, this.beta, this.filter, this.withdrawn.signal);
      const answer = asAnswer(response, limits);
      if (file) this.page.became("search", queryParameters(answer.query.id ?? ""), answer);
      else this.page.remember(answer);
      this.#show(answer);
    } catch (error) {
      if (!isWithdrawn(error)) this.#refuse(error);
    } finally {
      clearTimeout(patience);
    }
  }

  /** Grey tiles: only where the answer keeps the reader waiting. */
  #expect() {
    this.main.replaceChildren(...this.#head(), this.grid.element);
    this.grid.expect(24);
  }

  /** @param {import("../api.js").Told} problem */
  #refuse(problem) {
    const other = filePicker(this.page.take, { class: "button primary", id: "picture-file" }, icon("upload"), h("span", {}, "Choose another picture"));
    this.element.classList.add("refused");
    this.aside.replaceChildren();
    this.main.removeAttribute("aria-labelledby");
    this.main.replaceChildren(
      problemState(problem, {
        heading: "h1",
        subject: this.asked.file?.name,
        retry: () => this.#askAgain(),
        others: [other, button("search", "Start over", () => this.page.go(""))],
      }),
    );
  }

  #askAgain() {
    this.element.classList.remove("refused");
    this.#ask();
  }

  /** @param {import("./query_panel.js").Asked} query */
  #showPanel(query) {
    this.panel = queryPanel(query, this.page.gallery, {
      morph: this.page.gallery.model.has_decoder ? () => this.#morphWith(this.answer?.hits[0]) : null,
      restart: () => this.page.go(""),
    });
    this.aside.replaceChildren(this.panel.element, h("div", { class: "query-other" }, this.#otherPicture()));
  }

  #otherPicture() {
    return filePicker(
      this.page.take,
      { class: "button drop-again", id: "picture-file" },
      icon("upload"),
      h("span", {}, "Drop, paste or choose another picture"),
    );
  }

  /** @param {Answer} answer */
  #show(answer) {
    this.answer = answer;
    // The picture that is on this device already stays: it would only flash.
    this.#showPanel(this.preview ? { ...answer.query, image: this.preview } : answer.query);
    this.panel.answered(answer);
    this.grid.clear();
    this.grid.resize(this.#row());
    this.main.replaceChildren(...this.#head(), this.#chips(answer.query.id ?? ""), this.grid.element, this.foot);
    this.#fill();
    this.page.titled(answer.query.name);
  }

  #fill() {
    const { hits } = this.answer;
    this.grid.add(hits);
    this.#filter(this.least);
    this.#watchFoot();
    announce(`${plural(hits.length, "result", "results")}. ${this.#nearest()}`);
  }

  /** Rank anew with another weight, below the slider that the reader holds. @param {number} beta */
  async #rank(beta) {
    this.beta = beta;
    this.page.amend({ beta: null, ...this.#choices() });
    this.ranking?.abort();
    this.ranking = new AbortController();
    const { api, limits } = this.page;
    const signal = AbortSignal.any([this.withdrawn.signal, this.ranking.signal]);
    try {
      this.answer = asAnswer(await api.neighbours(this.answer.query.id ?? "", limits.neighbours, 0, beta, this.filter, signal), limits);
      this.page.remember(this.answer);
      this.panel.answered(this.answer);
      this.grid.clear();
      this.#fill();
    } catch (error) {
      if (isWithdrawn(error)) return;
      this.watcher?.disconnect();
      this.foot.replaceChildren(problemState(error, { retry: () => this.#rank(beta) }));
    }
  }

  /** Weight and filter as the address has them: nothing where they are as usual. */
  #choices(filter = this.filter) {
    return { ...(this.beta === AS_INDEXED ? {} : { beta: this.beta }), ...(filter ? { filter } : {}) };
  }

  #nearest() {
    const [first] = this.answer.hits;
    return first ? `The nearest is ${first.name}, similarity ${scoreWords(first.score)}.` : "";
  }

  #head() {
    const { gallery, limits } = this.page;
    const slider = gallery.model.semantic_dims ? [weightSlider(this.beta, limits.beta, (beta) => this.#rank(beta))] : [];
    return [this.#toolbar(), ...slider];
  }

  /** @param {string} id */
  #chips(id) {
    /** @param {string | null} filter */
    const parameters = (filter) => ({ ...queryParameters(id), ...this.#choices(filter) });
    return facetChips(this.page, "search", parameters, this.withdrawn.signal);
  }

  #toolbar() {
    const sizes = { min: SMALLEST_ROW, max: LARGEST_ROW, step: 8, value: this.#row() };
    const least = { min: 0, max: 1, step: 0.01, value: Math.max(0, this.least) };
    this.sizeField = range("Size", "picture-size", sizes, (value) => this.#resize(value), (value) => `${value} pixels high`);
    this.leastField = range("Score at least", "least-score", least, (value) => this.#filter(value || -1), (value) => value.toFixed(2), true);
    this.leastField.addEventListener("change", () => this.page.amend({ min: this.least > 0 ? this.least.toFixed(2) : null }));
    return h("div", { class: "toolbar" }, this.heading, h("div", { class: "toolbar-controls" }, this.leastField, this.sizeField));
  }

  #row() {
    const usual = matchMedia("(max-width: 40rem)").matches ? 100 : 176;
    return Math.min(LARGEST_ROW, Math.max(SMALLEST_ROW, Number(remembered("row", usual)) || usual));
  }

  /** @param {number} row */
  #resize(row) {
    this.grid.resize(row);
    remember("row", row);
  }

  /** @param {number} step */
  #stepSize(step) {
    const field = this.sizeField?.querySelector("input");
    if (!field) return;
    field.value = String(Number(field.value) + step * 32);
    field.dispatchEvent(new Event("input"));
  }

  /** @param {number} least */
  #filter(least) {
    this.least = least;
    const shown = this.grid.filter(least);
    const { hits, done } = this.answer;
    // Sorted by score: once a tile is hidden, all that could still be fetched would be hidden as well.
    this.exhausted = done || shown < hits.length;
    const nothing = shown === 0;
    this.grid.element.hidden = nothing;
    this.heading.textContent = nothing ? "Nothing that close" : this.exhausted ? plural(shown, "picture", "pictures") : `${count(shown)} nearest pictures`;
    this.foot.replaceChildren(nothing ? this.#nothing() : this.exhausted ? this.#end(shown) : this.#more());
  }

  #nothing() {
    const [first] = this.answer.hits;
    return state({
      iconName: "search",
      title: first ? `Nothing is closer than ${scoreWords(first.score)}` : "Nothing else is in this gallery",
      text: first ? "Lower the least score to see the nearest pictures." : "Add more pictures, then search again.",
      actions: first ? [button("search", "Show the nearest", () => this.#showAll(), { class: "button primary" })] : [],
    });
  }

  #showAll() {
    const field = this.leastField.querySelector("input");
    if (field) field.value = "0";
    field?.dispatchEvent(new Event("input"));
    this.page.amend({ min: null });
  }

  /** @param {number} shown */
  #end(shown) {
    return shown < this.answer.hits.length || !this.answer.done
      ? button("search", "Show weaker matches", () => this.#showAll(), { class: "button quiet" })
      : h("p", { class: "quiet-words" }, "These are all.");
  }

  #more() {
    return button("grid", "Show more", () => this.#fetchMore(), { class: "button more" });
  }

  /** Fetch more before the reader reaches the end. */
  #watchFoot() {
    this.watcher?.disconnect();
    this.watcher = new IntersectionObserver(([entry]) => entry.isIntersecting && this.#fetchMore(), { rootMargin: "600px" });
    this.watcher.observe(this.foot);
  }

  async #fetchMore() {
    const { answer } = this;
    if (this.exhausted || this.fetching) return;
    this.fetching = true;
    try {
      const { api, limits } = this.page;
      const wanted = Math.min(limits.neighbours, limits.reach - answer.hits.length);
      const more = await api.neighbours(answer.query.id ?? "", wanted, answer.hits.length, answer.beta, this.filter, this.withdrawn.signal);
      if (answer !== this.answer) {
        this.fetching = false; // ranked anew meanwhile: these belong to the ranking before
        this.#watchFoot();
        return;
      }
      answer.hits.push(...more.hits);
      answer.done = more.hits.length < wanted || answer.hits.length >= limits.reach;
      this.grid.add(more.hits);
      this.fetching = false;
      this.#filter(this.least);
      this.#watchFoot(); // the foot may still be in sight: observing anew asks again
    } catch (error) {
      this.fetching = false;
      if (isWithdrawn(error)) return;
      this.watcher?.disconnect();
      this.foot.replaceChildren(problemState(error, { retry: () => this.#fetchMore() }));
    }
  }

  /** @param {Picture} item */
  #open(item) {
    this.page.lightbox.open(this.grid.items.filter((other) => (other.score ?? 1) >= this.least), item, {
      query: { ...this.answer.query, image: this.preview ?? this.answer.query.image },
      similar: (chosen) => this.page.search(chosen, null, this.#choices()),
      morph: this.page.gallery.model.has_decoder ? (chosen) => this.#morphWith(chosen) : null,
      share: (chosen) => copyLink(this.page.address("search", { id: chosen.id, ...this.#choices() })),
    });
  }

  /** @param {Picture | null | undefined} item */
  #morphWith(item) {
    if (item && this.answer) this.page.go("morph", { a: this.answer.query.id, b: item.id });
  }
}

/** @param {Rest.SearchOut} response @param {Record<"neighbours", number>} limits @returns {Answer} */
function asAnswer(response, limits) {
  return { ...response, done: response.hits.length < limits.neighbours };
}

/**
 * @param {string} words
 * @param {string} id
 * @param {Record<"min" | "max" | "step" | "value", number>} attributes
 * @param {(value: number) => void} act
 * @param {(value: number) => string} speak
 * @param {boolean} shown Whether the value stands beside it.
 */
function range(words, id, attributes, act, speak, shown = false) {
  const value = shown ? h("output", { for: id }, speak(attributes.value)) : null;
  const field = h("input", {
    type: "range",
    id,
    ...attributes,
    "aria-valuetext": speak(attributes.value),
    oninput: () => {
      const number = Number(field.value);
      field.setAttribute("aria-valuetext", speak(number));
      if (value) value.textContent = speak(number);
      act(number);
    },
  });
  return h("label", { class: "range" }, h("span", {}, words), field, value);
}
