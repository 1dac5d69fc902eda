/** All pictures on a plane, those alike near each other: to walk through, to choose from, to find a place in. */

import { AnalysesApi } from "../analyses_api.js";
import { isWithdrawn, queryParameters } from "../api.js";
import { onThemeChange } from "../parts/colours.js";
import { Computation } from "../parts/computation.js";
import { button, h, icon, iconButton, opensElsewhere } from "../parts/dom.js";
import { announce, note } from "../parts/messages.js";
import { PaintingApi } from "../painting_api.js";
import { problemState, state } from "../parts/states.js";
import { remember, remembered } from "../parts/storage.js";
import { plural } from "../parts/words.js";
import { AS_INDEXED } from "../search/weight_slider.js";
import { INCLUDED } from "./colouring.js";
import { Legend } from "./legend.js";
import { readMap } from "./map_columns.js";
import { MapList } from "./map_list.js";
import { MapStage } from "./map_stage.js";
import { PointCard } from "./point_card.js";
import { shuffled } from "./points.js";

const NEIGHBOURS = 24; // of a search that is shown
const FRAMES = 24; // of a morph's path, from one picture to the next
const TRAY = 100; // pictures: what the tray holds

/** @type {{base: string, map: import("./map_columns.js").MapData} | null} The map that was shown last, for Back: one is enough, they are large. */
let latest = null;

/** @param {import("../app.js").Page} page */
export function mapView(page) {
  return new MapView(page).view();
}

class MapView {
  /** @type {import("./map_columns.js").MapData} */
  map;
  /** @type {MapStage} */
  stage;
  /** @type {MapList} */
  list;
  /** @type {Legend} */
  legend;
  /** @type {PointCard} */
  card;
  /** @type {number[]} What is chosen. */
  rows = [];
  bar = h("div", { class: "map-bar", hidden: true });
  about = h("p", { class: "quiet-words" });
  /** @type {HTMLElement} */
  toolBar;
  /** @type {HTMLElement} */
  pictureButton;

  /** @param {import("../app.js").Page} page */
  constructor(page) {
    this.page = page;
    this.analyses = new AnalysesApi(page.api.base);
    this.withdrawn = new AbortController();
    this.element = h("div", { class: "map" });
  }

  view() {
    this.#begin();
    const stage = (/** @type {"showAll"} */ act) => () => this.stage?.[act]();
    return {
      element: this.element,
      title: "Map",
      grid: undefined,
      close: () => this.#close(),
      keys: {
        "+": () => this.stage?.zoomBy(1.5),
        "=": () => this.stage?.zoomBy(1.5),
        "-": () => this.stage?.zoomBy(1 / 1.5),
        0: stage("showAll"),
        v: () => this.#takeTool("move"),
        b: () => this.#takeTool("box"),
        l: () => this.#takeTool("lasso"),
        p: () => this.#togglePictures(),
        w: () => this.#listHere(),
        x: () => this.#toTray(),
      },
    };
  }

  #close() {
    this.withdrawn.abort();
    this.stage?.close();
    this.list?.close();
  }

  async #begin() {
    const patience = setTimeout(() => this.element.replaceChildren(h("div", { class: "map-stage skeleton tile", "aria-busy": "true" }, h("div", { class: "tile-picture" }))), 200);
    try {
      const { base } = this.analyses;
      const isBack = this.page.remembered() !== null && latest?.base === base;
      const map = isBack && latest ? latest.map : shuffled(readMap(await this.analyses.map(INCLUDED, null, this.withdrawn.signal)));
      latest = { base, map };
      this.page.remember({ seen: true });
      if (map.count) this.#show(map);
      else this.element.replaceChildren(h("h1", { class: "visually-hidden" }, "Map"), state({ iconName: "map", title: "This gallery has no pictures yet", text: "Add some, then draw the map." }));
    } catch (error) {
      if (isWithdrawn(error)) return;
      if (error.code === "not_computed") this.#offer();
      else this.element.replaceChildren(problemState(error, { heading: "h1", retry: () => this.page.reload() }));
    } finally {
      clearTimeout(patience);
    }
  }

  // Drawing it -------------------------------------------------------------------------------------------------------

  async #offer() {
    const withUmap = await this.analyses.canDrawByUmap(this.withdrawn.signal).catch(() => false);
    if (this.withdrawn.signal.aborted) return;
    const computation = this.#computation(withUmap);
    this.element.replaceChildren(h("h1", { class: "visually-hidden" }, "Map"), computation.element);
    computation.offer();
  }

  /** @param {boolean} withUmap */
  #computation(withUmap) {
    /** @param {"pca" | "umap"} method @param {string} iconName @param {string} words */
    const start = (method, iconName, words) => ({ icon: iconName, words, begin: (/** @type {AbortSignal} */ signal) => this.analyses.drawMap(method, signal) });
    return new Computation(
      this.analyses,
      this.page.gallery.name,
      {
        kind: "map",
        iconName: "map",
        title: "The map is not drawn yet",
        text: `All ${plural(this.page.gallery.items, "picture", "pictures")} on a plane, those alike near each other. Along the two main axes (PCA) it is there in a moment${withUmap ? "; UMAP takes longer and keeps neighbours together" : ""}.`,
        starts: [start("pca", "map", "Draw it now"), ...(withUmap ? [start("umap", "palette", "Draw it with UMAP")] : [])],
        may: this.page.may.write,
        mayStop: this.page.may.admin,
        done: () => this.page.reload(),
      },
      this.withdrawn.signal,
    );
  }

  /** @param {"pca" | "umap"} method */
  #again(method) {
    const computation = this.#computation(false);
    this.stage.close();
    this.element.replaceChildren(h("h1", { class: "visually-hidden" }, "Map"), computation.element);
    computation.begin({ icon: "", words: "", begin: (signal) => this.analyses.drawMap(method, signal) });
  }

  // What is shown ----------------------------------------------------------------------------------------------------

  /** @param {import("./map_columns.js").MapData} map */
  #show(map) {
    const { page } = this;
    this.map = map;
    this.stage = new MapStage(map, {
      label: `Map of ${plural(map.count, "picture", "pictures")}. Arrows move it, plus and minus zoom, W lists what is here, B and L choose pictures.`,
      analyses: this.analyses,
      signal: this.withdrawn.signal,
      renderer: page.parameter("renderer"), // to find out which of them is to blame
      moved: (words) => page.amend({ view: words }),
      pointed: (row, x, y) => this.card.hint(row, x, y),
      pressed: (row, x, y) => this.card.pin(row, x, y),
      chosen: (rows) => this.#chose(rows),
    });
    this.stage.showPictures(remembered("map.pictures", "on") === "on");
    this.card = new PointCard(page, this.stage, this.withdrawn.signal);
    this.list = new MapList(page, this.analyses, map);
    this.legend = new Legend(page, map, {
      changed: (colouring, hidden) => this.stage.colour(colouring, hidden),
      visit: (code) => this.stage.showGroup(code),
      browse: (group, rows) => this.#listGroup(group, rows),
      by: page.parameter("by"),
    });
    this.element.replaceChildren(
      h(
        "div",
        { class: "map-table" },
        h("div", { class: "map-frame" }, this.stage.element, this.card.element, this.#tools(), this.#zooms(), this.bar),
        h("aside", { class: "map-side", "aria-label": "Legend" }, h("h1", {}, "Map"), this.#words(), this.legend.element, this.#foot()),
      ),
      this.list.element,
    );
    this.legend.begin();
    this.stage.begin(page.parameter("view"));
    onThemeChange(() => this.legend.begin(), this.withdrawn.signal);
    this.#fromAddress();
    announce(`Map of ${plural(map.count, "picture", "pictures")}, ${plural(map.clusters.length, "cluster", "clusters")}`);
  }

  #words() {
    const { map } = this;
    const method = map.method === "umap" ? "UMAP: neighbours stay together" : "PCA: along the two main axes";
    this.about.textContent = `${plural(map.count, "picture", "pictures")}, ${plural(map.clusters.length, "cluster", "clusters")}. ${method}.`;
    return this.about;
  }

  #foot() {
    const { map } = this;
    const other = map.method === "pca" ? "umap" : "pca";
    const again = button("palette", other === "umap" ? "Lay out with UMAP" : "Lay out with PCA", () => this.#again(other), { class: "button quiet", hidden: other === "umap" || !this.page.may.write });
    if (other === "umap" && this.page.may.write) this.#offerUmap(again);
    return h(
      "div",
      { class: "map-foot" },
      map.stale && h("p", { class: "notice" }, icon("warning"), h("span", {}, "Pictures have come or gone since the map was drawn."), this.page.may.write && button("loop", "Draw again", () => this.#again(map.method), { class: "button quiet" })),
      again,
    );
  }

  /** @param {HTMLElement} offer Shown where UMAP is installed. */
  async #offerUmap(offer) {
    offer.hidden = !(await this.analyses.canDrawByUmap(this.withdrawn.signal).catch(() => false));
  }

  #tools() {
    /** @param {"move" | "box" | "lasso"} name @param {string} iconName @param {string} words @param {string} key */
    const tool = (name, iconName, words, key) =>
      iconButton(iconName, `${words} (${key})`, () => this.#takeTool(name), { data: { tool: name }, "aria-pressed": String(name === "move"), "aria-keyshortcuts": key });
    this.toolBar = h("div", { class: "map-tools", role: "toolbar", "aria-label": "Tools" }, tool("move", "hand", "Move", "V"), tool("box", "box", "Choose in a box", "B"), tool("lasso", "lasso", "Choose with a lasso", "L"));
    const shown = remembered("map.pictures", "on") === "on";
    this.pictureButton = iconButton("picture", "Pictures (P)", () => this.#togglePictures(), { "aria-pressed": String(shown) });
    this.toolBar.append(h("span", { class: "map-rule" }), this.pictureButton);
    return this.toolBar;
  }

  #zooms() {
    return h(
      "div",
      { class: "map-zooms", role: "toolbar", "aria-label": "Zoom" },
      iconButton("plus", "Nearer (+)", () => this.stage.zoomBy(1.6)),
      iconButton("minus", "Farther (−)", () => this.stage.zoomBy(1 / 1.6)),
      iconButton("fit", "The whole map (0)", () => this.stage.showAll()),
      iconButton("grid", "What is here (W)", () => this.#listHere()),
    );
  }

  /** @param {"move" | "box" | "lasso"} name */
  #takeTool(name) {
    this.stage.tool = name;
    for (const one of /** @type {NodeListOf<HTMLElement>} */ (this.toolBar.querySelectorAll("[data-tool]"))) one.setAttribute("aria-pressed", String(one.dataset.tool === name));
    announce(name === "move" ? "Dragging moves the map" : "Dragging chooses pictures");
  }

  #togglePictures() {
    const shown = this.pictureButton.getAttribute("aria-pressed") !== "true";
    this.pictureButton.setAttribute("aria-pressed", String(shown));
    remember("map.pictures", shown ? "on" : "off");
    this.stage.showPictures(shown);
  }

  // What is chosen ---------------------------------------------------------------------------------------------------

  /** @param {number[]} rows */
  #chose(rows) {
    this.rows = rows;
    this.bar.hidden = !rows.length;
    if (!rows.length) return;
    const words = plural(rows.length, "picture", "pictures");
    this.bar.replaceChildren(
      h("p", {}, `${words} chosen`),
      button("plus", "Put on the tray", () => this.#toTray(), { class: "button primary" }),
      button("grid", "List them", () => this.list.show(rows, `${words} chosen`)),
      iconButton("close", "Choose none", () => this.stage.choose([])),
    );
    announce(`${words} chosen`);
  }

  async #toTray() {
    const { rows } = this;
    if (!rows.length) return note("Choose pictures with the box or the lasso first");
    const some = rows.length > TRAY ? this.stage.nearestTheirMiddle(rows, TRAY) : rows;
    try {
      const items = await this.analyses.items(some.map((row) => String(this.map.columns.id[row])), this.withdrawn.signal);
      const refused = this.page.tray.add(items);
      const put = items.length - refused;
      const words = `${plural(put, "picture is", "pictures are")} on the tray`;
      note(put < rows.length ? `${words}: it holds ${TRAY}, so those nearest to the middle were taken` : words);
    } catch (error) {
      if (!isWithdrawn(error)) note(error.message);
    }
  }

  #listHere() {
    const rows = this.stage.seen();
    this.list.show(rows, `${plural(rows.length, "picture", "pictures")} here, those in the middle first`);
  }

  /** @param {import("./colouring.js").Group} group @param {number[]} rows */
  #listGroup(group, rows) {
    const filter = group.cluster ? JSON.stringify({ cluster: { eq: group.cluster.cluster } }) : null;
    this.list.show(rows, `${group.words}: ${plural(rows.length, "picture", "pictures")}`, filter);
  }

  // What the address asks for ----------------------------------------------------------------------------------------

  #fromAddress() {
    const { page } = this;
    const query = page.parameter("id") ?? page.parameter("q");
    const ends = (page.parameter("path") ?? "").split(",");
    if (query) this.#showQuery(query);
    if (ends.length > 1 && ends.every(Boolean)) this.#showPath(ends);
  }

  /** Where a picture lies, and its neighbours; one from outside lies where the map's axes put it, or between its neighbours. @param {string} id */
  async #showQuery(id) {
    const { api } = this.page;
    const { signal } = this.withdrawn;
    try {
      const [picture, found, place] = await Promise.all([api.picture(id, signal), api.neighbours(id, NEIGHBOURS, 0, AS_INDEXED, null, signal), this.analyses.placeOnMap(id, signal)]);
      const rows = found.hits.map((hit) => this.stage.rowOf(hit.id)).filter((row) => row >= 0);
      await this.stage.showSearch(place, rows, "thumb" in picture ? picture.thumb : picture.image, place.how === "neighbours");
      const go = (/** @type {MouseEvent} */ event) => this.#follow(event, "search", queryParameters(id));
      const link = h("a", { href: this.page.address("search", queryParameters(id)), onclick: go }, picture.name);
      this.about.after(h("p", { class: "map-query" }, link, ` and its ${plural(rows.length, "neighbour", "neighbours")}${placeWords(place)}`));
    } catch (error) {
      if (!isWithdrawn(error)) note(error.message);
    }
  }

  /**
   * The nearest real picture of each frame of a morph, one after the other.
   *
   * @param {string[]} ids Both ends, and what it leads past between them.
   */
  async #showPath(ids) {
    const { page } = this;
    try {
      const frames = FRAMES * (ids.length - 1);
      const morph = await new PaintingApi(page.api.base).morph(ids, { path: "slerp", frames }, this.withdrawn.signal);
      const passed = morph.frames.map(({ nearest }) => nearest[0]?.id).filter((id, place, all) => id && id !== all[place - 1]);
      const rows = passed.map((id) => this.stage.rowOf(id)).filter((row) => row >= 0);
      if (!rows.length) return note("The pictures of this morph came after the map was drawn");
      this.stage.showPath(rows);
      const parameters = { a: ids[0], via: ids.slice(1, -1).join(",") || null, b: ids[ids.length - 1] };
      const go = (/** @type {MouseEvent} */ event) => this.#follow(event, "morph", parameters);
      this.about.after(h("p", { class: "map-query" }, h("a", { href: page.address("morph", parameters), onclick: go }, "The morph"), ` passes ${plural(new Set(rows).size, "real picture", "real pictures")}: each is the nearest to some of its frames.`));
    } catch (error) {
      if (!isWithdrawn(error)) note(error.message);
    }
  }

  /** @param {MouseEvent} event @param {string} view @param {import("../app.js").Parameters} parameters */
  #follow(event, view, parameters) {
    if (opensElsewhere(event)) return;
    event.preventDefault();
    this.page.go(view, parameters);
  }
}

/** How the place of a picture is known, where it is no item of the map. @param {Rest.QueryPlaceOut} place */
function placeWords({ how, neighbours }) {
  if (how === "axes") return ". It is not on the map: the two main axes put it here.";
  if (how === "neighbours") return `. It is not on the map: it is drawn at the mean of where its ${plural(neighbours ?? 0, "nearest picture lies", "nearest pictures lie")}, the more alike the more.`;
  return "";
}
