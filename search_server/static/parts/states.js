/** What the page shows when there is nothing to show: each says what happened and what to do next. */

import { SERVER_GONE } from "../api.js";
import { button, h, icon, need } from "./dom.js";
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
  no_such_gallery: "There is no such gallery",
  no_such_job: "There is no such job",
  no_such_model: "There is no such model",
  file_missing: "The file is gone",
  file_changed: "The file has changed",
  no_decoder: "This model cannot paint",
  busy: "Busy at the moment",
  loading: "Still starting",
  rate_limited: "That was a lot at once",
  token_required: "Please sign in",
  insufficient_scope: "Your token does not allow this",
  origin_refused: "The server does not know this address",
  disk_full: "The server's disk is full",
  locked: "Somebody else is writing here",
  internal_error: "Something went wrong in the server",
};
/** @type {Record<string, string>} */
const REMEDIES = {
  unsupported_format: "JPEG, PNG, WebP, GIF, BMP, TIFF and AVIF can be read.",
  corrupt: "It may have been cut short on its way. Export or download it again.",
  no_such_query: "An uploaded picture is kept for an hour only. Drop it here again.",
  busy: "More is asked than can be done at the moment.",
  loading: "The server is opening its galleries.",
  rate_limited: "The server takes only so many requests a second.",
  token_required: "This server asks for a token, and yours is missing or its time is over.",
};
/** @type {Record<string, string>} */
const ICONS = { server_gone: "unplugged", busy: "unplugged", loading: "unplugged", rate_limited: "unplugged", no_decoder: "morph", token_required: "lock", insufficient_scope: "lock" };
const PASSING = new Set(["busy", "loading", "rate_limited"]); // over after a while: the page asks again by itself
const WORTH_ASKING_AGAIN = new Set(["server_gone", "unknown", "internal_error", "locked", ...PASSING]);
const SERVER = new URL(JSON.parse(need("#page-data").textContent ?? "").top, location.href);
const LONGEST_WAIT = 30; // seconds between two attempts of the page's own
const CALM = 60; // seconds without trouble after which the next wait is short again

/**
 * A problem, in the place where the answer would have been. What passes by itself is asked again by itself: after the
 * time that the server says, or when a server that was gone is back.
 *
 * @param {import("../api.js").Told} problem
 * @param {{subject?: string, retry?: () => void, others?: HTMLElement[], heading?: "h1" | "h2" | "h3"}} ways What it is about,
 *   what can be done, and "h1" where it is the whole view.
 */
export function problemState(problem, { subject, retry, others = [], heading }) {
  const again = retry && WORTH_ASKING_AGAIN.has(problem.code);
  const words = sentence(problem.detail ?? "");
  const remedy = REMEDIES[problem.code];
  const offline = problem.code === "server_gone" && !navigator.onLine && SERVER.hostname !== "localhost";
  const actions = again ? [button("loop", "Try again", retry, { class: "button primary" })] : others;
  const element = state({
    iconName: ICONS[problem.code] ?? "warning",
    title: offline ? "You are offline" : (TITLES[problem.code] ?? problem.title),
    text: offline ? "This device has no network at the moment. The page goes on when it is back." : (remedy ?? words),
    detail: subject ?? (remedy && remedy !== words ? words : null),
    kind: "trouble",
    heading,
    actions: problem.code === "token_required" ? [signIn()] : actions,
  });
  if (again && problem.code === "server_gone") askWhenItIsBack(element, retry);
  else if (again && PASSING.has(problem.code)) askLater(element, retry, problem.retryAfter ?? 1);
  return element;
}

/** To sign in, and to come back here then. */
function signIn() {
  const here = location.pathname.slice(SERVER.pathname.length - 1) + location.search;
  const address = new URL(`sign-in?${new URLSearchParams({ after: here })}`, SERVER);
  return h("a", { class: "button primary", href: address.href }, icon("lock"), h("span", {}, "Sign in"));
}

const waits = { seconds: 0, at: 0 }; // how long the last one was, and when it began: each is twice the one before

/** @param {number} least */
function nextWait(least) {
  const now = performance.now() / 1000;
  waits.seconds = now - waits.at > CALM ? 0 : waits.seconds;
  waits.seconds = Math.max(least, Math.min(LONGEST_WAIT, waits.seconds * 2));
  waits.at = now;
  return waits.seconds;
}

/**
 * Count down, then ask; the number is for the eye alone: read aloud every second, it would be a torment.
 *
 * @param {HTMLElement} element
 * @param {() => void} retry
 * @param {number} least
 */
function askLater(element, retry, least) {
  let left = Math.ceil(nextWait(least));
  const number = h("span", { "aria-hidden": "true" }, ` in ${left} s`);
  element.append(h("p", { class: "state-wait" }, "It tries again by itself", number, "."));
  const timer = setInterval(() => {
    if (!element.isConnected) return clearInterval(timer);
    left -= 1;
    number.textContent = ` in ${Math.max(left, 0)} s`;
    if (left > 0) return;
    clearInterval(timer);
    retry();
  }, 1000);
}

/**
 * Look now and then whether the server is back; then ask again.
 *
 * @param {HTMLElement} element
 * @param {() => void} retry
 */
function askWhenItIsBack(element, retry) {
  element.append(h("p", { class: "state-wait" }, "As soon as it answers, this goes on by itself."));
  const look = async () => {
    if (!element.isConnected) return;
    const answer = await fetch(new URL("healthz", SERVER)).catch(() => null);
    if (!element.isConnected) return;
    if (answer?.ok) retry();
    else setTimeout(look, 1000 * nextWait(2));
  };
  setTimeout(look, 1000 * nextWait(1));
}

/**
 * A quiet word with a drawing: an empty list, a first step.
 *
 * @param {{iconName: string, title: string, text?: string, detail?: string | null, kind?: string, heading?: "h1" | "h2" | "h3", actions?: Node[]}} said
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

/** The room of what comes with a module of its own. @param {() => Promise<HTMLElement>} fetched @param {() => void} retry */
export function arriving(fetched, retry) {
  const place = h("div");
  fetched().then(
    (element) => place.replaceWith(element),
    () => place.replaceWith(problemState(SERVER_GONE, { retry })),
  );
  return place;
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
