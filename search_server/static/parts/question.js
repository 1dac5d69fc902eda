/** What a search asks, as its address has it: a picture or several, a part of it, its forms, a filter, a weight. */

import { isItem } from "../api.js";

export const AS_INDEXED = 1; // the weight (`beta` of the API) that the index was made with

export const FORMS = ["none", "mirror", "rotate", "all"];

/**
 * @typedef {{x: number, y: number, w: number, h: number}} Crop Shares of the upright picture.
 * @typedef {{id: string, weight: number}} Part
 * @typedef {object} Question
 * @property {string | null} id Of an item or a stored query.
 * @property {Part[]} like
 * @property {Part[]} unlike
 * @property {Crop | null} crop
 * @property {string} forms
 * @property {boolean} self Whether an item is found by its own search.
 * @property {boolean} once Whether of pictures that are the same only the best is found.
 * @property {boolean} same Whether hits that are the same picture come first.
 * @property {number} beta
 * @property {string | null} filter JSON.
 * @property {string[]} galleries That are searched; none where it is the one that is shown, alone.
 */

/** @param {(name: string) => string | null} parameter @returns {Question} */
export function readQuestion(parameter) {
  return {
    id: parameter("id") ?? parameter("q"),
    like: readParts(parameter("like")),
    unlike: readParts(parameter("unlike")),
    crop: readCrop(parameter("crop")),
    forms: FORMS.find((one) => one === parameter("forms")) ?? "none",
    self: parameter("self") === "1",
    once: parameter("once") === "1",
    same: parameter("same") === "1",
    beta: Number(parameter("beta") ?? AS_INDEXED),
    filter: parameter("filter"),
    galleries: (parameter("in") ?? "").split("/").filter(Boolean),
  };
}

/** Whether it asks for several pictures at once. @param {Question} question */
export function isCombined({ like, unlike }) {
  return like.length + unlike.length > 0;
}

/** As parameters of an address; null where it is as usual. @param {Question} question @returns {Record<string, string | number | null>} */
export function parametersOf(question) {
  const { id, crop, forms } = question;
  return {
    id: id && isItem(id) ? id : null,
    q: id && !isItem(id) ? id : null,
    like: partsText(question.like),
    unlike: partsText(question.unlike),
    crop: crop ? cropText(crop) : null,
    forms: forms === "none" ? null : forms,
    self: question.self ? 1 : null,
    once: question.once ? 1 : null,
    same: question.same ? 1 : null,
    ...choicesOf(question),
  };
}

/** What goes on to another picture's search. @param {Question} question */
export function choicesOf({ beta, filter, galleries }) {
  return { beta: beta === AS_INDEXED ? null : beta, filter: filter || null, in: galleries.join("/") || null };
}

/** As the body of POST search. @param {Question} question @param {boolean} paints Whether the model has a decoder. */
export function bodyOf(question, paints) {
  const { id, like, unlike, crop, forms, self, once, same, beta, filter } = question;
  const what = isCombined(question) ? { positive: like, negative: unlike } : { id };
  return {
    ...what,
    beta,
    placeholders: true,
    ...(crop ? { crop } : {}),
    ...(self ? { exclude_self: false } : {}),
    ...(once ? { collapse_duplicates: true } : {}),
    ...(same && !isCombined(question) ? { same_picture: true } : {}),
    ...(forms === "none" ? {} : { transforms: forms }),
    ...(filter ? { filter } : {}),
    ...(paints && (crop || isCombined(question)) ? { include: ["reconstruction"] } : {}),
  };
}

/** "17,42*0.5" @param {Part[]} parts */
export function partsText(parts) {
  return parts.map(({ id, weight }) => (weight === 1 ? id : `${id}*${Number(weight.toFixed(2))}`)).join(",") || null;
}

/** @param {string | null} text @returns {Part[]} */
function readParts(text) {
  const parts = (text ?? "").split(",").filter(Boolean);
  return parts.map((part) => {
    const [id, weight] = part.split("*");
    return { id, weight: Number(weight ?? 1) || 1 };
  });
}

/** @param {Crop} crop */
function cropText({ x, y, w, h }) {
  return [x, y, w, h].map((share) => Number(share.toFixed(3))).join(",");
}

/** @param {string | null} text @returns {Crop | null} */
function readCrop(text) {
  const [x, y, w, h] = (text ?? "").split(",").map(Number);
  return w > 0 && h > 0 && x >= 0 && y >= 0 && x + w <= 1.001 && y + h <= 1.001 ? { x, y, w, h } : null;
}
