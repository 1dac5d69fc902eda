/** Values of metadata: their types in words, fields to put them in, what is typed as a value. */

import { h } from "./dom.js";

/** @typedef {"text" | "number" | "date" | "boolean"} FieldType */
/** @typedef {string | number | boolean | (string | number | boolean)[]} FieldValue */

/** @type {Record<FieldType, string>} */
export const TYPE_WORDS = { text: "Text", number: "Number", date: "Date", boolean: "Yes or no" };
export const LONGEST_NAME = 100; // characters
const LONGEST_TEXT = 2000;
const DATE = /^\d{4}-\d{2}-\d{2}$/;
const NAME = /^[^\s.,"'{}[\]][^\n"'{}[\]]*$/;
const TAGS = ["tags", "keywords"]; // they are set as tags

/** What was typed cannot be used: the message says why. */
export class BadValue extends Error {}

/** The type of a value; of several, that of the first. @param {FieldValue} value @returns {FieldType} */
export function typeOf(value) {
  const one = Array.isArray(value) ? value[0] : value;
  if (typeof one === "number") return "number";
  if (typeof one === "boolean") return "boolean";
  return typeof one === "string" && DATE.test(one) ? "date" : "text";
}

/** A value in words. @param {unknown} value @returns {string} */
export function valueWords(value) {
  if (Array.isArray(value)) return value.map(valueWords).join(", ");
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** The name of a field, as it can be kept. @param {string} typed */
export function readName(typed) {
  const name = typed.trim().replaceAll(/\s+/g, " ");
  if (!name) throw new BadValue("Give the field a name");
  if (TAGS.includes(name)) throw new BadValue("Tags are given above, as tags");
  if (name.length > LONGEST_NAME || !NAME.test(name)) throw new BadValue("Use letters, digits, - and _");
  return name;
}

/** A field that a value of one type is put into. */
export class ValueField {
  /** @param {FieldType} type @param {FieldValue | null} [value] @param {Record<string, any>} [attributes] */
  constructor(type, value = null, attributes = {}) {
    this.type = type;
    this.many = Array.isArray(value);
    this.element = this.#made(value, attributes);
  }

  /** @param {FieldValue | null} value @param {Record<string, any>} attributes */
  #made(value, attributes) {
    const shared = { name: "value", class: "text-field", autocomplete: "off", ...attributes };
    if (Array.isArray(value)) return h("textarea", { ...shared, rows: Math.min(6, value.length + 1), title: "One value a line" }, value.map(valueWords).join("\n"));
    if (this.type === "boolean") return h("select", shared, h("option", { value: "yes", selected: value === true }, "yes"), h("option", { value: "no", selected: value === false }, "no"));
    const words = value === null ? "" : String(value);
    if (this.type === "text" && words.includes("\n")) return h("textarea", { ...shared, rows: 4, maxlength: LONGEST_TEXT }, words);
    if (this.type === "date") return h("input", { ...shared, type: "date", value: words });
    return h("input", { ...shared, type: "text", value: words, maxlength: LONGEST_TEXT, ...(this.type === "number" ? { inputmode: "decimal" } : {}) });
  }

  /** What was put in. @returns {FieldValue} */
  read() {
    const typed = this.element.value.trim();
    if (!this.many) return this.#one(typed);
    const lines = typed.split("\n").map((line) => line.trim()).filter(Boolean);
    if (!lines.length) throw new BadValue("Give at least one value, or take the field away");
    return lines.map((line) => this.#one(line));
  }

  /** @param {string} typed */
  #one(typed) {
    if (this.type === "boolean") return typed === "yes";
    if (!typed) throw new BadValue(this.type === "date" ? "Give a whole date" : "Give a value, or take the field away");
    if (this.type === "number") {
      const number = Number(typed.replace(",", "."));
      if (!Number.isFinite(number)) throw new BadValue("Give a number, such as 5 or 2.5");
      return number;
    }
    return typed;
  }
}
