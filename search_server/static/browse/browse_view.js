/** All pictures of the gallery: laid out at once, described as they come near the window; and what could not be used. */

import { isWithdrawn } from "../api.js";
import { h } from "../parts/dom.js";
import { facetChips, filterOf, readFilter } from "../parts/facet_chips.js";
import { choiceField, chosenRow, modelToggle, sizeSlider, toolbar } from "../parts/grid_tools.js";
import { announce, copyLink } from "../parts/messages.js";
import { pictureActs, pictureKeys } from "../parts/picture_acts.js";
import { PictureGrid } from "../parts/picture_grid.js";
import { Selection } from "../parts/selection.js";
import { arriving, problemState, state } from "../parts/states.js";
import { count, plural } from "../parts/words.js";
import { addPictures, manyPicker } from "./additions.js";
import { failuresList } from "./failures.js";
import { selectionBar } from "./selection_bar.js";

/** @type {[string, string][]} */
const SORTS = [
  ["id", "Oldest first"],
  ["-id", "Newest first"],
  ["name", "Name"],
  ["path", "Folder"],
  ["-pixels", "Most pixels"],
  ["-bytes", "Largest file"],
];

const TYPING = 200; // milliseconds after the last letter

/** @param {import("../app.js").Page} page */
export function browseView(page) {
  return new Browse(page).view();
}

class Browse {
  /** @param {import("../app.js").Page} page */
  constructor(page) {
    this.page = page;
    this.withdrawn = new AbortController();
    this.filter = filterOf(page);
    this.sort = page.parameter("sort") ?? "id";
    this.selection = new Selection();
    /** @type {import("../parts/picture_tile.js").Act[]} */
    this.acts = [
      ...pictureActs(page, { open: (item) => this.#open(item) }),
      { name: "select", icon: "check", words: "Select", key: "x", act: (item) => this.grid.select(this.grid.placeOf(item.id)), pressed: (item) => this.selection.has(item.id) },
    ];
    this.grid = new PictureGrid({
      label: "All pictures",
      address: (id) => page.address("search", { id }),
      choose: (item, tile) => page.search(item, tile),
      actions: this.acts,
      tray: page.tray,
      selection: this.selection,
    });
    this.grid.resize(chosenRow());
    this.grid.element.addEventListener("trouble", (event) => this.#stale(/** @type {CustomEvent} */ (event).detail));
    this.size = sizeSlider(this.grid);
    this.model = modelToggle(page, this.grid);
    this.words = h("p", { class: "quiet-words browse-count", role: "status" });
    this.foot = h("div", { class: "results-foot" });
    this.chips = h("div", {}, this.#chips());
  }

  view() {
    const { page } = this;
    const keys = () => this.#keys();
    const failed = page.parameter("show") === "failures";
    const element = h("div", { class: "browse" }, this.#head(failed), ...(failed ? [failuresList(page, this.withdrawn.signal)] : this.#body()));
    if (!failed) this.#begin();
    return {
      element,
      title: failed ? "Files that could not be used" : "Browse",
      grid: failed ? undefined : this.grid,
      field: () => /** @type {HTMLElement | null} */ (element.querySelector("#picture-files")),
      resize: this.size.step,
      drops: page.may.write ? DROPS : undefined,
      takeMany: (/** @type {File[]} */ files) => this.#add(files),
      get keys() {
        return keys();
      },
      close: () => this.withdrawn.abort(),
    };
  }

  /** @param {boolean} failed */
  #head(failed) {
    const { page } = this;
    const { failures } = page.gallery;
    /** @param {string} words @param {number} number @param {string | null} show @param {boolean} current */
    const tab = (words, number, show, current) => {
      const parameters = show ? { show } : {};
      /** @param {any} event */
      const open = (event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey) return;
        event.preventDefault();
        page.go("browse", parameters);
      };
      return h("a", { class: "chip", href: page.address("browse", parameters), onclick: open, "aria-current": current ? "page" : null }, h("span", {}, words), " ", h("small", {}, count(number)));
    };
    const tabs = failures || failed ? h("nav", { class: "browse-tabs", "aria-label": "Pictures and failures" }, tab("Pictures", page.gallery.items, null, !failed), tab("Could not be used", failures, "failures", failed)) : null;
    const add = page.may.write ? manyPicker((files) => this.#add(files)) : null;
    return h("div", { class: "section-head" }, h("h1", {}, failed ? "Could not be used" : "All pictures"), tabs, h("div", { class: "actions browse-acts" }, add));
  }

  #body() {
    const { page } = this;
    if (!page.gallery.items) return [arriving(async () => (await import("../parts/empty_gallery.js")).emptyGallery(page, this.withdrawn.signal), () => page.reload())];
    /** @param {string} sort */
    const sorted = (sort) => page.go("browse", { ...this.#parameters(), sort: sort === "id" ? null : sort });
    const bar = toolbar(this.words, [this.#nameField(), choiceField("Order", SORTS, this.sort, sorted), this.model.element, this.size.element], this.chips);
    const selected = selectionBar(page, this.selection, {
      everything: () => this.#selectAll(),
      total: () => this.grid.length,
      tagged: () => {
        page.filterable = null; // there may be tags now
        this.chips.replaceChildren(this.#chips());
      },
      gone: () => page.reload(),
    });
    return [bar, selected, this.grid.element, this.foot];
  }

  /** Pictures whose name begins with what is typed, or whose id it is: at once, in the list that is there. */
  #nameField() {
    let resting = 0;
    const field = h("input", { type: "search", class: "text-field name-field", placeholder: "Name or id", "aria-label": "Name begins with, or id", autocomplete: "off", maxlength: 200, value: nameOf(this.filter) });
    field.addEventListener("input", () => {
      clearTimeout(resting);
      resting = setTimeout(() => this.#narrow(field.value.trim()), TYPING);
    });
    return field;
  }

  /** @param {string} text */
  #narrow(text) {
    const { or: _, name: __, ...others } = readFilter(this.filter);
    const begins = { name: { prefix: text } };
    const asked = !text ? others : /^\d{1,18}$/.test(text) ? { ...others, or: [begins, { id: { eq: Number(text) } }] } : { ...others, ...begins };
    this.filter = Object.keys(asked).length ? JSON.stringify(asked) : null;
    this.page.amend({ filter: this.filter });
    this.chips.replaceChildren(this.#chips());
    this.#fetch(new Map());
  }

  #parameters() {
    return { filter: this.filter, sort: this.sort === "id" ? null : this.sort };
  }

  #chips() {
    return facetChips(this.page, "browse", (filter) => ({ ...this.#parameters(), filter }), this.withdrawn.signal);
  }

  // What is shown ----------------------------------------------------------------------------------------------------

  #begin() {
    const { page } = this;
    if (!page.gallery.items) return;
    const kept = page.remembered();
    if (kept) return this.#show(kept);
    const initial = page.initial?.items ? page.initial : null;
    const known = new Map((initial?.items ?? []).map((/** @type {import("../api.js").Picture} */ item) => [item.id, item]));
    if (initial) this.grid.add(initial.items);
    else this.grid.expect(24);
    if (initial && !initial.next_cursor) this.#count(initial.items.length, initial.items.length);
    else this.#fetch(known);
  }

  /** @param {Map<string, import("../api.js").Picture>} known */
  async #fetch(known) {
    this.foot.replaceChildren();
    this.fetching?.abort();
    this.fetching = new AbortController();
    const signal = AbortSignal.any([this.withdrawn.signal, this.fetching.signal]);
    try {
      const outline = await this.page.api.outline(this.sort, this.filter, signal);
      const shown = { outline, known };
      this.page.remember(shown);
      this.#show(shown);
    } catch (error) {
      if (isWithdrawn(error)) return;
      this.grid.clear();
      this.foot.replaceChildren(problemState(error, { retry: () => this.#fetch(known) }));
    }
  }

  /** @param {{outline: import("../api.js").Outline, known: Map<string, import("../api.js").Picture>}} shown */
  #show({ outline, known }) {
    /** @param {string[]} ids @param {AbortSignal} signal */
    const load = async (ids, signal) => {
      const items = await this.page.api.described(ids, AbortSignal.any([signal, this.withdrawn.signal]));
      for (const item of items) known.set(item.id, item);
      return items;
    };
    this.grid.outline(outline, load, known);
    this.#count(outline.ids.length, outline.total);
  }

  /** @param {number} shown @param {number} total */
  #count(shown, total) {
    const all = shown < total ? `The first ${count(shown)} of ${plural(total, "picture", "pictures")}: choose a filter to see others.` : plural(total, "picture", "pictures");
    this.words.textContent = all;
    if (!total) this.foot.replaceChildren(state({ iconName: "search", title: "No picture passes this filter", text: "Take a part of it away." }));
  }

  /** A picture that was in the outline is no longer there: look again at what there is. @param {import("../api.js").Problem} problem */
  #stale(problem) {
    if (problem.code === "no_such_item") return this.page.reload();
    this.foot.replaceChildren(problemState(problem, { retry: () => this.page.reload() }));
  }

  /** @param {import("../api.js").Picture} item */
  #open(item) {
    this.page.lightbox.open(this.grid.walk(), item, {
      similar: (chosen) => this.page.search(chosen),
      morph: null,
      share: (chosen) => copyLink(this.page.address("search", { id: chosen.id })),
    });
  }

  // Selecting and adding ---------------------------------------------------------------------------------------------

  #selectAll() {
    /** @type {[string, any][]} */
    const entries = [];
    for (let place = 0; place < this.grid.length; place++) entries.push([this.grid.idAt(place), this.grid.item(place)]);
    this.selection.put(entries);
    announce(`${plural(entries.length, "picture", "pictures")} selected`);
  }

  #keys() {
    const focused = this.grid.focusedTile();
    return {
      e: this.model.toggle,
      ...pictureKeys(this.grid, this.acts),
      ...(focused ? { X: () => this.grid.select(focused.place, true) } : {}),
    };
  }

  /** @param {File[]} files */
  #add(files) {
    addPictures(this.page, files, () => this.page.reload());
  }
}

/** Where files can be dropped here. */
const DROPS = [
  { slot: "search", words: "Search with it" },
  { slot: "add", words: "Add to the gallery", many: true },
];

/** The text that a filter asks names for. @param {string | null} filter */
function nameOf(filter) {
  const { or, name } = readFilter(filter);
  return name?.prefix ?? or?.[0]?.name?.prefix ?? "";
}
