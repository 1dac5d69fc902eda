/** Small pictures for a canvas: fetched when they are seen first, a few at a time, kept while there is room. */

const AT_ONCE = 6;
const KEPT = 900;
const LARGEST = 128; // pixels of the longer side

export class Thumbnails {
  /**
   * @param {(id: number) => string} address
   * @param {() => void} came A picture is there: draw again.
   * @param {AbortSignal} signal
   */
  constructor(address, came, signal) {
    this.address = address;
    this.came = came;
    this.signal = signal;
    /** @type {Map<number, ImageBitmap | null>} id -> picture; null: it is fetched, or there is none */
    this.kept = new Map();
    /** @type {number[]} */
    this.waiting = [];
    this.fetching = 0;
    signal.addEventListener("abort", () => this.#forgetAll());
  }

  /** A picture that is there already. @param {number} id */
  get(id) {
    const found = this.kept.get(id);
    if (!found) return null;
    this.kept.delete(id); // what was asked for last goes last
    this.kept.set(id, found);
    return found;
  }

  /** These are seen now, the most important first: fetch what is missing, and nothing else. @param {number[]} ids */
  want(ids) {
    this.waiting = ids.filter((id) => !this.kept.has(id)).reverse();
    while (this.fetching < AT_ONCE && this.waiting.length) this.#fetch(this.waiting.pop());
  }

  /** @param {number | undefined} id */
  async #fetch(id) {
    if (id === undefined) return;
    this.fetching += 1;
    this.kept.set(id, null);
    try {
      const response = await fetch(this.address(id), { signal: this.signal });
      if (response.ok) this.kept.set(id, await small(await response.blob()));
    } catch {
      // The server is gone, or the view is: the point stays a point. To ask again at once would be to ask without end.
    }
    this.fetching -= 1;
    if (this.signal.aborted) return this.#forgetAll();
    this.#forgetOldest();
    this.came();
    this.#fetch(this.waiting.pop());
  }

  #forgetOldest() {
    for (const [id, picture] of this.kept) {
      if (this.kept.size <= KEPT) return;
      if (!picture) continue;
      picture.close();
      this.kept.delete(id);
    }
  }

  #forgetAll() {
    for (const picture of this.kept.values()) picture?.close();
    this.kept.clear();
    this.waiting = [];
  }
}

/** @param {Blob} blob */
async function small(blob) {
  const whole = await createImageBitmap(blob);
  const scale = LARGEST / Math.max(whole.width, whole.height);
  if (scale >= 1) return whole;
  const size = { resizeWidth: Math.max(1, Math.round(whole.width * scale)), resizeHeight: Math.max(1, Math.round(whole.height * scale)) };
  const scaled = await createImageBitmap(whole, { ...size, resizeQuality: "medium" });
  whole.close();
  return scaled;
}
