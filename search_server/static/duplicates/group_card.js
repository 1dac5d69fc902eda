/** One group of pictures that are the same: side by side, what differs, which is to be kept, what was said of it. */

import { button, h, icon, opensElsewhere, targetOf } from "../parts/dom.js";
import { note } from "../parts/messages.js";
import { bytesWords, count, plural, scoreWords } from "../parts/words.js";

const SHOWN = 12; // members, until more are asked for
const FEW = 3; // members: they are shown larger
/** @type {Record<string, string>} */
const KINDS = { near: "Nearly the same", pixels: "Same pixels", bytes: "Same file" };
/** @type {Record<string, string>} */
const VERDICTS = { duplicate: "All the same", different: "Not duplicates", keep: "Keeper chosen" };

export class GroupCard {
  /**
   * @param {import("../app.js").Page} page
   * @param {import("../analyses_api.js").AnalysesApi} analyses
   * @param {Rest.GroupOut} group As the API describes it.
   * @param {{judge: (ids: string[], verdict: string, insteadOf?: string[]) => void, chosen: () => void}} ways
   */
  constructor(page, analyses, group, ways) {
    this.page = page;
    this.analyses = analyses;
    this.ways = ways;
    this.group = group;
    this.isJudgeable = true;
    this.differs = false;
    this.isWhole = group.members.length <= SHOWN;
    this.element = h("li", { class: "group", tabindex: "-1", onfocusin: () => ways.chosen(), onclick: () => ways.chosen() });
    this.show(group);
  }

  /** @param {Rest.GroupOut} group */
  show(group) {
    this.group = group;
    this.isJudgeable = group.kind !== "bytes";
    this.element.dataset.verdict = group.verdict ?? "";
    this.element.setAttribute("aria-label", `${KINDS[group.kind]}: ${plural(group.members.length, "picture", "pictures")}. ${this.verdictWords()}`);
    const held = document.activeElement;
    const focused = held instanceof HTMLElement && held !== this.element && this.element.contains(held) ? held.dataset.act : null;
    this.element.replaceChildren(this.#head(), this.#members(), this.#actions());
    if (focused) /** @type {HTMLElement | null} */ (this.element.querySelector(`[data-act="${focused}"]`))?.focus();
  }

  /** @param {boolean} isChosen */
  choose(isChosen) {
    if (isChosen) this.element.setAttribute("aria-current", "true");
    else this.element.removeAttribute("aria-current");
  }

  /** @param {boolean} isBusy */
  busy(isBusy) {
    this.element.toggleAttribute("aria-busy", isBusy);
  }

  verdictWords() {
    return this.group.verdict ? VERDICTS[this.group.verdict] : "Not reviewed";
  }

  get ids() {
    return this.group.members.map((member) => member.item.id);
  }

  // What can be said of it -------------------------------------------------------------------------------------------

  /** Whether this reader may say what they are. */
  get mayJudge() {
    return this.page.may.write;
  }

  /** Keep one of them, and no other. @param {number} place */
  keep(place) {
    const member = this.group.members[place];
    if (!member || !this.mayJudge) return;
    if (!this.isJudgeable && place > 0) return note("These files are the same byte for byte: whichever stays, nothing is lost.");
    const others = this.group.members.filter((other) => other.item.sha256 !== member.item.sha256).map((other) => other.item.id);
    this.ways.judge([member.item.id], "keep", others);
  }

  same() {
    if (!this.isJudgeable) return this.keep(0);
    if (this.mayJudge) this.ways.judge(this.ids, "duplicate");
  }

  different() {
    if (!this.isJudgeable) return note("These files are the same byte for byte: nothing can tell them apart.");
    if (this.mayJudge) this.ways.judge(this.ids, "different");
  }

  forget() {
    if (this.group.verdict && this.mayJudge) this.ways.judge(this.ids, "forget");
  }

  toggleDifference() {
    if (!this.isJudgeable) return note("Nothing differs: the files are the same.");
    this.differs = !this.differs;
    this.show(this.group);
  }

  // What it looks like -----------------------------------------------------------------------------------------------

  #head() {
    const { kind, members, verdict } = this.group;
    const said = verdict && h("span", { class: `verdict verdict-${verdict}` }, icon(verdict === "different" ? "apart" : "check"), h("span", {}, this.verdictWords()));
    return h("div", { class: "group-head" }, h("h2", {}, KINDS[kind]), h("p", { class: "quiet-words" }, plural(members.length, "picture", "pictures")), said);
  }

  #members() {
    const { members } = this.group;
    const shown = this.isWhole ? members : members.slice(0, SHOWN);
    const list = h("ul", { class: members.length <= FEW ? "members few" : "members", role: "list" }, shown.map((member, place) => this.#member(member, place)));
    if (this.isWhole) return list;
    const more = () => {
      this.isWhole = true;
      this.show(this.group);
    };
    return h("div", {}, list, button("down", `Show the other ${count(members.length - SHOWN)}`, more, { class: "button quiet" }));
  }

  /** @param {Rest.MemberOut} member @param {number} place */
  #member(member, place) {
    const { item, keep, why, apart } = member;
    const [kept] = this.group.members;
    const shows = this.differs && !keep;
    const source = shows ? this.analyses.differenceAddress(kept.item.id, item.id) : item.image;
    const alt = shows ? `What differs between ${item.name} and ${kept.item.name}: black where they are the same` : item.name;
    const picture = h("img", { src: source, alt, width: item.width, height: item.height, loading: "lazy", onerror: (event) => targetOf(event)?.parentElement?.classList.add("broken") });
    const address = this.page.address(`item/${item.id}`);
    const open = (/** @type {MouseEvent} */ event) => {
      if (opensElsewhere(event)) return;
      event.preventDefault();
      this.page.go(`item/${item.id}`);
    };
    const marks = keep
      ? h("p", { class: "keeper" }, icon("star"), h("span", {}, h("strong", {}, this.group.verdict === "different" ? "First" : "Keep"), ` ${why}`))
      : h("p", { class: "quiet-words" }, apart ? "Not the same" : `Similarity ${scoreWords(member.score)}`);
    return h(
      "li",
      { class: keep ? "member kept" : "member" },
      h("a", { class: "member-picture frame", href: address, onclick: open }, picture),
      marks,
      h("p", { class: "member-name path" }, item.path),
      h("p", { class: "member-facts" }, this.#fact(item, kept.item, keep)),
      this.mayJudge && this.isJudgeable && this.group.verdict !== "different" && (!keep || this.group.verdict !== "keep")
        ? h(
            "button",
            { type: "button", class: "button", data: { act: `keep-${place}` }, onclick: () => this.keep(place) },
            place < 9 ? h("kbd", { "aria-hidden": "true" }, place + 1) : null,
            h("span", {}, "Keep this"),
            h("span", { class: "visually-hidden" }, `: ${item.name}`),
          )
        : null,
    );
  }

  /** Size, file and format, each marked where it differs from the one that is kept. @param {Rest.ItemOut} item @param {Rest.ItemOut} kept @param {boolean} isKept */
  #fact(item, kept, isKept) {
    /** @type {[string, number | null][]} */
    const facts = [
      [`${count(item.width)} × ${count(item.height)}`, item.width * item.height - kept.width * kept.height],
      [bytesWords(item.bytes), item.bytes - kept.bytes],
      [item.format, item.format === kept.format ? 0 : null],
    ];
    return facts.map(([words, apart]) => {
      if (isKept || apart === 0) return h("span", {}, words);
      return h("span", { class: "fact-differs" }, words, apart === null ? "" : apart < 0 ? " ↓" : " ↑", apart === null ? null : h("span", { class: "visually-hidden" }, apart < 0 ? "less" : "more"));
    });
  }

  #actions() {
    const { verdict } = this.group;
    /** @param {string} name @param {string} iconName @param {string} words @param {string} key @param {() => void} run @param {import("../parts/dom.js").Properties} [properties] */
    const act = (name, iconName, words, key, run, properties = {}) =>
      button(iconName, words, run, { data: { act: name }, "aria-keyshortcuts": key, title: `Key ${key}`, ...properties });
    const judged = verdict !== null;
    return h(
      "div",
      { class: "actions group-actions" },
      !judged && this.mayJudge && act("same", "check", this.isJudgeable ? "All the same" : "Keep one of them", "a", () => this.same(), { class: "button primary" }),
      !judged && this.mayJudge && this.isJudgeable && act("different", "apart", "Not duplicates", "n", () => this.different()),
      judged && this.mayJudge && act("forget", "undo", "Undo", "z", () => this.forget()),
      this.isJudgeable && act("difference", "eye", "Difference", "d", () => this.toggleDifference(), { class: "button quiet", "aria-pressed": String(this.differs) }),
    );
  }
}
