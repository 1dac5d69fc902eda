/** Commands to copy into a terminal. */

import { h, iconButton } from "./dom.js";
import { note } from "./messages.js";

/** A command in a box with a button that copies it. @param {string} words @param {string} [says] What it does. */
export function command(words, says) {
  const text = h("code", {}, words);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(words);
      note("Copied");
    } catch {
      // Without https, away from localhost, browsers have no clipboard: selected, it is one key away.
      getSelection()?.selectAllChildren(text);
      note("Selected: copy it with Ctrl C");
    }
  };
  return h("div", { class: "command" }, says && h("p", {}, says), h("div", { class: "command-line" }, text, iconButton("copy", `Copy: ${words}`, copy)));
}
