/** One picture of the gallery and all that is known of it: what the model sees, where it stands, what is said of it. */

import { AnalysesApi } from "../analyses_api.js";
import { isWithdrawn } from "../api.js";
import { AS_INDEXED } from "../search/weight_slider.js";
import { readMap } from "../map/map_columns.js";
import { smallMap } from "../map/small_map.js";
import { button, h, icon, iconButton, opensElsewhere } from "../parts/dom.js";
import { announce, copyLink, note } from "../parts/messages.js";
import { PictureGrid } from "../parts/picture_grid.js";
import { problemState } from "../parts/states.js";
import { bytesWords, count, plural } from "../parts/words.js";
import { MetadataEditor } from "./metadata_editor.js";
import { tagEditor } from "./tag_editor.js";

/** @typedef {Rest.ItemOut} Item */
/** @typedef {Rest.StandingOut} Standing */
/** @typedef {{item: Item, standing: Standing, hits: Rest.HitOut[], points?: import("../map/map_columns.js").MapData}} Shown What was asked. */

const NEIGHBOURS = 12;
const POINTS = 4000; // of the small map: more would only be darker
const PATIENCE = 200; // milliseconds before a grey place is shown

/** @param {import("../app.js").Page} page */
export function itemView(page) {
  return new ItemView(page).view();
}

class ItemView {
  /** @param {import("../app.js").Page} page */
  constructor(page) {
    this.page = page;
    this.analyses = new AnalysesApi(page.api.base);
    this.withdrawn = new AbortController();
    this.id = decodeURIComponent(location.pathname.slice(page.root.length).split("/")[1] ?? "");
    this.element = h("div", { class: "item" });
    this.grid = new PictureGrid({
      label: "Pictures that are like it",
      address: (id) => page.address("search", { id }),
      choose: (item, tile) => page.search(item, tile),
    });
    /** @type {Shown | null} */
    this.shown = null;
    this.trayButton = button("plus", "", () => this.#toggleTray(), { "aria-pressed": "false" });
    this.initial = page.initial?.standing ? page.initial : null;
  }

  view() {
    const given = this.page.remembered() ?? this.initial;
    if (given?.item.id === this.id) this.#show(given);
    else this.#ask();
    return {
      element: this.element,
      title: this.shown?.item.name ?? "Picture",
      grid: this.grid,
      close: () => this.withdrawn.abort(),
      morph: () => this.page.gallery.model.has_decoder && this.page.go("morph", { a: this.id }),
      keys: {
        s: () => {
          const item = this.grid.focused() ?? this.shown?.item;
          if (item) this.page.search(item);
        },
        x: () => this.#toggleTray(),
        ArrowLeft: () => this.#step("previous"),
        ArrowRight: () => this.#step("next"),
      },
    };
  }

  async #ask() {
    const { signal } = this.withdrawn;
    const patience = setTimeout(() => this.element.replaceChildren(...skeleton()), PATIENCE);
    try {
      const [item, standing, found] = await Promise.all([
        this.page.api.picture(this.id, signal),
        this.analyses.standing(this.id, signal),
        this.page.api.neighbours(this.id, NEIGHBOURS, 0, AS_INDEXED, null, signal),
      ]);
      this.#show({ item: /** @type {Item} */ (item), standing, hits: found.hits });
    } catch (error) {
      if (!isWithdrawn(error)) this.#refuse(error);
    } finally {
      clearTimeout(patience);
    }
  }

  /** @param {import("../api.js").Problem} problem */
  #refuse(problem) {
    const others = [button("grid", "Browse all pictures", () => this.page.go("browse"), { class: "button primary" })];
    this.element.replaceChildren(problemState(problem, { heading: "h1", retry: () => this.#ask(), others }));
  }

  /** @param {Shown} shown */
  #show(shown) {
    this.shown = shown;
    this.page.remember(shown);
    const { item, standing, hits } = shown;
    this.element.replaceChildren(
      this.#head(item, standing),
      h(
        "div",
        { class: "item-table" },
        this.#stage(item),
        h("div", { class: "item-side" }, this.#actions(item), this.#facts(item), this.#tags(item), this.#said(item)),
      ),
      ...[this.#painted(item, standing), this.#copies(item, standing), this.#alike(hits)].filter((one) => one !== null),
    );
    this.page.titled(item.name);
    this.#fetchAhead(standing);
  }

  /** The pages beside this one come at once: their pictures are the slow part. @param {Standing} standing */
  #fetchAhead({ previous, next }) {
    for (const id of [next, previous]) if (id) new Image().src = this.analyses.thumbAddress(id);
  }

  /** @param {"previous" | "next"} way */
  #step(way) {
    const id = this.shown?.standing[way];
    if (id && !document.activeElement?.closest?.(".grid, input, canvas")) this.page.go(`item/${id}`);
  }

  // The head ---------------------------------------------------------------------------------------------------------

  /** @param {Item} item @param {Standing} standing */
  #head(item, standing) {
    return h(
      "div",
      { class: "item-head" },
      h("div", { class: "item-words" }, h("h1", {}, item.name), this.#crumbs(item)),
      h("div", { class: "item-steps" }, this.#stepLink("back", "Picture before", standing.previous), this.#stepLink("forward", "Picture after", standing.next)),
    );
  }

  /** @param {string} iconName @param {string} words @param {string | null} id */
  #stepLink(iconName, words, id) {
    if (!id) return iconButton(iconName, words, () => {}, { disabled: true });
    return h("a", { class: "icon-button", "aria-label": words, title: words, ...this.#link(`item/${id}`) }, icon(iconName));
  }

  /** The folders on the way to it, each of which can be browsed. @param {Item} item */
  #crumbs(item) {
    const words = item.path.split("/").slice(0, -1);
    const crumbs = words.map((word, place) => {
      const folder = words.slice(0, place + 1).join("/");
      return h("li", {}, h("a", this.#link("browse", { filter: JSON.stringify({ folder: { eq: folder } }) }), word));
    });
    const top = h("li", {}, h("a", this.#link("browse"), this.page.gallery.name));
    return h("nav", { "aria-label": "Folder" }, h("ol", { class: "crumbs", role: "list" }, top, crumbs));
  }

  /** The attributes of a link to a view. @param {string} view @param {import("../app.js").Parameters} [parameters] */
  #link(view, parameters = {}) {
    const { page } = this;
    return {
      href: page.address(view, parameters),
      onclick: (/** @type {MouseEvent} */ event) => {
        if (opensElsewhere(event)) return;
        event.preventDefault();
        page.go(view, parameters);
      },
    };
  }

  // The picture ------------------------------------------------------------------------------------------------------

  /** @param {Item} item */
  #stage(item) {
    const style = { "--width": item.width, "--height": item.height };
    const picture = h("img", { src: item.image, alt: item.name, width: item.width, height: item.height, style });
    picture.style.backgroundImage = `url("${item.thumb}")`; // there at once, until the sharp one is
    picture.addEventListener("load", () => (picture.style.backgroundImage = ""));
    picture.addEventListener("error", () => stage.classList.add("broken"));
    const open = h("button", { type: "button", class: "item-open", "aria-label": `Open ${item.name} at full size`, onclick: () => this.#open() }, picture);
    const stage = h("div", { class: "item-stage frame" }, open);
    return stage;
  }

  #open() {
    if (!this.shown) return;
    const { item } = this.shown;
    this.page.lightbox.open([item], item, {
      similar: (one) => this.page.search(one),
      morph: null,
      share: () => copyLink(this.page.address(`item/${item.id}`)),
    });
  }

  /** @param {Item} item */
  #actions(item) {
    const { page } = this;
    this.#showTray();
    const download = `${item.name.replace(/\.[^.]*$/, "")}.jpg`;
    return h(
      "div",
      { class: "actions item-actions" },
      button("similar", "More like this", () => page.search(item), { class: "button primary" }),
      page.gallery.model.has_decoder && button("morph", "Morph from it", () => page.go("morph", { a: item.id })),
      this.trayButton,
      h("a", { class: "button", href: fullAddress(item), download }, icon("download"), h("span", {}, "Download")),
      button("link", "Copy link", () => copyLink(page.address(`item/${item.id}`))),
    );
  }

  #toggleTray() {
    if (!this.shown) return;
    const { tray } = this.page;
    const { item } = this.shown;
    if (tray.has(item.id)) tray.remove(item.id);
    else if (tray.add([item])) note("The tray is full: take some pictures out first");
    this.#showTray();
    announce(tray.has(item.id) ? "On the tray" : "Off the tray");
  }

  #showTray() {
    const kept = this.page.tray.has(this.id);
    this.trayButton.setAttribute("aria-pressed", String(kept));
    this.trayButton.replaceChildren(icon(kept ? "check" : "plus"), h("span", {}, kept ? "On the tray" : "Put on the tray"));
  }

  // What is known of it ----------------------------------------------------------------------------------------------

  /** @param {Item} item */
  #facts(item) {
    const added = new Date(item.added_at);
    /** @type {[string, string | HTMLElement][]} */
    const rows = [
      ["Size", `${count(item.width)} × ${count(item.height)} pixels`],
      ["File", `${item.format}, ${bytesWords(item.bytes)}`],
      ["Path", h("span", { class: "path" }, item.path)],
      ["Added", h("time", { datetime: item.added_at }, Number.isNaN(added.valueOf()) ? item.added_at : added.toLocaleDateString("en", { dateStyle: "medium" }))],
      ["SHA-256", h("span", { class: "digest", title: item.sha256 }, `${item.sha256.slice(0, 16)}…`)],
    ];
    return table("File", rows);
  }

  /** @param {Item} item */
  #tags(item) {
    const link = (/** @type {string} */ tag) => this.#link("browse", { filter: JSON.stringify({ tags: { eq: tag } }) });
    const save = async (/** @type {string[]} */ tags) => {
      const changed = await this.analyses.describe(item.id, { tags });
      Object.assign(item, { tags: changed.tags });
      return changed.tags;
    };
    const { write } = this.page.may;
    return write || item.tags?.length ? tagEditor({ tags: item.tags ?? [], link, save: write ? save : null }) : null;
  }

  /** @param {Item} item */
  #said(item) {
    const { write } = this.page.may;
    if (!write && !Object.keys(item.metadata ?? {}).length) return null;
    /** @param {Record<string, any>} patch */
    const save = async (patch) => {
      const { metadata, own } = await this.analyses.describe(item.id, { metadata: patch });
      Object.assign(item, { metadata, own });
      return { metadata: metadata ?? {}, own: own ?? {} };
    };
    const said = { metadata: item.metadata ?? {}, own: item.own ?? {} };
    return new MetadataEditor(said, { link: (field, value) => this.#valueLink(field, value), known: () => this.page.api.fields(), save: write ? save : null }).element;
  }

  /** A value that others may have too leads to them. @param {string} field @param {any} value */
  #valueLink(field, value) {
    if (!["string", "number", "boolean"].includes(typeof value) || String(value).length > 60) return null;
    return this.#link("browse", { filter: JSON.stringify({ [field]: { eq: value } }) });
  }

  // What the model makes of it ---------------------------------------------------------------------------------------

  /** @param {Item} item @param {Standing} standing */
  #painted(item, { unusual, map }) {
    const { model } = this.page.gallery;
    /** @param {string} address @param {string} alt @param {string} words */
    const picture = (address, alt, words) => h("figure", {}, framed(address, alt), h("figcaption", {}, words));
    const seen = model.has_decoder && [
      picture(item.thumb, `${item.name}, small`, "The picture"),
      picture(this.analyses.reconstructionAddress(item.id, model.id), "The picture as the model paints it from its code", `Painted from the ${count(model.dims)} numbers that the model keeps of it`),
      picture(this.analyses.errorMapAddress(item.id, model.id), "Error map: bright where the painted picture differs", "What is lost: black is equal, white differs most"),
    ];
    const figures = [...(seen || []), ...(map ? [this.#onMap(map)] : [])];
    if (!figures.length && !unusual.length) return null;
    const link = unusual.length ? h("a", { class: "button quiet", ...this.#link("outliers", { by: unusual[0].by }) }, icon("outliers"), h("span", {}, "All outliers")) : null;
    const ranks = h("ul", { class: "item-ranks", role: "list" }, unusual.map((rank) => h("li", {}, rankWords(rank))));
    return part("As the model sees it", link, h("div", { class: "item-seen" }, figures), ranks);
  }

  /** @param {Rest.MapPlaceOut} map */
  #onMap(map) {
    const words = `On the map: cluster ${map.cluster + 1}, with ${plural(map.count - 1, "other", "others")}`;
    const place = h("a", { class: "item-map frame", "aria-label": "Open the map here", ...this.#link("map", { id: this.id }) });
    const figure = h("figure", {}, place, h("figcaption", {}, words));
    this.#drawMap(figure, place, map, words);
    return figure;
  }

  /** @param {HTMLElement} figure @param {HTMLElement} place @param {Rest.MapPlaceOut} spot @param {string} words */
  async #drawMap(figure, place, spot, words) {
    const { signal } = this.withdrawn;
    if (!this.shown) return;
    try {
      this.shown.points ??= readMap(await this.analyses.map([], POINTS, signal));
      place.append(smallMap(this.shown.points, spot, words, signal));
    } catch (error) {
      if (!isWithdrawn(error)) figure.remove(); // the map was taken away meanwhile
    }
  }

  /** @param {Item} item @param {Standing} standing */
  #copies(item, { duplicates }) {
    if (!duplicates) return null;
    const others = duplicates.members.filter((member) => member.item.id !== item.id);
    const kept = duplicates.members[0];
    const words = kept.item.id === item.id
      ? `Of these, this one is suggested to be kept: ${kept.why}.`
      : `Suggested to be kept: ${kept.item.name}, ${kept.why}.`;
    const link = h("a", { class: "button quiet", ...this.#link("duplicates", { group: duplicates.id }) }, icon("duplicates"), h("span", {}, "Review"));
    const list = h(
      "ul",
      { class: "item-copies", role: "list" },
      others.map((member) =>
        h(
          "li",
          {},
          h("a", { ...this.#link(`item/${member.item.id}`) }, h("img", { src: member.item.thumb, alt: "", loading: "lazy" }), h("span", { class: "path" }, member.item.path)),
        ),
      ),
    );
    return part(others.length === 1 ? "A duplicate of it" : `${count(others.length)} duplicates of it`, link, h("p", { class: "quiet-words" }, words), list);
  }

  /** @param {Rest.HitOut[]} hits */
  #alike(hits) {
    if (!hits.length) return null;
    this.grid.clear();
    this.grid.add(hits);
    const link = h("a", { class: "button quiet", ...this.#link("search", { id: this.id }) }, icon("search"), h("span", {}, "All neighbours"));
    return part("Most like it", link, this.grid.element);
  }
}

/** @param {string} title @param {HTMLElement | null} link @param {...HTMLElement} children */
function part(title, link, ...children) {
  return h("section", { class: "item-part" }, h("div", { class: "section-head" }, h("h2", {}, title), link), children);
}

/** @param {string} title @param {[string, string | HTMLElement][]} rows */
function table(title, rows) {
  return h(
    "section",
    {},
    h("h2", { class: "item-subtitle" }, title),
    h("dl", { class: "facts" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
  );
}

/** @param {string} source @param {string} alt */
function framed(source, alt) {
  const picture = h("img", { src: source, alt, loading: "lazy" });
  const frame = h("div", { class: "frame" }, picture);
  picture.addEventListener("error", () => frame.classList.add("broken"));
  return frame;
}

/** How unusual it is, as a sentence. @param {Rest.RankOut} rank */
function rankWords({ by, rank, total, percentile, unusual }) {
  const share = `${percentile < 99.95 ? percentile.toFixed(percentile > 99 ? 1 : 0) : "almost 100"} %`;
  const measured = by === "reconstruction" ? `Painted worse than ${share} of this gallery` : `Farther from its neighbours than ${share} of this gallery`;
  const usual = unusual === null ? "" : unusual ? ": unusual for this model." : ": usual for this model.";
  return `${measured} (${count(rank)} of ${count(total)})${usual || "."}`;
}

/** @param {Item} item */
function fullAddress(item) {
  const address = new URL(item.image, location.href);
  address.searchParams.set("size", "full");
  address.searchParams.set("format", "jpeg");
  return address.pathname + address.search;
}

/** Grey places where all will be. */
function skeleton() {
  const box = (/** @type {string} */ kind) => h("div", { class: `tile skeleton ${kind}`, "aria-hidden": "true" }, h("div", { class: "tile-picture" }));
  return [h("div", { class: "item-table", "aria-busy": "true" }, box("item-stage"), box("item-side"))];
}
