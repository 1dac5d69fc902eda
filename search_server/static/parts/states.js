/** What the page shows when there is nothing to show: each says what happened and what to do next. */

import { button, h, icon } from "./dom.js";
import { megabytes } from "./words.js";

const UNREADABLE = "This file cannot be read as a picture";
/** @type {Record<string, string>} */
const TITLES = {
  unsupported_format: UNREADABLE,
  corrupt: UNREADABLE,
  empty: "This file is empty",
  unreadable: UNREADABLE,
  too_complex: "This picture takes too long to read",
  decode_timeout: "This picture takes too long to read",
  decode_crashed: UNREADABLE,
  body_too_large: "This file is too large",
  too_many_pixels: "This picture is too large",
  bad_embedding: "The model sees nothing in this picture",
  no_such_item: "This picture is no longer in the gallery",
  no_such_query: "This search has expired",
  file_missing: "The file is gone",
  no_decoder: "This model cannot paint",
  busy: "Busy at the moment",
  loading: "Still starting",
};
/** @type {Record<string, string>} */
const REMEDIES = {
  unsupported_format: "JPEG, PNG, WebP, GIF, BMP, TIFF and AVIF can be read.",
  corrupt: "It may have been cut short on its way. Export or download it again.",
  no_such_query: "An uploaded picture is kept for an hour only. Drop it here again.",
  busy: "Many pictures are being looked at. Try again in a moment.",
};
/** @type {Record<string, string>} */
const ICONS = { server_gone: "unplugged", busy: "unplugged", loading: "unplugged", no_decoder: "morph" };
const WORTH_ASKING_AGAIN = new Set(["server_gone", "busy", "loading", "unknown"]);

/**
 * A problem, in the place where the answer would have been.
 *
 * @param {import("../api.js").Told} problem
 * @param {{subject?: string, retry?: () => void, others?: HTMLElement[], heading?: "h1" | "h2"}} ways What it is about,
 *   what can be done, and "h1" where it is the whole view.
 */
export function problemState(problem, { subject, retry, others = [], heading }) {
  const again = retry && WORTH_ASKING_AGAIN.has(problem.code);
  const words = sentence(problem.detail ?? "");
  const remedy = REMEDIES[problem.code];
  return state({
    iconName: ICONS[problem.code] ?? "warning",
    title: TITLES[problem.code] ?? problem.title,
    text: remedy ?? words,
    detail: subject ?? (remedy ? words : null),
    kind: "trouble",
    heading,
    actions: again ? [button("loop", "Try again", retry, { class: "button primary" })] : others,
  });
}

/**
 * A quiet word with a drawing: an empty list, a first step.
 *
 * @param {{iconName: string, title: string, text?: string, detail?: string | null, kind?: string, heading?: "h1" | "h2", actions?: Node[]}} said
 */
export function state({ iconName, title, text, detail = null, kind = "quiet", heading = "h2", actions = [] }) {
  return h(
    "section",
    { class: `state ${kind}`, role: kind === "trouble" ? "alert" : null },
    h("div", { class: "state-icon" }, icon(iconName)),
    h(heading, {}, title),
    text && h("p", {}, text),
    detail && h("p", { class: "state-detail" }, detail),
    h("div", { class: "actions" }, actions),
  );
}

/** The problem of a file that need not be sent to be refused. @param {File} file @param {number} limit Bytes. */
export function tooLarge(file, limit) {
  const detail = `It has ${megabytes(file.size)}; at most ${megabytes(limit)} are accepted. Scale it down, then try again.`;
  return { code: "body_too_large", title: "", detail };
}

/** @param {string} text */
function sentence(text) {
  return text && text[0].toUpperCase() + text.slice(1);
}
