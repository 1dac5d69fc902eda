/** Pictures that the reader has put aside, each counted for (+1) or against (-1) what is looked for; kept per gallery. */

const MOST = 100; // pictures: a combined query takes fewer, a contact sheet no more

/** @typedef {import("../api.js").Picture} Picture */
/** @typedef {{item: Picture, sign: 1 | -1}} Entry */

export class Tray extends EventTarget {
  /** @param {string} gallery Name of the gallery whose pictures these are. */
  constructor(gallery) {
    super();
    this.key = `lookalike.tray.${gallery}`;
    /** @type {Map<string, Entry>} */
    this.kept = new Map(read(this.key).map((entry) => [entry.item.id, entry]));
  }

  get entries() {
    return [...this.kept.values()];
  }

  get size() {
    return this.kept.size;
  }

  /** @param {string} id */
  has(id) {
    return this.kept.has(id);
  }

  /** 1 or -1, or 0 of a picture that is not in it. @param {string} id */
  signOf(id) {
    return this.kept.get(id)?.sign ?? 0;
  }

  /** Take a picture out if it is in with this sign, else put it in; how many found no room. @param {Picture} item @param {1 | -1} sign */
  toggle(item, sign = 1) {
    if (this.signOf(item.id) !== sign) return this.add([item], sign);
    this.remove(item.id);
    return 0;
  }

  /** Put pictures in, or give those that are in another sign; how many found no room. @param {Picture[]} items @param {1 | -1} sign */
  add(items, sign = 1) {
    let refused = 0;
    for (const item of items) {
      if (this.kept.size >= MOST && !this.kept.has(item.id)) refused += 1;
      else this.kept.set(item.id, { item, sign });
    }
    this.#changed();
    return refused;
  }

  /** @param {string} id */
  remove(id) {
    this.kept.delete(id);
    this.#changed();
  }

  clear() {
    this.kept.clear();
    this.#changed();
  }

  #changed() {
    try {
      sessionStorage.setItem(this.key, JSON.stringify(this.entries));
    } catch {
      // Storage refused or full: the tray lasts as long as the page does.
    }
    this.dispatchEvent(new Event("change"));
  }
}

/** @param {string} key @returns {Entry[]} */
function read(key) {
  try {
    /** @type {any[]} */
    const entries = JSON.parse(sessionStorage.getItem(key) ?? "[]");
    return entries.filter(({ item, sign }) => typeof item?.id === "string" && (sign === 1 || sign === -1));
  } catch {
    return [];
  }
}
