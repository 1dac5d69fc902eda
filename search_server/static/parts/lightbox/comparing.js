/** A picture compared: laid over the query, why the two are alike, what the model sees of it and where it errs. */

import { isWithdrawn } from "../../api.js";
import { h, icon, motionIsReduced } from "../dom.js";
import { PATCHES, placesOf, shade } from "../heat.js";
import { announce, note } from "../messages.js";
import { scoreWords } from "../words.js";

const BLINK = 700; // milliseconds that each picture is seen

/** @typedef {import("../lightbox.js").LightboxWays} LightboxWays */

/**
 * The item over the query: a slider lets one shine through, a button lets them blink.
 *
 * @param {HTMLElement} stage
 * @param {any} item
 * @param {LightboxWays} ways
 * @param {AbortSignal} signal
 */
export function over(stage, item, ways, signal) {
  const above = picture(item, item.name);
  const below = picture(ways.query, "Your picture");
  const field = h("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": "How much of the item covers your picture" });
  const show = () => {
    above.style.opacity = String(Number(field.value) / 100);
    field.setAttribute("aria-valuetext", `${field.value} % of ${item.name}`);
  };
  let blinking = 0;
  const blink = h("button", { type: "button", class: "button", "aria-pressed": "false" }, icon("swap"), h("span", {}, "Blink"));
  const stop = () => {
    clearInterval(blinking);
    blinking = 0;
    blink.setAttribute("aria-pressed", "false");
  };
  const swap = () => {
    field.value = Number(field.value) > 50 ? "0" : "100";
    show();
  };
  blink.addEventListener("click", () => {
    if (motionIsReduced()) return swap(); // each press shows the other one
    if (blinking) return stop();
    swap();
    blinking = setInterval(swap, BLINK);
    blink.setAttribute("aria-pressed", "true");
    return undefined;
  });
  field.addEventListener("input", () => {
    stop();
    show();
  });
  signal.addEventListener("abort", stop);
  show();
  stage.replaceChildren(
    h("figure", { class: "laid-over" }, shot(item, below, above), h("figcaption", { class: "over-tools" }, h("span", {}, "Your picture"), field, h("span", {}, "This one"), blink)),
  );
}

/** Why the two are alike: what counts stays bright, in both pictures. @param {HTMLElement} stage @param {import("../../api.js").Picture} item @param {LightboxWays} ways @param {AbortSignal} signal */
export async function why(stage, item, ways, signal) {
  const { query, gallery } = ways;
  const api = /** @type {import("../../api.js").Api} */ (ways.api);
  /** @param {Rest.HeatOut | null} heat @param {any} one @param {string} words */
  const draw = (heat, one, words) => {
    const veil = heat && h("canvas", { class: "veil", width: 256, height: 256, "aria-hidden": "true" });
    if (veil) shade(veil, heat.weights);
    return h("figure", {}, shot(one, picture(one, one.name), veil && h("div", { class: "square" }, veil)), h("figcaption", {}, words));
  };
  /** @param {Rest.ExplainOut | null} answer @param {string[]} words */
  const showWith = (answer, words) =>
    stage.replaceChildren(draw(answer?.a ?? null, query, words[0]), draw(answer?.b ?? null, item, words[1]));
  showWith(null, ["Asking the model …", "Each part is blurred in turn"]);
  stage.setAttribute("aria-busy", "true");
  try {
    const answer = await api.explain(query.id, item.id, gallery.name, PATCHES, signal);
    showWith(answer, ["What counts in your picture", `What counts in this one · ${scoreWords(answer.score)}`]);
    announce(`${placesOf(answer.a.weights, "your picture")} ${placesOf(answer.b.weights, "this one")}`);
  } catch (error) {
    if (isWithdrawn(error)) return;
    note(error.message);
    showWith(null, ["Your picture", "It could not be explained"]);
  } finally {
    stage.removeAttribute("aria-busy");
  }
}

/** The picture, what the decoder paints of its code, and where the two differ. @param {HTMLElement} stage @param {import("../../api.js").Picture} item @param {LightboxWays} ways */
export function model(stage, item, { api, gallery }) {
  if (!api) return;
  const seen = api.reconstructionAddress(item.id, gallery.model.id);
  const error = api.errorMapAddress(item.id, gallery.model.id);
  stage.replaceChildren(
    h("figure", {}, shot({ width: 1, height: 1 }, picture(item, item.name, "covers")), h("figcaption", {}, "The part that the model sees")),
    h("figure", {}, shot({ width: 1, height: 1 }, picture({ image: seen }, `${item.name} as the model paints it from its code`)), h("figcaption", {}, "What it keeps of it")),
    h("figure", {}, shot({ width: 1, height: 1 }, picture({ image: error }, `Where the two differ: the brighter, the more`)), h("figcaption", {}, "Where the two differ")),
  );
}

/**
 * A box of a picture's shape, as large as there is room, with everything in it on top of each other.
 *
 * @param {{width: number, height: number}} shape
 * @param {...(HTMLElement | null)} layers
 */
function shot({ width, height }, ...layers) {
  return h("div", { class: "shot-room" }, h("div", { class: "shot zoomed", style: { "--aspect": String(width / height || 1) } }, layers));
}

/** @param {{image: string}} item @param {string} alt */
function picture(item, alt, kind = "") {
  return h("img", { class: `layer ${kind}`, src: item.image, alt, draggable: "false" });
}
