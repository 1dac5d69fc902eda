/** The page: which view the address asks for, the history, and what all views share. */

import { Api, homeOf, Problem, queryParameters, SERVER_GONE } from "./api.js";
import { motionIsReduced, need, opensElsewhere, targetOf } from "./parts/dom.js";
import { takeEverywhere } from "./parts/drop_target.js";
import { begin } from "./parts/in_flight.js";
import { announce, note } from "./parts/messages.js";
import { JobsBadge, markView, openMenus } from "./parts/navigation.js";
import { listenForShortcuts, showShortcuts } from "./parts/shortcuts.js";
import { problemState } from "./parts/states.js";
import { remember, remembered } from "./parts/storage.js";
import { Tray } from "./parts/tray.js";
import { ServerApi } from "./server_api.js";
import { drawerOf, fetchView, viewAt, VIEWS } from "./views.js";

const PRODUCT = "Lookalike";
const THEMES = ["auto", "light", "dark"];
const IDLE = 2_000; // milliseconds after which what comes next is fetched although the window has not come to rest
const KEPT_ANSWERS = 30; // of the last entries of the history, so that Back is instant

/** @typedef {Record<string, string | number | boolean | null | undefined>} Parameters Of an address; null is left out. */
/** @typedef {{name: string, items: number, model: string, semantic: boolean, paints: boolean}} Searchable A gallery to choose for a search. */

export class Page {
  constructor() {
    const given = JSON.parse(need("#page-data").textContent ?? "");
    /**
     * The gallery that is shown, or that the reader of a view of the server came from. Where none is served it is null,
     * and only views of the server are shown.
     *
     * @type {Rest.GalleryOut}
     */
    this.gallery = given.gallery;
    /** @type {Record<"image_bytes" | "sample" | "neighbours" | "reach" | "listed" | "choices" | "beta" | "frames" | "morph_pixels", number>} */
    this.limits = given.limits;
    /** @type {string[]} Names of all galleries that are served. */
    this.galleries = given.galleries;
    /** @type {Searchable[]} All galleries that a search can go through; none where there is only one. */
    this.searchable = given.searchable;
    /** @type {{read: boolean, write: boolean, admin: boolean}} What the reader's token allows. */
    this.may = given.may;
    this.first = true; // nothing but what the server drew has been shown
    /** @type {any} The API's answer to what the address asks, already here; for the first view only. */
    this.initial = given.initial;
    /** @type {{urls: boolean}} What the server does. */
    this.features = given.features;
    /** @type {Rest.FacetsOut | null} The values to filter by, counted for the first view. */
    this.facets = given.facets;
    /** @type {boolean | null} Whether there is anything to filter by; null: nobody has looked yet. */
    this.filterable = null;
    /** @type {string} Of the gallery. */
    this.root = given.root;
    /** @type {string} Of the server. */
    this.top = given.top;
    this.api = new Api(given.api);
    this.server = new ServerApi(given.server);
    this.main = need("main");
    this.lightbox = new LateLightbox();
    this.tray = new Tray(this.gallery?.name ?? "");
    /** @type {Map<string, any>} Key of a history entry -> what its view wants to have again. */
    this.kept = new Map();
    /** @type {Map<string, number>} Key of a history entry -> how far it was scrolled. */
    this.places = new Map();
    /** @type {Map<string, import("./parts/drop_target.js").Dropped>} Key of a history entry -> the file or item that it was opened with. */
    this.asked = new Map();
    /** @type {import("./views.js").View | null} */
    this.view = null;
    this.key = "";
    /** @type {JobsBadge} */
    this.jobs = new JobsBadge(this.server);
  }

  async begin() {
    history.scrollRestoration = "manual";
    if (!history.state?.key) history.replaceState({ key: newKey(), seed: this.initial?.seed }, "");
    this.key = history.state.key;
    addEventListener("popstate", () => this.#popped());
    addEventListener("scroll", () => this.places.set(this.key, scrollY), { passive: true });
    addEventListener("pagehide", () => history.replaceState({ ...history.state, scroll: scrollY }, ""));
    document.addEventListener("click", (event) => this.#followLink(event));
    takeEverywhere((taken, slot) => this.take(taken, slot), () => this.view?.drops);
    listenForShortcuts(this);
    this.#header();
    if (this.gallery) this.#showTray();
    openMenus();
    await this.#render();
    scrollTo(0, history.state.scroll ?? 0);
    this.initial = null;
    this.first = false;
    document.documentElement.dataset.ready = "";
    whenIdle(() => this.#fetchNext());
  }

  /** The bar of the tray comes with the first picture on it. */
  #showTray() {
    const show = async () => new (await import("./parts/tray_bar.js")).TrayBar(this);
    if (this.tray.size) show();
    else this.tray.addEventListener("change", show, { once: true });
  }

  /** The page can be used: what its reader is likely to want next need not be waited for then. */
  #fetchNext() {
    this.jobs.look();
    if (!this.gallery) return;
    const countAhead = async () => (await import("./parts/facet_chips.js")).countAhead(this);
    const next = [fetchView("search").then(countAhead), import("./parts/picture_menu.js"), import("./parts/lightbox.js")];
    Promise.allSettled(next); // what does not come now is asked for again when it is wanted
  }

  // Addresses --------------------------------------------------------------------------------------------------------

  /** @param {string} name */
  parameter(name) {
    return new URLSearchParams(location.search).get(name);
  }

  /**
   * Where a view is: `address("search", {id: "7"})`
   *
   * @param {string} view
   * @param {Parameters} parameters
   * @param {string | null} gallery Another one than this.
   */
  address(view, parameters = {}, gallery = null) {
    const { everywhere } = VIEWS[view] ?? {};
    const all = everywhere ? { gallery: this.#cameFrom(), ...parameters } : parameters;
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(all)) if (value !== null && value !== undefined) query.set(name, String(value));
    const root = gallery ? `${this.top}g/${encodeURIComponent(gallery)}/` : this.root;
    return (everywhere ? this.top : root) + view + (query.size ? `?${query}` : "");
  }

  /** Where the neighbours of a picture are, which another gallery may have. @param {string} id @param {Parameters} parameters */
  neighboursOf(id, parameters = {}) {
    const home = homeOf(id);
    return this.address("search", { ...queryParameters(home.id), ...parameters }, home.gallery);
  }

  /** What the address of a view of the server says of the gallery the reader came from; nothing where it is the first. */
  #cameFrom() {
    return this.gallery && this.gallery.name !== this.galleries[0] ? this.gallery.name : null;
  }

  /**
   * Open a view as a new entry of the history.
   *
   * @param {string} view
   * @param {Parameters} parameters
   * @param {import("./parts/drop_target.js").Dropped | null} asked What it is opened with.
   * @param {string | null} gallery Another one than this: the page is fetched anew.
   */
  async go(view, parameters = {}, asked = null, gallery = null) {
    if (gallery) return location.assign(this.address(view, parameters, gallery));
    const key = newKey();
    history.pushState({ key }, "", this.address(view, parameters));
    if (asked) this.asked.set(key, asked);
    await this.#enter(key);
    scrollTo(0, 0);
  }

  /** Change parameters of the address that is shown; null takes one away. @param {Parameters} parameters */
  amend(parameters) {
    const address = new URL(location.href);
    for (const [name, value] of Object.entries(parameters)) {
      if (value === null || value === undefined) address.searchParams.delete(name);
      else address.searchParams.set(name, String(value));
    }
    history.replaceState(history.state, "", address);
  }

  /**
   * Give the entry that is shown its address, now that the server has named the query.
   *
   * @param {string} view
   * @param {Parameters} parameters
   * @param {unknown} answer
   */
  became(view, parameters, answer) {
    history.replaceState(history.state, "", this.address(view, parameters));
    this.remember(answer);
  }

  /** The number that chooses the random pictures of this entry: the same after Back. @returns {number} */
  seed() {
    return history.state.seed ?? this.newSeed();
  }

  newSeed() {
    const seed = crypto.getRandomValues(new Uint32Array(1))[0] >>> 1;
    history.replaceState({ ...history.state, seed }, "");
    return seed;
  }

  // What a view wants to have again after Back -----------------------------------------------------------------------

  /** @param {unknown} value */
  remember(value) {
    this.kept.set(this.key, value);
    const [oldest] = this.kept.keys();
    if (this.kept.size > KEPT_ANSWERS) this.kept.delete(oldest);
  }

  remembered() {
    return this.kept.get(this.key) ?? null;
  }

  /** The facets that came with the page, once: other views ask for theirs. */
  takeFacets() {
    const { facets } = this;
    this.facets = null;
    return facets;
  }

  /** What the server drew of the first view, once. @param {string} selector @returns {HTMLElement | null} */
  takeDrawn(selector) {
    return this.first ? this.main.querySelector(selector) : null;
  }

  // Acts -------------------------------------------------------------------------------------------------------------

  /**
   * Search with a picture of the gallery; the tile's picture travels to its new place.
   *
   * @param {import("./api.js").Picture} item
   * @param {HTMLElement | null} tile
   * @param {Parameters} parameters
   */
  search(item, tile = null, parameters = {}) {
    const home = homeOf(item.id);
    const go = () => this.go("search", { ...queryParameters(home.id), ...parameters }, { item }, home.gallery);
    const picture = tile?.querySelector("img");
    if (home.gallery || !picture || !document.startViewTransition || motionIsReduced()) return go();
    picture.classList.add("travelling");
    const transition = document.startViewTransition(async () => {
      await go();
      this.main.querySelector(".query-picture img")?.classList.add("travelling");
    });
    const arrive = () => document.querySelectorAll(".travelling").forEach((one) => one.classList.remove("travelling"));
    transition.ready.catch(() => {}); // a reader who goes on at once skips it: nothing is lost
    transition.finished.then(arrive, arrive);
  }

  /**
   * Whatever was dropped, pasted or picked.
   *
   * @param {import("./parts/drop_target.js").Dropped} dropped
   * @param {HTMLElement | null} slot Where.
   */
  take = (dropped, slot = null) => {
    const { file, item, files } = dropped;
    if (files) this.view?.takeMany?.(files);
    else if (this.view?.take && file) this.view.take({ file }, slot);
    else if (this.view?.take && item) this.view.take({ item }, slot);
    else if (!this.gallery) note("There is no gallery to search in yet");
    else if (item) this.search(item);
    else this.go("search", { in: this.parameter("in") }, dropped);
  };

  async surprise() {
    if (this.view?.surprise) return this.view.surprise();
    if (!this.gallery) return;
    try {
      const [item] = await this.api.sample(1, this.newSeed());
      if (item) this.search(item);
    } catch (problem) {
      note(problem.message);
    }
  }

  /** Build the view that is shown once more, asking the server again. */
  reload() {
    this.kept.delete(this.key);
    this.#render();
  }

  /** @param {string} words */
  titled(words) {
    document.title = `${words} · ${PRODUCT}`;
  }

  // The views --------------------------------------------------------------------------------------------------------

  async #popped() {
    if (this.lightbox.isOpen) return this.lightbox.close();
    if (history.state?.key === this.key) return; // only the lightbox's own entry was left
    if (!history.state?.key) history.replaceState({ key: newKey() }, "");
    const place = this.places.get(history.state.key) ?? 0;
    await this.#enter(history.state.key);
    scrollTo(0, place);
  }

  /** @param {string} key */
  async #enter(key) {
    this.key = key;
    await this.#render();
    this.main.focus({ preventScroll: true });
  }

  /** Draw what the address shows: at once, where its module is here already. */
  async #render() {
    const name = this.#name();
    if (!this.gallery && !VIEWS[name].everywhere) return; // the server has said what is wrong
    const drawer = drawerOf(name);
    if (drawer) return this.#draw(name, drawer);
    const { key } = this;
    const end = begin();
    try {
      const fetched = await fetchView(name);
      if (this.key === key) this.#draw(name, fetched); // else the reader has gone on meanwhile
    } catch {
      if (this.key === key) this.#draw(name, unreachable);
    } finally {
      end();
    }
  }

  /** The view that the address shows; a search that asks nothing begins where all do. */
  #name() {
    const name = viewAt(location.pathname, this.root, this.top);
    const { file, url } = this.asked.get(this.key) ?? {};
    const asks = file || url || ["id", "q", "like", "unlike"].some((part) => this.parameter(part));
    return name === "search" && !asks ? "start" : name;
  }

  /** @param {string} name @param {import("./views.js").Drawer} drawer */
  #draw(name, drawer) {
    this.view?.close();
    this.view = drawer(this);
    this.main.replaceChildren(this.view.element);
    this.titled(this.view.title);
    markView(VIEWS[name].within ?? name, VIEWS[name].everywhere ? this.top + name : null);
  }

  /** @param {MouseEvent} event */
  #followLink(event) {
    if (targetOf(event, ".skip")) {
      event.preventDefault(); // a fragment would be an entry of the history that shows nothing new
      this.main.focus();
      return;
    }
    const name = targetOf(event, "a[data-view]")?.dataset.view;
    if (!name || opensElsewhere(event)) return;
    event.preventDefault();
    this.go(name === "search" ? "" : name);
  }

  #header() {
    const themeButton = need("#theme");
    const show = () => {
      const theme = remembered("theme", "auto");
      if (theme === "auto") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = theme;
      themeButton.dataset.shows = theme;
      themeButton.setAttribute("aria-label", `Theme: ${theme}`);
      themeButton.title = `Theme: ${theme}`;
    };
    themeButton.addEventListener("click", () => {
      remember("theme", THEMES[(THEMES.indexOf(remembered("theme", "auto")) + 1) % THEMES.length]);
      show();
      announce(themeButton.title);
    });
    need("#shortcuts").addEventListener("click", showShortcuts);
    show();
  }
}

/** The lightbox, whose module comes with the first picture that is opened. */
class LateLightbox {
  /** @type {import("./parts/lightbox.js").Lightbox | null} */
  #lightbox = null;

  get isOpen() {
    return this.#lightbox?.isOpen ?? false;
  }

  close() {
    this.#lightbox?.dialog.close();
  }

  /** @param {any[] | import("./parts/lightbox.js").Walk} items @param {any} item @param {import("./parts/lightbox.js").LightboxWays} ways */
  async open(items, item, ways) {
    const { Lightbox } = await import("./parts/lightbox.js");
    this.#lightbox ??= new Lightbox();
    this.#lightbox.open(items, item, ways);
  }
}

/** @param {() => void} act */
function whenIdle(act) {
  if ("requestIdleCallback" in globalThis) requestIdleCallback(act, { timeout: IDLE });
  else setTimeout(act, IDLE); // Safari
}

/** A view whose module did not come. @param {Page} page */
function unreachable(page) {
  const problem = new Problem(SERVER_GONE);
  return { element: problemState(problem, { retry: () => page.reload(), heading: "h1" }), title: problem.title, close: () => {} };
}

function newKey() {
  return crypto.getRandomValues(new Uint32Array(2)).join("-");
}

new Page().begin();
