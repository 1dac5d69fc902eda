/** Numbers and labels as people read them. */

/** @type {Record<string, string>} */
const LABELS = {
  identical: "Identical",
  "near-duplicate": "Near-duplicate",
  "very similar": "Very similar",
  similar: "Similar",
  weak: "Weak",
};

/** What a score means, as the server says it. @param {string} label */
export function labelWords(label) {
  return LABELS[label] ?? label;
}

/** @typedef {{mirrored: boolean, turned: number, shown: number, corners: number[][]}} Lying How the query lies on a hit. */

const WHOLE = 0.97; // share of a picture that is as good as all of it
const STRAIGHT = 2; // degrees that nobody sees

/** Whether a query shows a part of the hit. @param {Lying} same */
export function isPart({ shown }) {
  return shown < WHOLE;
}

/** "mirrored, turned by 10 degrees, 52 % of it"; empty for the whole. @param {Lying} same */
function lyingWords({ mirrored, turned, shown }) {
  const words = [mirrored && "mirrored", Math.abs(turned) >= STRAIGHT && `turned by ${Math.abs(turned).toFixed(0)} degrees`, shown < WHOLE && `${(100 * shown).toFixed(0)} % of it`];
  return words.filter(Boolean).join(", ");
}

const COPIES = ["identical", "near-duplicate"];

/** How near a hit is; of one that comes first though its score is no copy's, why. @param {{label?: string, stands_out?: number | null, same_picture?: Lying | null}} hit */
export function hitWords({ label = "", stands_out: standsOut, same_picture: same }) {
  if (same) return ["Same picture", lyingWords(same)].filter(Boolean).join(", ");
  return standsOut && !COPIES.includes(label) ? "Stands out" : labelWords(label);
}

/** A cosine with two digits. What is only nearly the same never reads 1.00, and nothing reads −0.00. @param {number} score */
export function scoreWords(score) {
  const shown = score > 0.99995 ? 1 : Math.min(score, 0.9949);
  return (Math.round(shown * 100) / 100 + 0).toFixed(2).replace("-", "−");
}

/** @param {number} number */
export function count(number) {
  return number.toLocaleString("en");
}

/** How often a training has gone through its pictures: exact where that is seldom. @param {number} epochs */
export function passes(epochs) {
  return count(Number(epochs.toPrecision(epochs < 10 ? 2 : 3)));
}

/** @param {number} number @param {string} one @param {string} many */
export function plural(number, one, many) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** @param {number} bytes */
export function megabytes(bytes) {
  return `${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)} MiB`;
}

/** A number where there is little room: "940", "12k", "1.2M". @param {number} number */
export function compact(number) {
  return number.toLocaleString("en", { notation: "compact", maximumFractionDigits: 1 }).replace("K", "k");
}

/** @param {number} value */
export function milliseconds(value) {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}

/** Bytes in the unit that reads best. @param {number} bytes */
export function bytesWords(bytes) {
  if (bytes < 2 ** 20) return `${Math.ceil(bytes / 2 ** 10)} KiB`;
  return bytes < 2 ** 30 ? megabytes(bytes) : `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}

/** Seconds as "45 s", "3 min 20 s", "2 h 5 min". @param {number} seconds */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (hours) return `${count(hours)} h${minutes ? ` ${minutes} min` : ""}`;
  return minutes ? `${minutes} min${rest && minutes < 10 ? ` ${rest} s` : ""}` : `${rest} s`;
}

/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

/** A moment (RFC 3339) as people say it: "3 minutes ago". @param {string} moment */
export function ago(moment) {
  const seconds = (Date.now() - Date.parse(moment)) / 1000;
  const unit = UNITS.find(([, size]) => seconds >= size);
  if (!unit) return "just now";
  const [name, length] = unit;
  return new Intl.RelativeTimeFormat("en", { numeric: "auto" }).format(-Math.floor(seconds / length), name);
}
