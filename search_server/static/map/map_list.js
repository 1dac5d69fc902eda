/** Pictures of the map as a grid below it: those that are chosen, that are here, or of one colour. */

import { isWithdrawn } from "../api.js";
import { button, h, icon, iconButton } from "../parts/dom.js";
import { PictureGrid } from "../parts/picture_grid.js";
import { leadTo } from "../parts/picture_link.js";
import { problemState } from "../parts/states.js";

const HELPING = 60; // pictures that are fetched at a time

export class MapList {
  /** @type {PictureGrid} */
  grid;
  foot = h("div", { class: "results-foot" });

  /** @param {import("../app.js").Page} page @param {import("../analyses_api.js").AnalysesApi} analyses @param {import("./map_columns.js").MapData} map */
  constructor(page, analyses, map) {
    this.page = page;
    this.analyses = analyses;
    this.map = map;
    this.withdrawn = new AbortController();
    this.watcher = new IntersectionObserver(() => {});
    this.fetching = false;
    /** @type {string[]} */
    this.ids = [];
    this.element = h("section", { class: "map-list", "aria-labelledby": "map-list-title", hidden: true });
  }

  close() {
    this.withdrawn.abort();
    this.watcher.disconnect();
  }

  /** @param {number[]} rows @param {string} title @param {string | null} filter That only these pass, where there is one. */
  show(rows, title, filter = null) {
    this.close();
    this.withdrawn = new AbortController();
    const { page } = this;
    this.ids = rows.map((row) => String(this.map.columns.id[row]));
    this.grid = new PictureGrid({ label: title, address: (id) => page.address(`item/${id}`), choose: (item) => page.go(`item/${item.id}`) });
    const heading = h("h2", { id: "map-list-title", tabindex: "-1" }, title);
    this.foot.replaceChildren();
    this.element.hidden = false;
    this.element.replaceChildren(h("div", { class: "section-head" }, heading, filter && this.#browse(filter), iconButton("close", "Close the list", () => this.#hide())), this.grid.element, this.foot);
    this.watcher = new IntersectionObserver(([entry]) => entry.isIntersecting && this.#more(), { rootMargin: "600px" });
    heading.focus({ preventScroll: true });
    this.element.scrollIntoView({ block: "start" });
    this.#more();
  }

  /** Where the same pictures can be sorted, selected, and filtered on. @param {string} filter */
  #browse(filter) {
    return h("a", { class: "button quiet", href: this.page.address("browse", { filter }), onclick: leadTo(() => this.page.go("browse", { filter })) }, icon("grid"), h("span", {}, "Browse them"));
  }

  #hide() {
    this.close();
    this.element.hidden = true;
    this.element.replaceChildren();
  }

  async #more() {
    if (this.fetching || !this.ids.length) return;
    this.fetching = true;
    const { signal } = this.withdrawn;
    const some = this.ids.splice(0, HELPING);
    try {
      const items = await this.analyses.items(some, signal);
      this.grid.add(items);
    } catch (error) {
      if (isWithdrawn(error)) return;
      this.ids.unshift(...some);
      this.foot.replaceChildren(problemState(error, { retry: () => this.#more() }));
      return;
    } finally {
      this.fetching = false;
    }
    this.watcher.disconnect();
    this.foot.replaceChildren(...(this.ids.length ? [button("grid", "Show more", () => this.#more(), { class: "button more" })] : []));
    if (this.ids.length) this.watcher.observe(this.foot);
  }
}
