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

/** A cosine with two digits. What is only nearly the same never reads 1.00, and nothing reads −0.00. @param {number} score */
export function scoreWords(score) {
  const shown = score > 0.99995 ? 1 : Math.min(score, 0.9949);
  return (Math.round(shown * 100) / 100 + 0).toFixed(2).replace("-", "−");
}

/** @param {number} number */
export function count(number) {
  return number.toLocaleString("en");
}

/** @param {number} number @param {string} one @param {string} many */
export function plural(number, one, many) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** @param {number} bytes */
export function megabytes(bytes) {
  return `${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)} MiB`;
}

/** The size of a file: "48 kB", "3.4 MB". @param {number} bytes */
export function bytesWords(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  const [unit, size] = bytes < 1e6 ? ["kB", 1e3] : bytes < 1e9 ? ["MB", 1e6] : ["GB", 1e9];
  const value = bytes / size;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

/** A number where there is little room: "940", "12k", "1.2M". @param {number} number */
export function compact(number) {
  return number.toLocaleString("en", { notation: "compact", maximumFractionDigits: 1 }).replace("K", "k");
}

/** @param {number} value */
export function milliseconds(value) {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}
