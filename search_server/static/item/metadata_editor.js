/** What is said of a picture: its fields, each leading to the others that have its value; changed, added, taken away, undone. */

import { isWithdrawn } from "../api.js";
import { button, h, icon, iconButton } from "../parts/dom.js";
import { FieldErrors } from "../parts/field_errors.js";
import { FieldForm } from "../parts/field_form.js";
import { typeOf, ValueField, valueWords } from "../parts/field_values.js";
import { announce } from "../parts/messages.js";

/** @typedef {import("../parts/field_values.js").FieldValue} FieldValue */
/** @typedef {{metadata: Record<string, any>, own: Record<string, any>}} Said All fields, and those of them that were set by hand. */

/**
 * @typedef {object} Ways
 * @property {(field: string, value: any) => import("../parts/dom.js").Properties | null} link To all that have a value; null
 *   where that is no use.
 * @property {() => Promise<Rest.FieldOut[]>} known The fields of the gallery.
 * @property {((patch: Record<string, any>) => Promise<Said>) | null} save Keep a change, and say what is said now; null where
 *   the reader may only look.
 */

export class MetadataEditor {
  /** @param {Said} said @param {Ways} ways */
  constructor(said, ways) {
    this.said = said;
    this.ways = ways;
    this.rows = h("dl", { class: "facts" });
    this.undoing = h("p", { class: "said-undo", role: "status" });
    this.adding = h("div", {});
    this.element = h("section", { class: "said", "aria-labelledby": "said-title" }, h("h2", { class: "item-subtitle", id: "said-title" }, "What is said of it"), this.rows, this.undoing, this.adding);
    this.#show();
    this.#offer();
  }

  #show() {
    const fields = Object.entries(this.said.metadata);
    this.rows.replaceChildren(...fields.map(([field, value]) => this.#row(field, value)));
    this.rows.hidden = !fields.length;
  }

  /** @param {string} field @param {any} value */
  #row(field, value) {
    const { link, save } = this.ways;
    const words = valueWords(value);
    const attributes = link(field, value);
    const shown = attributes ? h("a", attributes, words) : h("span", {}, words);
    const edit = save && iconButton("edit", `Change ${field}`, () => this.#edit(row, field, value));
    /** @type {HTMLElement} */
    const row = h("div", { class: "said-row", data: { field } }, h("dt", {}, field), h("dd", {}, h("div", { class: "said-value" }, shown, edit)));
    return row;
  }

  /** @param {HTMLElement} row @param {string} field @param {any} value */
  #edit(row, field, value) {
    const input = new ValueField(typeOf(value), value, { "aria-label": field });
    const errors = new FieldErrors(row);
    const isOwn = Object.hasOwn(this.said.own, field);
    const back = () => {
      this.#show();
      this.#button(`Change ${field}`)?.focus();
    };
    /** @param {Event} event */
    const keep = (event) => {
      event.preventDefault();
      errors.clear();
      const read = errors.attempt(input.element, () => input.read());
      if (read !== null) this.#change({ [field]: read }, `${field} is ${valueWords(read)} now`, (error) => errors.say(input.element, error.message));
    };
    const takeAway = () => this.#change({ [field]: null }, `${field} is taken back`, (error) => errors.say(input.element, error.message));
    const form = h(
      "form",
      { class: "said-form", onsubmit: keep, onkeydown: (/** @type {KeyboardEvent} */ event) => event.key === "Escape" && back() },
      h("div", { class: "field" }, input.element),
      h(
        "div",
        { class: "actions" },
        h("button", { class: "button primary" }, icon("check"), h("span", {}, "Save")),
        isOwn && button("trash", "Take it away", takeAway, { title: "It was set by hand: what a file says of it, if one does, holds again" }),
        button("close", "Cancel", back, { class: "button quiet" }),
      ),
    );
    row.querySelector("dd")?.replaceChildren(form);
    input.element.focus();
    if (input.element instanceof HTMLInputElement) input.element.select();
  }

  /** A button that opens the form of a new field. */
  #offer() {
    if (!this.ways.save) return;
    const open = button("plus", "Add a field", () => this.#add(), { class: "button quiet" });
    this.adding.replaceChildren(open);
  }

  #add() {
    const form = new FieldForm(this.ways.known);
    const back = () => {
      this.#offer();
      this.adding.querySelector("button")?.focus();
    };
    /** @param {Event} event */
    const keep = async (event) => {
      event.preventDefault();
      const read = form.read();
      if (!read) return;
      if (await this.#change({ [read.name]: read.value }, `${read.name} is ${valueWords(read.value)} now`, (error) => form.refuse(error))) back();
    };
    this.adding.replaceChildren(
      h(
        "form",
        { class: "said-form", onsubmit: keep, onkeydown: (/** @type {KeyboardEvent} */ event) => event.key === "Escape" && back() },
        form.element,
        h("div", { class: "actions" }, h("button", { class: "button primary" }, icon("check"), h("span", {}, "Save")), button("close", "Cancel", back, { class: "button quiet" })),
      ),
    );
    form.name.focus();
  }

  /**
   * Keep a change; what was before can be had back.
   *
   * @param {Record<string, any>} patch
   * @param {string} words
   * @param {(error: any) => void} refused
   * @param {boolean} undoes Whether it is an undoing itself.
   */
  async #change(patch, words, refused, undoes = false) {
    if (!this.ways.save) return false;
    const before = Object.fromEntries(Object.keys(patch).map((field) => [field, this.said.own[field] ?? null]));
    try {
      this.said = await this.ways.save(patch);
    } catch (error) {
      if (!isWithdrawn(error)) refused(error);
      return false;
    }
    this.#show();
    const undo = button("undo", "Undo", () => this.#change(before, "As it was before", (error) => announce(error.message), true), { class: "button quiet" });
    this.undoing.replaceChildren(h("span", {}, words), ...(undoes ? [] : [undo]));
    const [field] = Object.keys(patch);
    (this.#button(`Change ${field}`) ?? this.adding.querySelector("button"))?.focus();
    return true;
  }

  /** @param {string} label @returns {HTMLElement | null} */
  #button(label) {
    return [...this.element.querySelectorAll("button")].find((one) => one.getAttribute("aria-label") === label) ?? null;
  }
}
