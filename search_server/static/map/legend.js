/** What the colours of the map mean; each group can be hidden, gone to, and listed. */

import { h, iconButton } from "../parts/dom.js";
import { count } from "../parts/words.js";
import { colouring, colourings } from "./colouring.js";

/**
 * @typedef {object} LegendWays
 * @property {(colouring: import("./colouring.js").Colouring, hidden: Set<number>) => void} changed
 * @property {(code: number) => void} visit
 * @property {(group: import("./colouring.js").Group, rows: number[]) => void} browse
 * @property {string | null} by What the address asks for.
 */
export class Legend {
  /** @param {import("../app.js").Page} page @param {import("./map_columns.js").MapData} map @param {LegendWays} ways */
  constructor(page, map, ways) {
    this.page = page;
    this.map = map;
    this.ways = ways;
    /** @type {Set<number>} */
    this.hidden = new Set();
    const names = colourings(map);
    this.by = ways.by !== null && names.some(([name]) => name === ways.by) ? ways.by : "cluster";
    this.colouring = colouring(map, this.by);
    /** @type {HTMLSelectElement} */
    const select = h("select", { id: "colour-by", class: "select", onchange: () => this.#choose(select.value) }, names.map(([name, words]) => h("option", { value: name, selected: name === this.by }, words)));
    this.groups = h("ul", { class: "clusters", role: "list" });
    this.all = h("button", { type: "button", class: "button quiet", onclick: () => this.#toggleAll() });
    this.element = h("section", { class: "legend", "aria-label": "What the colours mean" }, h("div", { class: "legend-head" }, h("label", { for: "colour-by" }, "Colour by"), select, this.all), this.groups);
  }

  /** Give the points their colours: at first, and when those of the page change. */
  begin() {
    this.colouring = colouring(this.map, this.by);
    this.#show();
    this.ways.changed(this.colouring, this.hidden);
  }

  /** @param {string} by */
  #choose(by) {
    this.by = by;
    this.hidden.clear();
    this.page.amend({ by: by === "cluster" ? null : by });
    this.begin();
  }

  #show() {
    this.groups.replaceChildren(...this.colouring.groups.map((group) => this.#group(group)));
    this.#showAll();
  }

  /** @param {import("./colouring.js").Group} group */
  #group(group) {
    const swatch = h("span", { class: "swatch", style: { "--swatch": `rgb(${group.colour.join(" ")})` } });
    const picture = group.cluster && h("img", { src: group.cluster.prototype ?? `${this.page.api.base}/items/${group.cluster.medoid}/image?size=thumb`, alt: "", width: 40, height: 40, loading: "lazy" });
    const name = group.mostly ? `${group.words}, mostly ${group.mostly}` : group.words;
    /** @type {HTMLInputElement} */
    const tick = h("input", { type: "checkbox", checked: !this.hidden.has(group.code), "aria-label": `Show ${name}`, onchange: () => this.#toggle(group.code, tick.checked) });
    return h(
      "li",
      { class: "cluster" },
      h("label", { class: "cluster-tick" }, tick, swatch),
      h(
        "button",
        { type: "button", class: "cluster-visit", title: "Go there", onclick: () => this.ways.visit(group.code) },
        picture,
        h("span", { class: "cluster-words" }, h("span", {}, group.words), group.mostly && h("small", {}, `mostly ${group.mostly}`)),
        h("small", {}, count(group.count)),
      ),
      iconButton("grid", `List ${name}`, () => this.ways.browse(group, this.#rowsOf(group.code))),
    );
  }

  /** @param {number} code */
  #rowsOf(code) {
    const { codes } = this.colouring;
    /** @type {number[]} */
    const rows = [];
    for (let row = 0; row < this.map.count; row++) if (codes[row] === code) rows.push(row);
    return rows;
  }

  /** @param {number} code @param {boolean} isShown */
  #toggle(code, isShown) {
    if (isShown) this.hidden.delete(code);
    else this.hidden.add(code);
    this.#showAll();
    this.ways.changed(this.colouring, this.hidden);
  }

  #toggleAll() {
    if (this.hidden.size) this.hidden.clear();
    else this.colouring.groups.forEach(({ code }) => this.hidden.add(code));
    this.#show();
    this.ways.changed(this.colouring, this.hidden);
  }

  #showAll() {
    const someHidden = this.hidden.size > 0;
    this.all.textContent = someHidden ? "Show all" : "Hide all";
  }
}
