/** The pictures that are unlike all others, the most unusual first: badly painted, or far from their neighbours. */

import { AnalysesApi } from "../analyses_api.js";
import { isWithdrawn } from "../api.js";
import { Computation } from "../parts/computation.js";
import { button, h, icon, need, opensElsewhere, targetOf } from "../parts/dom.js";
import { announce, note } from "../parts/messages.js";
import { problemState, state } from "../parts/states.js";
import { count, plural } from "../parts/words.js";

const RANKED = 48; // that are fetched at a time
/** @typedef {Omit<Rest.AnomaliesOut, "by" | "stale">} Shown */

/** @type {Record<string, {words: string, explained: string}>} */
const MEASURES = {
  reconstruction: {
    words: "Painted worst",
    explained: "The model paints each picture again from the numbers that it keeps of it. Where the copy is bad, the picture is unlike what the model has learned: another kind of picture, a broken file, text, noise.",
  },
  distance: {
    words: "Farthest from others",
    explained: "Each picture is compared with its five nearest neighbours. Where even those are far, there is nothing like it in this gallery.",
  },
};

/** @param {import("../app.js").Page} page */
export function outliersView(page) {
  return new OutliersView(page).view();
}

class OutliersView {
  /** @param {import("../app.js").Page} page */
  constructor(page) {
    this.page = page;
    this.analyses = new AnalysesApi(page.api.base);
    this.withdrawn = new AbortController();
    this.paints = page.gallery.model.has_decoder;
    const asked = page.parameter("by");
    /** @type {string} */
    this.by = asked && asked in MEASURES && (this.paints || asked !== "reconstruction") ? asked : this.paints ? "reconstruction" : "distance";
    this.list = h("ol", { class: "ranking", role: "list", "aria-label": "Outliers, the most unusual first" });
    this.foot = h("div", { class: "results-foot" });
    this.notice = h("div", {});
    this.body = h("div", {}, this.notice, this.list, this.foot);
    this.element = h("div", { class: "outliers" }, this.#head(), this.body);
    /** @type {Shown} */
    this.shown = { items: [], next_cursor: null, total: 0 };
    this.fetching = false;
    this.watcher = new IntersectionObserver(([entry]) => entry.isIntersecting && this.#more(), { rootMargin: "900px" });
  }

  view() {
    const { initial } = this.page;
    const kept = this.page.remembered() ?? (initial?.by === this.by ? { ...initial, items: [...initial.items] } : null);
    if (kept) this.#add(kept);
    else this.#more();
    this.page.tray.addEventListener("change", this.#marks);
    return {
      element: this.element,
      title: "Outliers",
      close: () => {
        this.withdrawn.abort();
        this.watcher.disconnect();
        this.page.tray.removeEventListener("change", this.#marks);
      },
      keys: { x: () => /** @type {HTMLElement | null | undefined} */ (document.activeElement?.closest(".outlier")?.querySelector("[data-act=tray]"))?.click() },
    };
  }

  #head() {
    const choices = Object.entries(MEASURES).filter(([by]) => this.paints || by !== "reconstruction");
    const radio = (/** @type {[string, {words: string}]} */ [by, { words }]) =>
      h("label", {}, h("input", { type: "radio", name: "by", value: by, checked: by === this.by, onchange: () => this.#measure(by) }), h("span", {}, words));
    return h(
      "div",
      { class: "outliers-head" },
      h("div", { class: "section-head" }, h("h1", {}, "Outliers"), choices.length > 1 && h("fieldset", { class: "segments" }, h("legend", { class: "visually-hidden" }, "Measured by"), choices.map(radio))),
      h("p", { class: "quiet-words" }, MEASURES[this.by].explained),
    );
  }

  /** @param {string} by */
  async #measure(by) {
    await this.page.go("outliers", { by });
    need(`input[name="by"][value="${by}"]`).focus();
  }

  async #more() {
    if (this.fetching) return;
    this.fetching = true;
    if (!this.shown.items.length) this.list.replaceChildren(...Array.from({ length: 8 }, () => h("li", { class: "outlier tile skeleton", "aria-hidden": "true" }, h("div", { class: "tile-picture" }))));
    try {
      this.#add(await this.analyses.outliers(this.by, this.shown.next_cursor, RANKED, this.withdrawn.signal));
    } catch (error) {
      if (isWithdrawn(error)) return;
      if (error.code === "not_computed") return this.#offer();
      const problem = problemState(error, { retry: () => this.#more() });
      if (this.shown.items.length) this.foot.replaceChildren(problem);
      else this.body.replaceChildren(problem);
    } finally {
      this.fetching = false;
    }
  }

  /** @param {Rest.AnomaliesOut} answer */
  #add(answer) {
    if (!this.shown.items.length) this.list.replaceChildren();
    this.list.append(...answer.items.map((each) => this.#outlier(each)));
    this.shown = { ...answer, items: [...this.shown.items, ...answer.items] };
    this.page.remember(this.shown);
    this.watcher.disconnect();
    if (!this.shown.total) return this.body.replaceChildren(state({ iconName: "outliers", title: "This gallery has no pictures yet", text: "Add some, then look for outliers." }));
    if (answer.stale) this.notice.replaceChildren(h("p", { class: "notice" }, icon("warning"), h("span", {}, "Pictures have come or gone since this was measured."), this.page.may.write && button("loop", "Measure again", () => this.#again(), { class: "button quiet" })));
    if (answer.next_cursor) {
      this.foot.replaceChildren(button("outliers", "Show more", () => this.#more(), { class: "button more" }));
      this.watcher.observe(this.foot);
    } else this.foot.replaceChildren(h("p", { class: "quiet-words" }, "These are all, the most usual last."));
    announce(`${plural(this.shown.items.length, "picture", "pictures")} of ${count(this.shown.total)}`);
  }

  /** @param {Rest.AnomalyOut} each */
  #outlier(each) {
    const { item, rank } = each;
    const { model } = this.page.gallery;
    /** @param {string} source @param {string} alt @param {string} words */
    const figure = (source, alt, words) => h("figure", {}, h("div", { class: "frame" }, h("img", { src: source, alt, loading: "lazy", onerror: (event) => targetOf(event)?.parentElement?.classList.add("broken") })), h("figcaption", {}, words));
    const address = this.page.address(`item/${item.id}`);
    const open = (/** @type {MouseEvent} */ event) => {
      if (opensElsewhere(event)) return;
      event.preventDefault();
      this.page.go(`item/${item.id}`);
    };
    return h(
      "li",
      { class: "outlier", data: { id: item.id } },
      h("a", { class: "outlier-picture frame", href: address, onclick: open }, h("img", { src: item.image, alt: item.name, width: item.width, height: item.height, loading: rank < 9 ? "eager" : "lazy" })),
      this.paints &&
        h(
          "div",
          { class: "outlier-seen" },
          figure(this.analyses.reconstructionAddress(item.id, model.id), `${item.name} as the model paints it`, "Painted"),
          figure(this.analyses.errorMapAddress(item.id, model.id), `Error map of ${item.name}: bright where it differs`, "Error"),
        ),
      h(
        "div",
        { class: "outlier-words" },
        h("p", { class: "outlier-name" }, h("span", { class: "rank" }, `${count(rank)}.`), " ", item.name),
        h("p", { class: "quiet-words" }, this.#words(each)),
      ),
      h(
        "div",
        { class: "actions" },
        button("similar", "More like this", () => this.page.search(item), { class: "button quiet", "aria-label": `More like ${item.name}` }),
        this.#trayButton(item),
      ),
    );
  }

  /** @param {Rest.AnomalyOut} each */
  #words({ value, unusual }) {
    if (this.by === "distance") return `Its neighbours are ${value.toFixed(2)} away, of at most 2`;
    const usual = unusual === null ? "" : unusual ? ": more than 99 % of what the model learned from" : ": usual for the model";
    return `Error ${value.toFixed(4)}${usual}`;
  }

  /** @param {Rest.ItemOut} item */
  #trayButton(item) {
    const put = () => {
      const { tray } = this.page;
      if (tray.has(item.id)) tray.remove(item.id);
      else if (tray.add([item])) note("The tray is full: take some pictures out first");
    };
    const kept = this.page.tray.has(item.id);
    return button(kept ? "check" : "plus", "Tray", put, { class: "button quiet", "aria-pressed": String(kept), "aria-label": `${item.name} on the tray`, data: { act: "tray" } });
  }

  /** Show which of them are on the tray now. */
  #marks = () => {
    for (const element of /** @type {NodeListOf<HTMLElement>} */ (this.list.querySelectorAll(".outlier[data-id]"))) {
      const kept = this.page.tray.has(element.dataset.id ?? "");
      const put = need("[data-act=tray]", element);
      if (put.getAttribute("aria-pressed") === String(kept)) continue;
      put.setAttribute("aria-pressed", String(kept));
      put.querySelector(".icon")?.replaceWith(icon(kept ? "check" : "plus"));
    }
  };

  #offer() {
    const computation = this.#computation();
    this.body.replaceChildren(computation.element);
    computation.offer();
  }

  #again() {
    const computation = this.#computation();
    this.body.replaceChildren(computation.element);
    computation.begin({ icon: "", words: "", begin: (signal) => this.analyses.findOutliers(signal) });
  }

  #computation() {
    return new Computation(
      this.analyses,
      this.page.gallery.name,
      {
        kind: "outliers",
        iconName: "outliers",
        title: "Nobody has looked for outliers yet",
        text: this.paints
          ? `All ${plural(this.page.gallery.items, "picture is", "pictures are")} painted from their codes and compared with the originals, and with their neighbours.`
          : `All ${plural(this.page.gallery.items, "picture is", "pictures are")} compared with their neighbours.`,
        starts: [{ icon: "outliers", words: "Look for outliers", begin: (signal) => this.analyses.findOutliers(signal) }],
        may: this.page.may.write,
        mayStop: this.page.may.admin,
        done: () => this.page.reload(),
      },
      this.withdrawn.signal,
    );
  }
}
