/** What groups of pictures have in common: the mean of their codes, painted, beside real members. */

import { isWithdrawn } from "../api.js";
import { h, iconButton } from "../parts/dom.js";
import { announce, note } from "../parts/messages.js";
import { pictureLink } from "../parts/picture_link.js";
import { problemState, state } from "../parts/states.js";
import { plural } from "../parts/words.js";
import { PaintingApi } from "../painting_api.js";

/** @typedef {"cluster" | "folder"} Kind */
/** @typedef {{prototype: Rest.PrototypeOut, name: string, pressed: HTMLElement}} Chosen */

/** @type {Record<Kind, string>} */
const KINDS = { cluster: "Look-alikes", folder: "Folders" };
const MEMBERS = 6; // real pictures of each
const COUNT = 12;

export class PrototypeWall {
  /**
   * @param {import("../app.js").Page} page
   * @param {(id: string) => void} explore Start from this stored picture.
   */
  constructor(page, explore) {
    this.page = page;
    this.explore = explore;
    this.api = new PaintingApi(page.api.base);
    this.withdrawn = new AbortController();
    /** @type {Kind} */
    this.by = page.parameter("by") === "folder" ? "folder" : "cluster";
    /** @type {Chosen | null} The first of two to morph between. */
    this.chosen = null;
    this.body = h("div", {});
    const switches = /** @type {[Kind, string][]} */ (Object.entries(KINDS)).map(([by, words]) => {
      const radio = h("input", { type: "radio", name: "by", value: by, checked: by === this.by, onchange: () => this.#choose(by) });
      return h("label", {}, radio, h("span", {}, words));
    });
    this.element = h(
      "section",
      { class: "prototypes", "aria-labelledby": "prototypes-title" },
      h(
        "div",
        { class: "section-head" },
        h("div", {}, h("h2", { id: "prototypes-title" }, "What belongs together"), h("p", { class: "quiet-words" }, "Each group as the model would paint it: the mean of its pictures, beside some of them.")),
        h("fieldset", { class: "segments" }, h("legend", { class: "visually-hidden" }, "Groups of"), switches),
      ),
      this.body,
    );
  }

  /**
   * @param {Rest.PrototypesOut | null} [given] The answer, where it is here already.
   * @param {Map<string, Rest.ItemOut> | null} [members] The items that it names, likewise.
   */
  async fill(given = null, members = null) {
    const { api } = this;
    const { signal } = this.withdrawn;
    this.body.setAttribute("aria-busy", "true");
    if (!given) this.#expect();
    try {
      const answer = given ?? (await api.prototypes(this.by, COUNT, signal));
      const ids = answer.prototypes.flatMap((prototype) => prototype.members.slice(0, MEMBERS));
      const items = members ?? (await api.items(ids, signal));
      if (signal.aborted) return;
      this.page.remember({ ...this.page.remembered(), prototypes: answer, members: items });
      this.#show(answer.prototypes, items);
    } catch (error) {
      if (!isWithdrawn(error)) this.body.replaceChildren(problemState(error, { retry: () => this.fill() }));
    } finally {
      this.body.removeAttribute("aria-busy");
    }
  }

  close() {
    this.withdrawn.abort();
  }

  /** @param {Kind} by */
  #choose(by) {
    this.by = by;
    this.chosen = null;
    this.page.amend({ by: by === "cluster" ? null : by });
    this.page.remember({ ...this.page.remembered(), prototypes: null, members: null });
    this.withdrawn.abort();
    this.withdrawn = new AbortController();
    this.fill();
  }

  #expect() {
    const room = () => h("li", { class: "prototype skeleton", "aria-hidden": "true" }, h("div", { class: "tile-picture" }));
    this.body.replaceChildren(h("ol", { class: "prototype-wall", role: "list" }, Array.from({ length: COUNT }, room)));
  }

  /** @param {Rest.PrototypeOut[]} prototypes @param {Map<string, Rest.ItemOut>} items */
  #show(prototypes, items) {
    if (this.by === "folder" && prototypes.length < 2) {
      this.body.replaceChildren(state({ iconName: "grid", title: "All pictures lie in one folder", text: "Where they are in several, each is painted here." }));
      return;
    }
    this.body.replaceChildren(h("ol", { class: "prototype-wall", role: "list", "aria-label": KINDS[this.by] }, prototypes.map((prototype, number) => this.#card(prototype, number, items))));
    announce(plural(prototypes.length, "group", "groups"));
  }

  /** @param {Rest.PrototypeOut} prototype @param {number} number From 0. @param {Map<string, Rest.ItemOut>} items */
  #card(prototype, number, items) {
    const name = this.by === "folder" ? prototype.name : `Group ${number + 1}`;
    const members = prototype.members.slice(0, MEMBERS).flatMap((id) => items.get(id) ?? []);
    /** @type {HTMLButtonElement} */
    const morph = iconButton("morph", `Morph: ${name}`, () => this.#morph(prototype, name, morph), { "aria-pressed": "false", title: "Morph with another group" });
    return h(
      "li",
      { class: "prototype" },
      h("img", { class: "prototype-picture", src: prototype.image, alt: `${name}, painted`, width: 128, height: 128 }),
      h("div", { class: "prototype-members" }, members.map((item) => pictureLink(this.page, item, item.name))),
      h("div", { class: "prototype-words" }, h("h3", { title: name }, name), h("p", { class: "quiet-words" }, plural(prototype.items, "picture", "pictures"))),
      h(
        "div",
        { class: "prototype-actions" },
        iconButton("search", `Find what looks like ${name}`, () => this.#search(prototype, name)),
        prototype.filter ? iconButton("grid", `Browse ${name}`, () => this.page.go("browse", { filter: JSON.stringify(prototype.filter) })) : null,
        iconButton("explore", `Explore from ${name}`, () => this.#explore(prototype, name)),
        morph,
      ),
    );
  }

  /** @param {Rest.PrototypeOut} prototype @param {string} name */
  #search(prototype, name) {
    this.page.go("search", {}, { file: fileOf(prototype, name) });
  }

  /** @param {Rest.PrototypeOut} prototype @param {string} name */
  async #explore(prototype, name) {
    const stored = await this.#store(prototype, name);
    if (stored) this.explore(stored.id);
  }

  /** The first that is chosen waits for a second one. @param {Rest.PrototypeOut} prototype @param {string} name @param {HTMLElement} pressed */
  async #morph(prototype, name, pressed) {
    const first = this.chosen;
    if (!first || first.prototype === prototype) {
      this.chosen = first ? null : { prototype, name, pressed };
      pressed.setAttribute("aria-pressed", String(!first));
      if (!first) note("Now choose the group that it becomes");
      return;
    }
    const [a, b] = await Promise.all([this.#store(first.prototype, first.name), this.#store(prototype, name)]);
    if (a && b) this.page.go("morph", { a: a.id, b: b.id });
  }

  /** @param {Rest.PrototypeOut} prototype @param {string} name */
  async #store(prototype, name) {
    try {
      return await this.page.api.store(fileOf(prototype, name), this.withdrawn.signal);
    } catch (error) {
      if (!isWithdrawn(error)) note(error.message);
      return null;
    }
  }
}

/** What was painted, as a file that can be searched with. @param {Rest.PrototypeOut} prototype @param {string} name */
function fileOf({ image }, name) {
  const [, encoded] = image.split(",");
  const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
  return new File([bytes], `${name}, painted`, { type: "image/webp" });
}
