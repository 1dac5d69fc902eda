/** What the model has learnt: its main axes as sliders, and what groups of pictures have in common. */

import { isWithdrawn } from "../api.js";
import { button, h } from "../parts/dom.js";
import { problemState, state } from "../parts/states.js";
import { count } from "../parts/words.js";
import { PaintingApi } from "../painting_api.js";
import { PrototypeWall } from "./prototype_wall.js";
import { Workbench } from "./workbench.js";

const AXES = 8;
const PATIENCE = 200; // milliseconds before grey rows are shown: an answer is usually quicker

/** @param {import("../app.js").Page} page */
export function exploreView(page) {
  if (!page.gallery.model.has_decoder) return alone("This gallery's model cannot paint", "What a model has learnt is shown by what it paints, and this one came with an encoder only: it can search. Train one on your pictures with lookalike train.", page);
  if (page.gallery.items < 3) return alone("Too few pictures", "With three pictures and more, the page shows in which ways they differ.", page);
  return new Explore(page).view();
}

/** @param {string} title @param {string} text @param {import("../app.js").Page} page */
function alone(title, text, page) {
  const element = state({ iconName: "explore", heading: "h1", title, text, actions: [button("search", "Search instead", () => page.go(""), { class: "button primary" })] });
  return { element, title: "Explore", close: () => {} };
}

class Explore {
  /** @param {import("../app.js").Page} page */
  constructor(page) {
    this.page = page;
    this.withdrawn = new AbortController();
    /** @type {Workbench | null} */
    this.bench = null;
    this.words = h("p", {}, "Its main axes: move a slider, and the model paints what changes.");
    this.place = h("div", { class: "explore-place" });
    this.wall = new PrototypeWall(page, (id) => {
      this.bench?.startFrom(id);
      this.element.scrollIntoView({ block: "start" });
    });
    this.element = h("div", { class: "explore" }, h("div", { class: "view-head" }, h("h1", {}, "What the model has learnt"), this.words), this.place, this.wall.element);
    this.#begin();
  }

  /** @returns {import("../views.js").View} */
  view() {
    return {
      element: this.element,
      title: "Explore",
      close: () => {
        this.withdrawn.abort();
        this.bench?.close();
        this.wall.close();
      },
      take: (taken) => this.bench?.take(taken),
      surprise: () => this.bench?.surprise(),
      play: () => this.bench?.walk(),
    };
  }

  async #begin() {
    const { page } = this;
    const { signal } = this.withdrawn;
    const api = new PaintingApi(page.api.base);
    // After Back, everything is here; at first, what came with the page.
    const kept = page.remembered() ?? (page.initial?.axes ? page.initial : null);
    const patience = setTimeout(() => this.#expect(), PATIENCE);
    try {
      const answer = kept?.axes ?? (await api.axes(AXES, signal));
      const ids = answer.axes.flatMap((/** @type {Rest.AxisOut} */ { low, high }) => [...low, ...high]);
      const items = kept?.items ?? (await api.items(ids, signal));
      if (signal.aborted) return;
      page.remember({ axes: answer, items });
      this.bench = new Workbench(page, answer, items);
      this.place.replaceChildren(this.bench.element);
      this.words.textContent = `The ${answer.axes.length} ways in which ${count(answer.items)} pictures differ most: move a slider, and the model paints what changes.`;
      this.bench.begin();
    } catch (error) {
      if (!isWithdrawn(error)) this.place.replaceChildren(problemState(error, { retry: () => page.reload() }));
    } finally {
      clearTimeout(patience);
    }
    if (!signal.aborted) this.wall.fill(kept?.prototypes, kept?.members);
  }

  #expect() {
    this.place.replaceChildren(h("div", { class: "workbench", "aria-busy": "true" }, h("div", { class: "workbench-picture" }, h("div", { class: "explore-stage", "aria-busy": "true" }))));
  }
}
