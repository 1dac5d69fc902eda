/** Pictures that are ticked, of which not all need to be known by more than their ids. */

export class Selection extends EventTarget {
  constructor() {
    super();
    /** @type {Map<string, any>} id -> item, where it is known */
    this.kept = new Map();
  }

  get size() {
    return this.kept.size;
  }

  get ids() {
    return [...this.kept.keys()];
  }

  /** @param {string} id */
  has(id) {
    return this.kept.has(id);
  }

  /** @param {string} id @param {any} [item] */
  toggle(id, item) {
    if (!this.kept.delete(id)) this.kept.set(id, item);
    this.#changed();
  }

  /** @param {[string, any][]} entries */
  put(entries) {
    for (const [id, item] of entries) this.kept.set(id, item ?? this.kept.get(id));
    this.#changed();
  }

  clear() {
    this.kept.clear();
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
