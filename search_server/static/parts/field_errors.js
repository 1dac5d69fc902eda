/** What cannot be used, said at the field that it was put into. */

import { h } from "./dom.js";
import { BadValue } from "./field_values.js";

let numbers = 0;

export class FieldErrors {
  /** @param {HTMLElement} within The form; its fields are found by their names. */
  constructor(within) {
    this.within = within;
    /** @type {[HTMLElement, HTMLElement][]} */
    this.shown = [];
  }

  /** Take all away. */
  clear() {
    for (const [input, words] of this.shown) {
      input.removeAttribute("aria-invalid");
      input.removeAttribute("aria-describedby");
      words.remove();
    }
    this.shown = [];
  }

  /**
   * Show a problem that begins with the name of a field ("name: …") there, and put the focus on it.
   *
   * @param {any} error
   * @returns {boolean} Whether there was such a field.
   */
  show(error) {
    const [, name, detail] = /^([a-z_]+): (.*)$/s.exec(error?.detail ?? "") ?? [];
    const input = name && this.within.querySelector(`[name="${name}"]`);
    if (!(input instanceof HTMLElement) || !input.checkVisibility()) return false;
    this.say(input, detail);
    return true;
  }

  /**
   * Read a field; what is wrong with it is said there.
   *
   * @template Value
   * @param {HTMLElement} input
   * @param {() => Value} read
   * @returns {Value | null}
   */
  attempt(input, read) {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof BadValue)) throw error;
      this.say(input, error.message);
      return null;
    }
  }

  /** @param {HTMLElement} input @param {string} detail */
  say(input, detail) {
    const words = h("small", { class: "field-error", id: `field-error-${(numbers += 1)}`, role: "alert" }, detail[0].toUpperCase() + detail.slice(1));
    input.setAttribute("aria-invalid", "true");
    input.setAttribute("aria-describedby", words.id);
    input.after(words);
    this.shown.push([input, words]);
    input.focus();
  }
}
