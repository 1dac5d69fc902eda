/** A field of the metadata to be set: its name, its type, its value; what cannot be kept is said where it was typed. */

import { h } from "./dom.js";
import { FieldErrors } from "./field_errors.js";
import { LONGEST_NAME, readName, TYPE_WORDS, ValueField } from "./field_values.js";

/** @typedef {import("./field_values.js").FieldType} FieldType */
/** @typedef {import("./field_values.js").FieldValue} FieldValue */

let numbers = 0;

/** What is asked for a new field, or one that others have already. */
export class FieldForm {
  /** @param {() => Promise<Rest.FieldOut[]>} known The fields that the gallery has: only a help. */
  constructor(known) {
    const list = `known-fields-${(numbers += 1)}`;
    this.types = new Map();
    this.name = h("input", { class: "text-field", name: "field", maxlength: LONGEST_NAME, autocomplete: "off", list, onchange: () => this.#fit() });
    this.type = h("select", { class: "text-field", name: "type", onchange: () => this.#retype() }, Object.entries(TYPE_WORDS).map(([value, words]) => h("option", { value }, words)));
    this.choices = h("datalist", { id: list });
    this.value = new ValueField("text");
    this.place = h("label", { class: "field" }, h("span", {}, "Value"), this.value.element);
    this.element = h("div", { class: "field-form" }, label("Name", this.name), label("Type", this.type), this.place, this.choices);
    this.errors = new FieldErrors(this.element);
    known().then(
      (fields) => {
        for (const { field, types } of fields) this.types.set(field, types[0]);
        this.choices.append(...fields.map(({ field }) => h("option", { value: field })));
      },
      () => {},
    );
  }

  /** A field that there is already has its type. */
  #fit() {
    const known = this.types.get(this.name.value.trim());
    if (!known || known === this.type.value || (known === "text" && this.type.value === "date")) return;
    this.type.value = known;
    this.#retype();
  }

  #retype() {
    const typed = this.value.element.value;
    this.value = new ValueField(/** @type {FieldType} */ (this.type.value));
    if (this.value.element instanceof HTMLInputElement && this.value.element.type === "text") this.value.element.value = typed;
    this.errors.clear();
    this.place.lastElementChild?.replaceWith(this.value.element);
  }

  /** What was put in; null where something cannot be kept, which is then said. @returns {{name: string, value: FieldValue} | null} */
  read() {
    const name = this.readName();
    const value = name === null ? null : this.errors.attempt(this.value.element, () => this.value.read());
    return name === null || value === null ? null : { name, value };
  }

  /** The name alone. @returns {string | null} */
  readName() {
    this.errors.clear();
    return this.errors.attempt(this.name, () => readName(this.name.value));
  }

  /** Say what the server refused. @param {any} error */
  refuse(error) {
    const atName = error.detail?.includes("name of a field");
    this.errors.say(atName ? this.name : this.value.element, error.message);
  }
}

/** @param {string} words @param {HTMLElement} input */
function label(words, input) {
  return h("label", { class: "field" }, h("span", {}, words), input);
}

