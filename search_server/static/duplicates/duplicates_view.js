/** Pictures that are the same, group by group: which to keep, which are none. Nothing is ever deleted here. */

import { AnalysesApi } from "../analyses_api.js";
import { isWithdrawn } from "../api.js";
import { Computation } from "../parts/computation.js";
import { button, h, icon, opensElsewhere } from "../parts/dom.js";
import { announce, note } from "../parts/messages.js";
import { problemState, state } from "../parts/states.js";
import { count, plural } from "../parts/words.js";
import { GroupCard } from "./group_card.js";

const GROUPS = 24; // that are fetched at a time
/** @type {Record<string, string>} */
const TIERS = { near: "Nearly the same", pixels: "Same pixels", bytes: "Same file" };
/** @type {Record<string, string>} */
const EXPLAINED = {
  near: "Crops, edits, other sizes and formats, shots a moment apart: look at them before you let one go.",
  pixels: "Every pixel is equal; only the files differ, in format or in what they say of themselves.",
  bytes: "Byte for byte the same file, in several places.",
};
const SETTLED = 250; // milliseconds after which a slider that rests is asked about

/** @param {import("../app.js").Page} page */
export function duplicatesView(page) {
  return new DuplicatesView(page).view();
}

class DuplicatesView {
  /** @param {import("../app.js").Page} page */
  constructor(page) {
    this.page = page;
    this.analyses = new AnalysesApi(page.api.base);
    this.withdrawn = new AbortController();
    this.only = (page.parameter("only") ?? "") in TIERS ? page.parameter("only") : null;
    this.least = page.parameter("min") === null ? null : Number(page.parameter("min"));
    this.from = page.parameter("group"); // the group that somebody came for: the list begins with it
    /** @type {GroupCard[]} */
    this.cards = [];
    this.current = -1;
    /** @type {Rest.DuplicatesOut | null} */
    this.answer = null;
    this.fetching = false;
    this.settling = 0;
    this.reviewed = h("progress", { class: "progress", max: 1, value: 0, "aria-labelledby": "reviewed" });
    this.reviewedWords = h("p", { id: "reviewed", class: "quiet-words" });
    this.head = h("div", { class: "duplicates-head" });
    this.list = h("ol", { class: "groups", role: "list", "aria-label": "Groups of duplicates" });
    this.foot = h("div", { class: "results-foot" });
    this.body = h("div", {}, this.list, this.foot);
    this.element = h("div", { class: "duplicates" }, this.head, this.body);
    this.watcher = new IntersectionObserver(([entry]) => entry.isIntersecting && this.#more(), { rootMargin: "900px" });
  }

  view() {
    this.#headOf(null);
    const kept = this.page.remembered() ?? (this.page.initial?.groups && !this.from ? this.page.initial : null);
    if (kept?.groups) this.#begin(kept);
    else this.#ask();
    const act = (/** @type {"same" | "different" | "toggleDifference" | "forget"} */ name) => () => this.cards[this.current]?.[name]();
    return {
      element: this.element,
      title: "Duplicates",
      close: () => this.#close(),
      keys: {
        j: () => this.#move(1),
        k: () => this.#move(-1),
        ArrowDown: () => this.#move(1),
        ArrowUp: () => this.#move(-1),
        ...Object.fromEntries([..."123456789"].map((digit) => [digit, () => this.cards[this.current]?.keep(Number(digit) - 1)])),
        a: act("same"),
        n: act("different"),
        d: act("toggleDifference"),
        z: act("forget"),
      },
    };
  }

  #close() {
    this.withdrawn.abort();
    this.watcher.disconnect();
    clearTimeout(this.settling);
  }

  // The list ---------------------------------------------------------------------------------------------------------

  async #ask() {
    this.cards = [];
    this.current = -1;
    this.list.replaceChildren(...Array.from({ length: 3 }, () => h("li", { class: "group skeleton tile", "aria-hidden": "true" }, h("div", { class: "tile-picture" }))));
    this.foot.replaceChildren();
    try {
      const cursor = this.from ? String(Number(this.from) - 1) : null;
      this.#begin(await this.analyses.duplicates(this.#wanted(cursor, GROUPS), this.withdrawn.signal));
    } catch (error) {
      if (isWithdrawn(error)) return;
      if (error.code === "not_computed") this.#offer();
      else this.body.replaceChildren(problemState(error, { retry: () => this.page.reload() }));
    }
  }

  /** @param {string | null} cursor @param {number} limit */
  #wanted(cursor, limit) {
    return { only: this.only, minScore: this.least, cursor, limit };
  }

  /** @param {Rest.DuplicatesOut} answer */
  #begin(answer) {
    this.answer = { ...answer, groups: [] };
    this.list.replaceChildren();
    this.body.replaceChildren(this.list, this.foot);
    this.#headOf(this.answer);
    this.#add(answer);
    if (!answer.total) return this.#nothing();
    announce(`${plural(answer.total, "group", "groups")} of duplicates`);
    this.#choose(this.cards.findIndex((card) => !card.group.verdict), { quietly: true });
  }

  /** @param {Rest.DuplicatesOut} answer */
  #add(answer) {
    for (const group of answer.groups) {
      const card = new GroupCard(this.page, this.analyses, group, {
        judge: (ids, verdict, insteadOf) => this.#judge(card, ids, verdict, insteadOf),
        chosen: () => this.#choose(this.cards.indexOf(card), { quietly: true }),
      });
      this.cards.push(card);
      this.list.append(card.element);
    }
    const shown = this.answer ?? answer;
    if (shown !== answer) shown.groups.push(...answer.groups);
    shown.next_cursor = answer.next_cursor;
    this.page.remember(shown);
    this.watcher.disconnect();
    const rest = this.from ? [h("a", { class: "button", href: this.page.address("duplicates"), onclick: (event) => this.#follow(event, {}) }, "Show all from the beginning")] : [];
    if (answer.next_cursor) {
      this.foot.replaceChildren(button("duplicates", "Show more", () => this.#more(), { class: "button more" }));
      this.watcher.observe(this.foot);
    } else this.foot.replaceChildren(...rest, h("p", { class: "quiet-words" }, this.from ? "" : "These are all."));
  }

  async #more() {
    if (this.fetching || !this.answer?.next_cursor) return;
    this.fetching = true;
    try {
      this.#add(await this.analyses.duplicates(this.#wanted(this.answer.next_cursor, GROUPS), this.withdrawn.signal));
    } catch (error) {
      if (!isWithdrawn(error)) this.foot.replaceChildren(problemState(error, { retry: () => this.#more() }));
    } finally {
      this.fetching = false;
    }
  }

  #nothing() {
    this.foot.replaceChildren();
    const everywhere = !this.only && this.least === null;
    this.list.replaceChildren();
    this.body.replaceChildren(
      state({
        iconName: "check",
        title: everywhere ? "No duplicates" : "None of this kind",
        text: everywhere ? "Every picture of this gallery is there once." : "Another kind, or a lower similarity, may have some.",
        actions: everywhere ? [] : [button("duplicates", "Show all kinds", () => this.page.go("duplicates"), { class: "button primary" })],
      }),
    );
  }

  #offer() {
    this.head.replaceChildren(h("div", { class: "section-head" }, h("h1", {}, "Duplicates")));
    const computation = this.#computation();
    this.body.replaceChildren(computation.element);
    computation.offer();
  }

  #computation() {
    return new Computation(
      this.analyses,
      this.page.gallery.name,
      {
        kind: "duplicates",
        iconName: "duplicates",
        title: "Nobody has looked for duplicates yet",
        text: `All ${plural(this.page.gallery.items, "picture is", "pictures are")} compared with each other: the same file, the same pixels, nearly the same picture. Nothing is deleted.`,
        starts: [{ icon: "duplicates", words: "Look for duplicates", begin: (signal) => this.analyses.findDuplicates(signal) }],
        may: this.page.may.write,
        mayStop: this.page.may.admin,
        done: () => this.page.reload(),
      },
      this.withdrawn.signal,
    );
  }

  #again() {
    const computation = this.#computation();
    this.body.replaceChildren(computation.element);
    computation.begin({ icon: "", words: "", begin: (signal) => this.analyses.findDuplicates(signal) });
  }

  // The head ---------------------------------------------------------------------------------------------------------

  /** @param {Rest.DuplicatesOut | null} answer */
  #headOf(answer) {
    this.reviewedWords.textContent = answer ? "" : "Looking …";
    this.head.replaceChildren(
      h("div", { class: "section-head" }, h("h1", {}, "Duplicates"), h("div", { class: "duplicates-progress" }, this.reviewedWords, this.reviewed)),
      ...(answer ? [this.#tabs(answer), this.#tools(answer)] : []),
    );
    if (answer?.stale) {
      this.head.append(h("p", { class: "notice" }, icon("warning"), h("span", {}, "Pictures have come or gone since these were looked for."), this.page.may.write && button("loop", "Look again", () => this.#again(), { class: "button quiet" })));
    }
    if (answer) this.#countReviewed();
  }

  /** @param {Rest.DuplicatesOut} answer */
  #tabs(answer) {
    const all = Object.values(answer.kinds).reduce((sum, number) => sum + number, 0);
    /** @param {string | null} tier @param {string} words @param {number} number */
    const tab = (tier, words, number) => {
      const parameters = { only: tier, min: this.least };
      const current = this.only === tier ? { "aria-current": "true" } : {};
      return h("li", {}, h("a", { class: "chip", ...current, href: this.page.address("duplicates", parameters), onclick: (event) => this.#follow(event, parameters) }, h("span", {}, words), " ", h("small", {}, count(number))));
    };
    const tabs = Object.entries(TIERS).map(([tier, words]) => tab(tier, words, answer.kinds[tier]));
    return h(
      "nav",
      { class: "tiers", "aria-label": "Kinds of duplicates" },
      h("ul", { role: "list" }, tab(null, "All", all), tabs),
      h("p", { class: "quiet-words" }, this.only ? EXPLAINED[this.only] : "Nothing is deleted here: you decide, and take a list with you."),
    );
  }

  /** @param {MouseEvent} event @param {import("../app.js").Parameters} parameters */
  #follow(event, parameters) {
    if (opensElsewhere(event)) return;
    event.preventDefault();
    this.page.go("duplicates", parameters);
  }

  /** @param {Rest.DuplicatesOut} answer */
  #tools(answer) {
    return h("div", { class: "duplicates-tools" }, this.#slider(answer), h("div", { class: "actions" }, this.#exports()));
  }

  /** How near is near: from what was looked for up to the same. @param {Rest.DuplicatesOut} answer */
  #slider(answer) {
    if (answer.min_score === null || this.only === "pixels" || this.only === "bytes") return null;
    const lowest = Math.floor(answer.min_score * 1000) / 1000;
    const output = h("output", { for: "near-from" });
    const words = (/** @type {string} */ value) => (Number(value) > lowest ? Number(value).toFixed(3) : "as found");
    const field = h("input", {
      type: "range",
      id: "near-from",
      min: lowest,
      max: 0.999,
      step: 0.001,
      value: this.least ?? lowest,
      oninput: () => {
        show();
        clearTimeout(this.settling);
        this.settling = setTimeout(() => this.#nearFrom(Number(field.value) > lowest ? Number(field.value) : null), SETTLED);
      },
    });
    const show = () => {
      output.textContent = words(field.value);
      field.setAttribute("aria-valuetext", words(field.value));
    };
    show();
    return h("label", { class: "range" }, h("span", {}, "Similarity at least"), field, output);
  }

  /** @param {number | null} least */
  #nearFrom(least) {
    this.least = least;
    this.from = null;
    this.page.amend({ min: least === null ? null : least.toFixed(3), group: null });
    this.#ask();
  }

  #exports() {
    /** @param {string} format @param {string} words */
    const link = (format, words) => {
      const address = this.analyses.surplusAddress({ only: this.only, minScore: this.least, format });
      return h("a", { class: "button", href: address, download: `duplicates.${format}`, title: "The files that could go, of the groups that you have reviewed; nothing is deleted" }, icon("download"), h("span", {}, words));
    };
    return [link("csv", "List as CSV"), link("json", "JSON")];
  }

  #countReviewed() {
    if (!this.answer) return;
    const { reviewed, total, surplus } = this.answer;
    this.reviewedWords.textContent = total ? `${count(reviewed)} of ${count(total)} reviewed, ${plural(surplus, "file", "files")} could go` : "";
    this.reviewed.value = total ? reviewed / total : 0;
    this.reviewed.hidden = !total;
  }

  // Reviewing --------------------------------------------------------------------------------------------------------

  /** @param {number} by */
  #move(by) {
    const next = this.current < 0 ? 0 : this.current + by;
    if (next >= this.cards.length) this.#more();
    if (next >= 0 && next < this.cards.length) this.#choose(next);
  }

  /** @param {number} index @param {{quietly?: boolean}} [how] */
  #choose(index, { quietly = false } = {}) {
    this.cards[this.current]?.choose(false);
    this.current = index;
    const card = this.cards[index];
    if (!card) return;
    card.choose(true);
    if (quietly) return;
    card.element.focus({ preventScroll: true });
    card.element.scrollIntoView({ block: "center", behavior: "auto" });
  }

  /** @param {GroupCard} card @param {string[]} ids @param {string} verdict @param {string[]} [insteadOf] */
  async #judge(card, ids, verdict, insteadOf = []) {
    card.busy(true);
    try {
      await this.analyses.judge(ids, verdict, insteadOf);
      const { group } = card;
      const answer = await this.analyses.duplicates(this.#wanted(String(Number(group.id) - 1), 1), this.withdrawn.signal);
      const [changed] = answer.groups;
      if (changed?.id === group.id) {
        this.answer?.groups.splice(this.answer.groups.indexOf(group), 1, changed);
        card.show(changed);
      }
      Object.assign(this.answer ?? {}, { reviewed: answer.reviewed, total: answer.total, surplus: answer.surplus, kinds: answer.kinds });
      this.page.remember(this.answer);
      this.#countReviewed();
      announce(`${card.verdictWords()}. ${this.reviewedWords.textContent}`);
      if (verdict !== "forget") this.#goOn(card);
    } catch (error) {
      if (!isWithdrawn(error)) note(error.message);
    } finally {
      card.busy(false);
    }
  }

  /** To the next group that nobody has looked at. @param {GroupCard} card */
  #goOn(card) {
    const index = this.cards.indexOf(card);
    const next = this.cards.findIndex((other, place) => place > index && !other.group.verdict);
    if (next >= 0) this.#choose(next);
    else this.#more();
  }
}
