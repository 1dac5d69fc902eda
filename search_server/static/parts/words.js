/** Numbers and labels as people read them. */

const LABELS = {
  identical: "Identical",
  "near-duplicate": "Near-duplicate",
  "very similar": "Very similar",
  similar: "Similar",
  weak: "Weak",
};

/** What a score means, as the server says it. */
export function labelWords(label) {
  return LABELS[label] ?? label;
}

/** A cosine with two digits. What is only nearly the same never reads 1.00, and nothing reads −0.00. */
export function scoreWords(score) {
  const shown = score > 0.99995 ? 1 : Math.min(score, 0.9949);
  return (Math.round(shown * 100) / 100 + 0).toFixed(2).replace("-", "−");
}

export function count(number) {
  return number.toLocaleString("en");
}

export function plural(number, one, many) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

export function megabytes(bytes) {
  return `${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)} MiB`;
}

export function milliseconds(value) {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}
