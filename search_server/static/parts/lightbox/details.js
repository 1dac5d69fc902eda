/** What is known of a picture beside its pixels. */

import { homeOf, isItem, isWithdrawn } from "../../api.js";
import { h } from "../dom.js";
import { bytesWords, count, scoreWords } from "../words.js";

/**
 * @param {HTMLElement} place
 * @param {any} item
 * @param {import("../../api.js").Api | undefined} api
 * @param {AbortSignal} signal
 */
export async function fillDetails(place, item, api, signal) {
  draw(place, item);
  const { gallery, id } = homeOf(item.id);
  if (!api || !isItem(id)) return;
  try {
    draw(place, { ...item, ...(await (gallery ? api.of(gallery) : api).picture(id, signal)) });
  } catch (error) {
    if (!isWithdrawn(error)) place.append(h("p", { class: "quiet-words" }, error.message));
  }
}

/** @param {HTMLElement} place @param {import("../../api.js").Picture & Partial<Rest.ItemOut> & {gallery?: string}} item */
function draw(place, item) {
  const rows = [
    ["Gallery", item.gallery],
    ["Name", item.name],
    ["Path", item.path],
    ["Size", `${count(item.width)} × ${count(item.height)} pixels`],
    ["File", [item.format, item.bytes === undefined ? null : bytesWords(item.bytes)].filter(Boolean).join(", ")],
    ["Similarity", item.score === undefined ? null : `${scoreWords(item.score)}${item.percentile ? `, closer than ${item.percentile.toFixed(1)} % of nearest neighbours` : ""}`],
    ["Added", item.added_at ? new Date(item.added_at).toLocaleString() : null],
    ["Tags", item.tags?.length ? item.tags.join(", ") : null],
    ...Object.entries(item.metadata ?? {}).map(([name, value]) => [name, Array.isArray(value) ? value.join(", ") : String(value)]),
    ["Id", homeOf(item.id).id],
  ];
  const shown = rows.filter(([, value]) => value);
  place.replaceChildren(h("h3", {}, "About this picture"), h("dl", {}, shown.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))));
}
