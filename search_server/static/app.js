/** The page: which view the address asks for, the history, and what all views share. */

import { Api, Problem, queryParameters, SERVER_GONE } from "./api.js";
import { motionIsReduced } from "./parts/dom.js";
import { takeEverywhere } from "./parts/drop_target.js";
import { Lightbox } from "./parts/lightbox.js";
import { announce, note } from "./parts/messages.js";
import { listenForShortcuts, showShortcuts } from "./parts/shortcuts.js";
import { problemState } from "./parts/states.js";
import { remember, remembered } from "./parts/storage.js";
import { Tray } from "./parts/tray.js";
import { drawerOf, fetchView, viewAt, VIEWS } from "./views.js";

const PRODUCT = "Lookalike";
const THEMES = ["auto", "light", "dark"];
const KEPT_ANSWERS = 30; // of the last entries of the history, so that Back is instant

export class Page {
  constructor() {
    const given = JSON.parse(document.getElementById("page-data").textContent);
    /** @type {{name: string, items: number, model: {has_decoder: boolean, semantic_dims: number}, provider: {used: string}}} */
    this.gallery = given.gallery;
    /** @type {{image_bytes: number, sample: number, neighbours: number, reach: number, listed: number, beta: number, frames: number, morph_pixels: number}} */
    this.limits = given.limits;
    this.initial = given.initial; // the API's answer to what the address asks, already here; for the first view only
    this.facets = given.facets; // the values to filter by, counted for the first view
    this.root = given.root; // of the gallery
    this.top = given.top; // of the server
    this.api = new Api(given.api);
    this.main = document.querySelector("main");
    this.lightbox = new Lightbox();
    this.tray = new Tray(this.gallery.name);
    this.kept = new Map(); // key of a history entry -> what its view wants to have again
    this.places = new Map(); // key of a history entry -> how far it was scrolled
    this.asked = new Map(); // key of a history entry -> the file or item that it was opened with
  }

  async begin() {
    history.scrollRestoration = "manual";
    if (!history.state?.key) history.replaceState({ key: newKey(), seed: this.initial?.seed }, "");
    this.key = history.state.key;
    addEventListener("popstate", () => this.#popped());
    addEventListener("scroll", () => this.places.set(this.key, scrollY), { passive: true });
    addEventListener("pagehide", () => history.replaceState({ ...history.state, scroll: scrollY }, ""));
    document.addEventListener("click", (event) => this.#followLink(event));
    takeEverywhere((taken, slot) => this.take(taken, slot));
    listenForShortcuts(this);
    this.#header();
    await this.#render();
    scrollTo(0, history.state.scroll ?? 0);
    this.initial = null;
    document.documentElement.dataset.ready = "";
  }

  // Addresses --------------------------------------------------------------------------------------------------------

  parameter(name) {
    return new URLSearchParams(location.search).get(name);
  }

  /** Where a view is: `address("search", {id: "7"})` */
  address(view, parameters = {}) {
    const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined));
    const root = VIEWS[view]?.everywhere ? this.top : this.root;
    return root + view + (query.size ? `?${query}` : "");
  }

  /** Open a view as a new entry of the history. */
  async go(view, parameters = {}, asked = null) {
    const key = newKey();
    history.pushState({ key }, "", this.address(view, parameters));
    if (asked) this.asked.set(key, asked);
    await this.#enter(key);
    scrollTo(0, 0);
  }

  /** Change parameters of the address that is shown; null takes one away. */
  amend(parameters) {
    const address = new URL(location.href);
    for (const [name, value] of Object.entries(parameters)) {
      if (value === null) address.searchParams.delete(name);
      else address.searchParams.set(name, value);
    }
    history.replaceState(history.state, "", address);
  }

  /** Give the entry that is shown its address, now that the server has named the query. */
  became(view, parameters, answer) {
    history.replaceState(history.state, "", this.address(view, parameters));
    this.remember(answer);
  }

  /** The number that chooses the random pictures of this entry: the same after Back. */
  seed() {
    return history.state.seed ?? this.newSeed();
  }

  newSeed() {
    const seed = crypto.getRandomValues(new Uint32Array(1))[0] >>> 1;
    history.replaceState({ ...history.state, seed }, "");
    return seed;
  }

  // What a view wants to have again after Back -----------------------------------------------------------------------

  remember(value) {
    this.kept.set(this.key, value);
    if (this.kept.size > KEPT_ANSWERS) this.kept.delete(this.kept.keys().next().value);
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

  // Acts -------------------------------------------------------------------------------------------------------------

  /** Search with a picture of the gallery; the tile's picture travels to its new place. */
  search(item, tile = null, parameters = {}) {
    const go = () => this.go("search", { ...queryParameters(item.id), ...parameters }, { item });
    const picture = tile?.querySelector("img");
    if (!picture || !document.startViewTransition || motionIsReduced()) return go();
    picture.classList.add("travelling");
    const transition = document.startViewTransition(async () => {
      await go();
      this.main.querySelector(".query-picture img")?.classList.add("travelling");
    });
    const arrive = () => document.querySelectorAll(".travelling").forEach((one) => one.classList.remove("travelling"));
    transition.ready.catch(() => {}); // a reader who goes on at once skips it: nothing is lost
    transition.finished.then(arrive, arrive);
  }

  /** Whatever was dropped, pasted or picked. */
  take = (taken, slot = null) => {
    if (this.view?.take) this.view.take(taken, slot);
    else if (taken.item) this.search(taken.item);
    else this.go("search", {}, { file: taken.file });
  };

  async surprise() {
    if (this.view?.surprise) return this.view.surprise();
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

  titled(words) {
    document.title = `${words} · ${PRODUCT}`;
  }

  // The views --------------------------------------------------------------------------------------------------------

  async #popped() {
    if (this.lightbox.isOpen) return this.lightbox.dialog.close();
    if (history.state?.key === this.key) return; // only the lightbox's own entry was left
    if (!history.state?.key) history.replaceState({ key: newKey() }, "");
    const place = this.places.get(history.state.key) ?? 0;
    await this.#enter(history.state.key);
    scrollTo(0, place);
  }

  async #enter(key) {
    this.key = key;
    await this.#render();
    this.main.focus({ preventScroll: true });
  }

  /** Draw what the address shows: at once, where its module is here already. */
  async #render() {
    const name = viewAt(location.pathname, this.root, this.top);
    const drawer = drawerOf(name);
    if (drawer) return this.#draw(name, drawer);
    const { key } = this;
    try {
      const fetched = await fetchView(name);
      if (this.key === key) this.#draw(name, fetched); // else the reader has gone on meanwhile
    } catch {
      if (this.key === key) this.#draw(name, unreachable);
    }
  }

  #draw(name, drawer) {
    this.view?.close();
    this.view = drawer(this);
    this.main.replaceChildren(this.view.element);
    this.titled(this.view.title);
    for (const link of document.querySelectorAll("a[data-view]")) {
      if (link.dataset.view === name) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  #followLink(event) {
    if (event.target.closest?.(".skip")) {
      event.preventDefault(); // a fragment would be an entry of the history that shows nothing new
      this.main.focus();
      return;
    }
    const link = event.target.closest?.("a[data-view]");
    if (!link || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    this.go(link.dataset.view === "search" ? "" : link.dataset.view);
  }

  #header() {
    const themeButton = document.getElementById("theme");
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
    document.getElementById("shortcuts").addEventListener("click", showShortcuts);
    show();
  }
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
