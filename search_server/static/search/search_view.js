/** The search: the query beside its neighbours. */

import { homeOf, isItem, isWithdrawn } from "../api.js";
import { button, h, icon } from "../parts/dom.js";
import { filePicker } from "../parts/drop_target.js";
import { facetChips } from "../parts/facet_chips.js";
import { choiceField, choiceOfGalleries, chosenRow, modelToggle, range, sizeSlider, toolbar, whyToggle } from "../parts/grid_tools.js";
import { announce, copyLink } from "../parts/messages.js";
import { pictureActs, pictureKeys } from "../parts/picture_acts.js";
import { PictureGrid } from "../parts/picture_grid.js";
import { problemState, state, tooLarge } from "../parts/states.js";
import { count, plural, scoreWords } from "../parts/words.js";
import { queryPanel } from "./query_panel.js";
import { choicesOf, isCombined, parametersOf, readQuestion } from "../parts/question.js";
import { weightSlider } from "./weight_slider.js";

const PATIENCE = 200; // milliseconds before grey tiles are shown: an answer is usually quicker
const SORTED = 192; // of so many nearest pictures the newest, the biggest ... come first
const NO_ADDRESSES = {
  code: "url_not_allowed",
  title: "This server fetches no addresses",
  detail: "Save the picture and drop the file here. Whoever runs the server can allow addresses: lookalike serve --fetch-host HOST.",
};

/** @typedef {import("../api.js").Picture} Picture */
/** @typedef {Rest.SearchOut & Partial<import("./several_galleries.js").Together> & {asked: string, done: boolean}} Answer Done: there are
 *   no more neighbours to be asked for. */

/** @type {Record<string, {words: string, compare: ((one: any, other: any) => number) | null}>} */
const SORTS = {
  score: { words: "Most similar", compare: null },
  new: { words: "Newest", compare: (one, other) => Number(BigInt(other.id) - BigInt(one.id)) },
  big: { words: "Biggest", compare: (one, other) => other.width * other.height - one.width * one.height },
  changed: { words: "Most changed", compare: (one, other) => one.score - other.score },
};

/**
 * The neighbours of an item (`id`), of a stored query (`q`), of several (`like`, `unlike`), or of a file or an address that
 * was just put in.
 *
 * @param {import("../app.js").Page} page
 */
export function searchView(page) {
  const asked = page.asked.get(page.key) ?? {};
  const question = readQuestion((name) => page.parameter(name));
  const isNamed = question.id || isCombined(question); // the server knows what was put in
  return new Results(page, isNamed ? { item: asked.item } : asked, question).view();
}

/** The neighbours of what a question asks about, or of a file or an address that is still to be sent. */
class Results {
  /** @type {Answer} */
  answer;
  /** @type {ReturnType<typeof queryPanel> | undefined} */
  panel;
  /** @type {HTMLElement} */
  controls;
  /** @type {HTMLInputElement} */
  leastInput;
  /** @type {string | null} Address of the file that is searched with, on this device. */
  preview = null;
  /** @type {IntersectionObserver | undefined} */
  watcher;

  /**
   * @param {import("../app.js").Page} page
   * @param {{item?: any, file?: File, url?: string}} asked
   * @param {import("../parts/question.js").Question} question
   */
  constructor(page, asked, question) {
    this.page = page;
    this.asked = asked;
    this.question = question;
    this.withdrawn = new AbortController();
    this.paints = page.gallery.model.has_decoder;
    this.several = question.galleries.length > 0;
    this.given = this.several && page.initial?.queries ? page.initial : null; // the answer that came with the page
    this.least = Number(page.parameter("min") ?? -1);
    const sort = page.parameter("sort") ?? "";
    /** @type {Promise<boolean> | null} The helping that is on its way. */
    this.fetching = null;
    this.sort = Object.hasOwn(SORTS, sort) ? sort : "score";
    const single = !isCombined(question);
    this.ways = {
      open: (/** @type {import("../api.js").Picture} */ item) => this.#open(item),
      compare: single || this.paints ? (/** @type {import("../api.js").Picture} */ item) => this.#open(item, "beside") : undefined,
      why: single ? (/** @type {import("../api.js").Picture} */ item) => this.#open(item, "why") : undefined,
      morph: single && this.paints ? (/** @type {import("../api.js").Picture} */ item) => this.#morphWith(item) : null,
      fits: (/** @type {any} */ item, /** @type {"why" | "morph"} */ act) => this.#fits(item, act),
      choices: choicesOf(question),
    };
    this.acts = pictureActs(page, this.ways);
    this.grid = new PictureGrid({
      label: "Pictures like yours, the most similar first",
      address: (id) => page.neighboursOf(id, choicesOf(this.question)),
      choose: (item) => this.#open(item),
      actions: this.acts,
      tray: page.tray,
    });
    this.grid.resize(chosenRow());
    this.grid.sort(SORTS[this.sort].compare);
    this.size = sizeSlider(this.grid);
    this.model = modelToggle(page, this.grid);
    /** @type {import("./why_on_tiles.js").WhyOnTiles | null} While it is switched on. */
    this.whyOnTiles = null;
    this.why = single ? whyToggle((on) => this.#explain(on)) : { element: null, toggle: () => {}, isOn: () => false };
    const room = `${count(page.limits.neighbours)} nearest pictures`; // kept from the start, so that nothing moves when it is known
    this.heading = h("h2", { class: "results-title", id: "results-title", data: { room } }, "Looking …");
    this.foot = h("div", { class: "results-foot" });
    this.aside = h("div", { class: "query-column" });
    this.main = h("section", { class: "results", "aria-labelledby": "results-title" });
    this.element = h("div", { class: "answer" }, this.aside, this.main);
  }

  view() {
    this.preview = this.asked.file ? URL.createObjectURL(this.asked.file) : null;
    const { initial } = this.page;
    const asText = JSON.stringify(this.question);
    const kept = this.page.remembered();
    const answer = kept?.asked === asText ? kept : initial?.hits && !this.several && this.sort === "score" ? this.#asAnswer(initial) : null;
    if (answer) {
      this.page.remember(answer);
      this.#show(answer);
    } else this.#ask();
    const keys = () => ({ e: this.model.toggle, h: this.why.toggle, ...pictureKeys(this.grid, this.acts) });
    return {
      element: this.element,
      title: this.answer?.query.name ?? this.asked.item?.name ?? "Results",
      close: () => this.#close(),
      grid: this.grid,
      field: () => /** @type {HTMLElement | null} */ (this.element.querySelector("#picture-file")),
      morph: this.ways.morph ? () => this.#morphWith(this.grid.focused()) : undefined,
      resize: this.size.step,
      get keys() {
        return keys();
      },
    };
  }

  #close() {
    this.withdrawn.abort();
    this.whyOnTiles?.close();
    this.watcher?.disconnect();
    if (this.preview) URL.revokeObjectURL(this.preview);
  }

  async #ask() {
    const { api, limits, features } = this.page;
    const { file, url, item } = this.asked;
    if (file && file.size > limits.image_bytes) return this.#refuse(tooLarge(file, limits.image_bytes));
    if (url && !features.urls) return this.#refuse(NO_ADDRESSES);
    if (file) this.panel = this.#showPanel({ name: file.name || "Pasted picture", image: this.preview });
    else if (item) this.panel = this.#showPanel(item);
    this.#prepare();
    const patience = setTimeout(() => this.grid.expect(24), PATIENCE); // grey tiles: only where the answer lets wait
    const { signal } = this.withdrawn;
    try {
      if (url) this.question.id = (await api.storeAddress(url, signal)).id;
      else if (file && this.several) this.question.id ??= (await api.store(file, signal)).id;
      const response = file && !this.question.id ? await api.search(file, limits.neighbours, signal) : await this.#fetch(0, this.#wanted(), signal);
      this.question.id ??= isCombined(this.question) ? null : response.query.id;
      const answer = this.#asAnswer(response);
      if (file || url) this.page.became("search", parametersOf(this.question), answer);
      else this.page.remember(answer);
      this.#show(answer);
    } catch (error) {
      if (!isWithdrawn(error)) this.#refuse(error);
    } finally {
      clearTimeout(patience);
    }
  }

  /** @param {number} offset @param {number} k @param {AbortSignal} signal */
  async #fetch(offset, k, signal) {
    if (this.several) {
      const { neighboursInAll } = await import("./several_galleries.js");
      const given = this.sort === "score" ? this.given : null;
      this.given = null;
      return neighboursInAll(this.page, this.question, k, offset, signal, given);
    }
    return this.page.api.answer(this.question, this.paints, k, offset, signal);
  }

  /** How many pictures are asked for at first: in another order, it is chosen among more. */
  #wanted() {
    return this.sort === "score" ? this.page.limits.neighbours : SORTED;
  }

  /** @param {Rest.SearchOut} response */
  #asAnswer(response) {
    return { ...response, asked: JSON.stringify(this.question), done: response.hits.length < this.page.limits.neighbours };
  }

  /** All that stands around the pictures, before they are known: when they are, only they are left to be drawn. */
  #prepare() {
    this.controls = h("div", { inert: !this.answer }, this.#head());
    this.main.setAttribute("aria-labelledby", "results-title");
    this.main.replaceChildren(this.controls, this.grid.element, this.foot);
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
        subject: this.asked.file?.name ?? this.asked.url,
        retry: () => this.#askAgain(),
        others: [other, button("search", "Start over", () => this.page.go(""))],
      }),
    );
  }

  #askAgain() {
    this.element.classList.remove("refused");
    this.#ask();
  }

  /** @param {any} query */
  #showPanel(query) {
    const panel = queryPanel(query, this.question, this.page, {
      morph: this.ways.morph ? () => this.#morphWith(this.answer?.hits[0]) : null,
      restart: () => this.page.go(""),
      refine: (change) => this.#refine(change),
    });
    this.aside.replaceChildren(panel.element, h("div", { class: "query-other" }, this.#otherPicture()));
    return panel;
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
    if (answer.by === "percentile") this.least = -1; // scores of different models cannot be compared
    this.panel ??= this.#showPanel(answer.query);
    if (this.several || !this.main.contains(this.grid.element)) this.#prepare();
    this.controls.inert = false;
    this.#fill(); // first: to lay the pictures out takes a look at the window, which is quick while nothing else has changed
    this.panel.answered(answer);
    this.controls.after(...this.#unanswered());
    this.page.titled(answer.query.name);
  }

  #fill() {
    const { hits } = this.answer;
    this.grid.add(hits);
    this.#filter(this.least);
    this.#watchFoot();
    announce(`${plural(hits.length, "result", "results")}. ${this.#nearest()}`);
  }

  /** Ask anew with another weight, part, form or other pictures, beside what the reader holds. @param {Partial<import("../parts/question.js").Question>} change */
  async #refine(change) {
    Object.assign(this.question, change);
    this.ways.choices = choicesOf(this.question);
    this.page.amend(parametersOf(this.question));
    this.refining?.abort();
    this.refining = new AbortController();
    const signal = AbortSignal.any([this.withdrawn.signal, this.refining.signal]);
    this.grid.element.setAttribute("aria-busy", "true");
    try {
      this.answer = this.#asAnswer(await this.#fetch(0, this.#wanted(), signal));
      this.page.remember(this.answer);
      this.panel?.answered(this.answer);
      this.whyOnTiles?.forget();
      this.grid.clear();
      this.#fill();
      await this.#deepen();
    } catch (error) {
      if (isWithdrawn(error)) return;
      this.watcher?.disconnect();
      this.foot.replaceChildren(problemState(error, { retry: () => this.#refine({}) }));
    } finally {
      this.grid.element.removeAttribute("aria-busy");
    }
  }

  #nearest() {
    const [first] = this.answer.hits;
    return first ? `The nearest is ${first.name}, similarity ${scoreWords(first.score)}.` : "";
  }

  #head() {
    const { gallery, limits } = this.page;
    const semantic = this.several ? this.#chosen().every((one) => one.semantic) : gallery.model.semantic_dims > 0;
    const slider = semantic ? [weightSlider(this.question.beta, limits.beta, (beta) => this.#refine({ beta }))] : [];
    return [this.#toolbar(), ...slider];
  }

  #chips() {
    /** @param {string | null} filter */
    const parameters = (filter) => parametersOf({ ...this.question, filter });
    const { page, question } = this;
    const first = choiceOfGalleries(page, question, (galleries) => page.go("search", parametersOf({ ...question, galleries })));
    /** @type {import("../parts/facet_chips.js").Counting | undefined} */
    const count = this.several ? async (...asked) => (await import("./several_galleries.js")).countInAll(page.api, question.galleries, ...asked) : undefined;
    return facetChips(page, "search", parameters, this.withdrawn.signal, { count, first });
  }

  /** The galleries that are searched, where they are not this one alone. */
  #chosen() {
    return this.page.searchable.filter(({ name }) => this.question.galleries.includes(name));
  }

  /** Galleries that could not be searched, and why. */
  #unanswered() {
    return Object.entries(this.answer.problems ?? {}).map(([name, problem]) => h("p", { class: "notice unanswered" }, icon("warning"), h("span", {}, `${name} could not be searched: ${problem.detail}`)));
  }

  /** Whether a picture of another gallery can be compared with the query by that one's model: it must know the query. @param {any} item @param {"why" | "morph"} act */
  #fits(item, act) {
    const { id } = this.question;
    const gallery = this.page.searchable.find(({ name }) => name === homeOf(item.id).gallery);
    return Boolean(gallery && id && !isItem(id) && (act === "why" || gallery.paints));
  }

  #toolbar() {
    const least = { min: 0, max: 1, step: 0.01, value: Math.max(0, this.least) };
    const leastField = range("Score at least", "least-score", least, (value) => this.#filter(value || -1), (value) => value.toFixed(2), true);
    this.leastInput = /** @type {HTMLInputElement} */ (leastField.querySelector("input"));
    leastField.addEventListener("change", () => this.page.amend({ min: this.least > 0 ? this.least.toFixed(2) : null }));
    const sorts = Object.entries(SORTS).filter(([name]) => name !== "changed" || this.answer?.by !== "percentile").map(([name, { words }]) => /** @type {[string, string]} */ ([name, words]));
    const order = choiceField("Order", sorts, this.sort, (sort) => this.#sortBy(sort));
    const byScore = this.answer?.by !== "percentile"; // scores of different models cannot be compared
    return toolbar(this.heading, [byScore ? leastField : null, order, this.size.element], this.#chips(), [this.model.element, this.why.element]);
  }

  /** Say on each tile that is pointed at why it is like the query, or no longer. @param {boolean} on */
  async #explain(on) {
    this.whyOnTiles?.close();
    this.whyOnTiles = null;
    if (!on) return;
    const { WhyOnTiles } = await import("./why_on_tiles.js");
    if (this.withdrawn.signal.aborted || !this.why.isOn()) return;
    const { api, gallery } = this.page;
    this.whyOnTiles = new WhyOnTiles(this.grid, {
      explain: (item, patches, signal) => api.explain(this.question.id ?? "", item.id, gallery.name, patches, signal),
      fits: (item) => Boolean(this.question.id) && (!item.gallery || item.gallery === gallery.name || this.#fits(item, "why")),
      frame: () => this.panel?.frame ?? null,
    });
  }

  /** @param {string} sort */
  async #sortBy(sort) {
    this.sort = sort;
    this.page.amend({ sort: sort === "score" ? null : sort });
    await this.#deepen();
    if (this.sort !== sort) return; // another one was chosen meanwhile
    this.grid.sort(SORTS[sort].compare);
    this.#filter(this.least);
    announce(SORTS[sort].words);
  }

  /** @param {number} least */
  #filter(least) {
    this.least = least;
    const shown = this.grid.filter(least);
    const { hits, done } = this.answer;
    // Fetched by score: once a tile is hidden, all that could still be fetched would be hidden as well.
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
    this.leastInput.value = "0";
    this.leastInput.dispatchEvent(new Event("input"));
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

  /** Fetch more before the reader reaches the end; in another order than by score, more would shuffle what he sees. */
  #watchFoot() {
    this.watcher?.disconnect();
    /** @param {IntersectionObserverEntry[]} entries */
    const near = ([entry]) => entry.isIntersecting && this.sort === "score" && this.#fetchMore();
    this.watcher = new IntersectionObserver(near, { rootMargin: "600px" });
    this.watcher.observe(this.foot);
  }

  /** Fetch further neighbours, one helping at a time; whether it is worth asking again. */
  #fetchMore(most = this.page.limits.neighbours) {
    if (this.exhausted) return Promise.resolve(false);
    this.fetching ??= this.#append(most).finally(() => (this.fetching = null));
    return this.fetching;
  }

  /** @param {number} most */
  async #append(most) {
    const { answer } = this;
    try {
      const { limits } = this.page;
      const wanted = Math.min(most, limits.reach - answer.hits.length);
      const more = await this.#fetch(answer.hits.length, wanted, this.withdrawn.signal);
      if (answer === this.answer) {
        answer.hits.push(...more.hits);
        answer.done = more.hits.length < wanted || answer.hits.length >= limits.reach;
        this.grid.add(more.hits);
        this.#filter(this.least);
      } // else ranked anew meanwhile: these belong to the ranking before
      this.#watchFoot(); // again, so that a foot that is still in sight fetches on
      return true;
    } catch (error) {
      if (isWithdrawn(error)) return false;
      this.watcher?.disconnect();
      this.foot.replaceChildren(problemState(error, { retry: () => this.#fetchMore() }));
      return false;
    }
  }

  /** An order by anything but the score chooses among more than the first few, whatever was asked before it was chosen. */
  async #deepen() {
    const isShort = () => this.sort !== "score" && !this.answer.done && this.answer.hits.length < SORTED;
    while (isShort() && (await this.#fetchMore(SORTED - this.answer.hits.length)));
  }

  /** @param {any} item @param {string} [mode] How it is shown: see the lightbox. */
  #open(item, mode) {
    const { query } = this.answer;
    this.page.lightbox.open(this.grid.walk(), item, {
      query: { ...query, image: this.preview ?? query.image ?? query.reconstruction_url },
      gallery: this.page.gallery,
      api: this.page.api,
      acts: this.acts,
      mode,
      similar: (chosen) => this.page.search(chosen, null, choicesOf(this.question)),
      morph: this.ways.morph ? (chosen) => this.#morphWith(chosen) : null,
      share: (chosen) => copyLink(this.page.neighboursOf(chosen.id, choicesOf(this.question))),
    });
  }

  /** @param {import("../api.js").Picture} item */
  #morphWith(item) {
    if (!item || !this.answer?.query.id) return;
    const { gallery, id } = homeOf(item.id);
    this.page.go("morph", { a: this.answer.query.id, b: id }, null, gallery);
  }
}
