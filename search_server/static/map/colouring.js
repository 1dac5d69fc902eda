/** What points are coloured by: clusters, a field, or how unusual they are; and the groups that come of it. */

import { coloursOf } from "../parts/colours.js";

export const SELECTED = 128; // added to the code of a point that is chosen
const MOST_GROUPS = 120; // further ones are one group: beside them in the palette stand those that are chosen
const HUES = 12;
/** @typedef {import("./map_columns.js").MapData} MapData */
/** @typedef {[number, number, number]} Colour Red, green, blue. */
/** @typedef {{words: string, isRest?: boolean, cluster?: Rest.ClusterOut, mostly?: string}} Named A group before its points are counted. */

/** @type {Record<string, string>} */
const TITLES = {
  cluster: "Cluster",
  folder: "Folder",
  year: "Year",
  tags: "Tag",
  camera: "Camera",
  reconstruction: "Painted badly",
  distance: "Far from others",
};
/** @type {[number, string][]} From which rank of 255, and in words. */
const UNUSUAL = [
  [0, "The most usual half"],
  [128, "50 to 80 %"],
  [204, "80 to 95 %"],
  [242, "95 to 99 %"],
  [253, "The most unusual 1 %"],
];
export const INCLUDED = ["folder", "year", "tags", "camera", "reconstruction", "distance"];

/**
 * @typedef {object} Group Points of one colour.
 * @property {number} code
 * @property {string} words
 * @property {number} count
 * @property {Colour} colour
 * @property {Rest.ClusterOut} [cluster]
 * @property {string} [mostly] The folder of most of its pictures.
 */

/** @typedef {{by: string, title: string, groups: Group[], codes: Uint8Array}} Colouring A group's code for each point. */

/** What the points of a map can be coloured by: [name, words]. @param {import("./map_columns.js").MapData} map */
export function colourings(map) {
  return Object.entries(TITLES).filter(([name]) => map.columns[name] && (name === "cluster" || !map.values[name] || map.values[name].length > 1 || name === "tags"));
}

/**
 * @param {MapData} map
 * @param {string} by
 * @returns {Colouring}
 */
export function colouring(map, by) {
  const make = by === "cluster" ? byCluster : by in map.values ? byValue : byRank;
  const { named, codes } = make(map, by);
  const counts = new Uint32Array(256);
  for (let row = 0; row < map.count; row++) counts[codes[row]] += 1;
  const ordered = by === "year" || !(by === "cluster" || by in map.values);
  const groups = named.map((group, code) => ({ ...group, code, count: counts[code] })).filter(({ count }) => count);
  const colours = ordered ? ramp(named.length) : hues(named.length);
  return { by, title: TITLES[by], codes, groups: groups.map((group) => ({ ...group, colour: group.isRest ? grey() : colours[group.code] })) };
}

/** @param {MapData} map @returns {{named: Named[], codes: Uint8Array}} */
function byCluster(map) {
  const ranked = [...map.clusters].sort((one, other) => other.count - one.count);
  const codeOf = new Uint8Array(65536).fill(MOST_GROUPS);
  ranked.slice(0, MOST_GROUPS).forEach(({ cluster }, code) => (codeOf[cluster] = code));
  const codes = map.columns.cluster instanceof Uint16Array ? Uint8Array.from(map.columns.cluster, (cluster) => codeOf[cluster]) : new Uint8Array(map.count);
  const mostly = mostFrequentFolders(map, codes);
  const named = ranked.slice(0, MOST_GROUPS).map((cluster, code) => ({ words: `Cluster ${cluster.cluster + 1}`, cluster, mostly: mostly[code] }));
  return { named: [...named, { words: "Smaller clusters", isRest: true }], codes };
}

/** The folder that more than half of the pictures of each cluster lie in. @param {MapData} map @param {Uint8Array} codes @returns {(string | undefined)[]} */
function mostFrequentFolders({ count, columns: { folder }, values }, codes) {
  if (!folder) return [];
  const names = values.folder;
  const tally = new Uint32Array((MOST_GROUPS + 1) * (names.length + 1));
  const totals = new Uint32Array(MOST_GROUPS + 1);
  for (let row = 0; row < count; row++) {
    totals[codes[row]] += 1;
    tally[codes[row] * (names.length + 1) + Math.min(folder[row], names.length)] += 1;
  }
  return [...totals].map((total, code) => {
    const best = names.findIndex((/** @type {string} */ _, /** @type {number} */ place) => 2 * tally[code * (names.length + 1) + place] > total);
    return best < 0 ? undefined : folderWords(names[best]);
  });
}

/** @param {MapData} map @param {string} by @returns {{named: Named[], codes: Uint8Array}} */
function byValue(map, by) {
  const values = map.values[by];
  const column = map.columns[by];
  // Years stand in their order, all else by how many have it.
  const order = values.map((_, code) => code);
  if (by === "year") order.sort((one, other) => values[one] - values[other]);
  const placeOf = new Uint8Array(65536).fill(values.length);
  order.forEach((code, place) => (placeOf[code] = place));
  const named = order.map((code) => ({ words: by === "folder" ? folderWords(values[code]) : String(values[code]) }));
  return { named: [...named, { words: "All others", isRest: true }], codes: Uint8Array.from(column, (/** @type {number} */ code) => placeOf[code]) };
}

/** @param {MapData} map @param {string} by @returns {{named: Named[], codes: Uint8Array}} */
function byRank(map, by) {
  const codes = Uint8Array.from(map.columns[by], (/** @type {number} */ rank) => UNUSUAL.findLastIndex(([from]) => rank >= from));
  return { named: UNUSUAL.map(([, words]) => ({ words })), codes };
}

/** @param {string} folder */
function folderWords(folder) {
  return folder === "" ? "(top folder)" : folder;
}

/** @param {number} count @returns {Colour[]} */
function hues(count) {
  const base = coloursOf(Array.from({ length: HUES }, (_, place) => `--hue-${place + 1}`)).map(numbers);
  const [ink, ground] = coloursOf(["--ink", "--ground"]).map(numbers);
  // Each round of hues is a little darker, then a little lighter: neighbours in the list never share a colour.
  return Array.from({ length: count }, (_, place) => {
    const round = Math.floor(place / HUES);
    return round === 0 ? base[place] : mix(base[place % HUES], round % 2 ? ink : ground, Math.min(0.55, 0.2 + 0.1 * round));
  });
}

/** @param {number} count @returns {Colour[]} */
function ramp(count) {
  const [low, middle, high] = coloursOf(["--ramp-low", "--ramp-middle", "--ramp-high"]).map(numbers);
  return Array.from({ length: count }, (_, place) => {
    const share = count > 1 ? place / (count - 1) : 1;
    return share < 0.5 ? mix(low, middle, 2 * share) : mix(middle, high, 2 * share - 1);
  });
}

/** @returns {Colour} */
function grey() {
  return numbers(coloursOf(["--edge"])[0]);
}

/** @param {Colour} one @param {Colour} other @param {number} share @returns {Colour} */
function mix(one, other, share) {
  return /** @type {Colour} */ (one.map((value, place) => Math.round(value + (other[place] - value) * share)));
}

/** "rgb(1, 2, 3)" as numbers. @param {string} colour @returns {Colour} */
function numbers(colour) {
  return /** @type {Colour} */ ((colour.match(/[\d.]+/g) ?? ["0", "0", "0"]).slice(0, 3).map(Number));
}

/**
 * The palette that points are drawn with.
 *
 * @param {Group[]} groups
 * @param {Set<number>} hidden Codes that are not shown.
 * @param {boolean} isChosen Whether some points are chosen: the others step back.
 */
export function paletteOf(groups, hidden, isChosen) {
  const palette = new Uint8Array(4 * 256);
  const [chosen] = coloursOf(["--ink"]).map(numbers);
  for (const { code, colour } of groups) {
    if (hidden.has(code)) continue;
    palette.set([...colour, isChosen ? 90 : 225], 4 * code);
    palette.set([...(isChosen ? colour : chosen), 255], 4 * (code + SELECTED));
  }
  return palette;
}
