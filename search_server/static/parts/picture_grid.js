/** Pictures in rows, of which only those near the window are in the document: as smooth with 100,000 as with 100. */

import { h, icon } from "./dom.js";
import { aspectOf, boxesOf, justify, rowAt, rowOf, within } from "./picture_rows.js";
import { actsOf, pictureTile, skeletonTile, tileActions, waitingTile } from "./picture_tile.js";
import { count } from "./words.js";

const SHARP_ROW = 230; // CSS pixels: above, a thumbnail would be blurred and the preview is shown
const SKELETON_ASPECTS = [1.5, 0.75, 1.33, 1.5, 1, 1.5, 0.67, 1.33, 1.78, 1.5, 1.5, 0.8];
const ALL = 240; // pictures: so few are all in the document, where the browser's own search finds them
const EAGER = 24; // pictures that are asked for at once
const AHEAD = 0.75; // windows above and below the one that is seen
const BUDGET = 6; // milliseconds of a frame that go into new tiles
const FAST = 1.5; // windows a frame: pictures that fly by are not asked for
const REST = 90; // milliseconds without scrolling
const HELPING = 200; // pictures that are described at once
const ROOMY = 120; // CSS pixels: so wide a tile has a button even where nothing hovers
const QUICK_ROOM = 42; // CSS pixels that a button on a tile takes
export const DRAGGED = "application/x-lookalike-picture"; // type of a tile that is dragged: its JSON

/**
 * @typedef {object} GridChoices
 * @property {string} label What the list is, for screen readers.
 * @property {(id: string) => string} address Where a tile's link leads.
 * @property {(item: any, tile: HTMLElement) => void} choose A tile was clicked.
 * @property {import("./picture_tile.js").Act[]} [actions] What can be done with a picture; the quick ones on its tile.
 * @property {import("./tray.js").Tray} [tray] Whose pictures carry its sign.
 * @property {import("./selection.js").Selection} [selection] Pictures that can be ticked.
 */

/** A list that knows when it comes into the document and when it leaves it. */
class PictureList extends HTMLElement {
  /** @type {PictureGrid | null} */
  grid = null;

  connectedCallback() {
    this.grid?.connected();
  }

  disconnectedCallback() {
    this.grid?.disconnected();
  }
}
customElements.define("picture-list", PictureList);

export class PictureGrid {
  /** @type {import("./picture_rows.js").Rows} */
  rows = justify([], 1, { row: 1, column: 0, below: 0 });
  sizes = { row: 0, column: 0, below: 0 };
  /** @type {ArrayLike<number>} Aspects of the pictures that are shown, in their order. */
  shown = [];
  width = 0;
  sharp = false;
  fast = false; // pictures fly by
  unseen = false; // tiles that were just made: they are painted before their pictures are asked for
  pending = false;
  /** @type {number | undefined} Place of the tile that has the focus: it stays in the document. */
  held;
  /** @type {number | undefined} Place of the tile that was ticked last. */
  ticked;
  /** @type {number | undefined} */
  lastTop;
  /** @type {import("./picture_rows.js").Rows | null} As the tiles in the document are placed. */
  placed = null;
  resting = 0;
  /** @type {Map<string | undefined, HTMLElement> | null} */
  reusable = null;
  /** @type {((item: any) => string) | null} */
  source = null;
  /** @type {((one: any, other: any) => number) | null} */
  compare = null;
  /** @type {Map<string, any> | null} */
  known = null;
  /** @type {(ids: string[], signal: AbortSignal) => Promise<any[]>} */
  load = async () => [];
  describing = new AbortController();
  scrolled = () => this.#scrolled();
  marked = () => this.remark();
  watcher = new ResizeObserver(() => this.#resized());

  /** @param {GridChoices} choices */
  constructor(choices) {
    this.choices = choices;
    /** @type {any[]} What is known of each picture; with an outline, not of all of them. */
    this.items = [];
    /** @type {BigInt64Array | null} */
    this.ids = null;
    this.total = 0;
    this.aspects = new Float32Array(256);
    this.least = -1;
    /** @type {Int32Array | null} Numbers of the pictures that are shown, in their order; null: all, as they came. */
    this.order = null;
    this.awaited = 0; // grey tiles
    /** @type {Map<number, HTMLElement>} place -> tile in the document */
    this.mounted = new Map();
    this.list = h("ol", { class: "grid laid", role: "list", "aria-label": choices.label });
    const element = /** @type {PictureList} */ (document.createElement("picture-list"));
    element.append(this.list);
    element.grid = this;
    /** @type {HTMLElement} */
    this.element = element;
    this.#listen();
  }

  // What is shown ----------------------------------------------------------------------------------------------------

  /** Add pictures below those that are there. @param {any[]} items */
  add(items) {
    if (this.awaited) this.#unmountAll();
    this.awaited = 0;
    this.list.removeAttribute("aria-busy");
    this.#room(this.items.length + items.length);
    for (const item of items) {
      this.aspects[this.items.length] = aspectOf(item);
      this.items.push(item);
    }
    this.total = this.items.length;
    this.#arrange();
  }

  /**
   * Show a list of which at first only the outline is known.
   *
   * @param {{ids: BigInt64Array, aspects: Float32Array}} outline
   * @param {(ids: string[], signal: AbortSignal) => Promise<any[]>} load Describes some of its pictures.
   * @param {Map<string, any>} known Pictures that are described already, by id.
   */
  outline({ ids, aspects }, load, known) {
    this.awaited = 0;
    this.list.removeAttribute("aria-busy");
    this.ids = ids;
    this.load = load;
    this.known = known;
    this.total = ids.length;
    this.aspects = aspects.map(within);
    this.items = new Array(ids.length);
    this.#rearrange();
  }

  /** Show as many grey tiles where pictures will be. @param {number} number */
  expect(number) {
    this.list.setAttribute("aria-busy", "true");
    this.awaited = number;
    this.#room(number);
    for (let place = 0; place < number; place++) this.aspects[place] = SKELETON_ASPECTS[place % SKELETON_ASPECTS.length];
    this.#arrange();
  }

  clear() {
    this.items = [];
    this.ids = null;
    this.known = null;
    this.total = 0;
    this.awaited = 0;
    this.order = null;
    this.#unmountAll();
    this.#arrange();
  }

  /** Leave out pictures whose score is less, and return how many are shown. @param {number} least */
  filter(least) {
    if (least !== this.least) {
      this.least = least;
      this.#rearrange();
    }
    return this.length;
  }

  /**
   * Show the pictures in another order; null: as they came.
   *
   * @param {((one: any, other: any) => number) | null} compare
   */
  sort(compare) {
    this.compare = compare;
    this.#rearrange();
  }

  /** Set the height of a row in CSS pixels. @param {number} row */
  resize(row) {
    this.list.style.setProperty("--row", `${row}px`);
    this.sharp = row > SHARP_ROW;
    if (!this.width) return;
    this.#keepingPlace(() => this.#layout());
    for (const [place, tile] of this.mounted) this.#picture(tile, this.item(place));
  }

  /** Show something else than the pictures themselves. @param {((item: any) => string) | null} address */
  showAs(address) {
    this.source = address;
    this.list.classList.toggle("as-the-model", Boolean(address));
    for (const [place, tile] of this.mounted) this.#picture(tile, this.item(place));
  }

  /** How many pictures are shown. */
  get length() {
    return this.awaited || (this.order ? this.order.length : this.total);
  }

  /** What is known of the picture at a place. @param {number} place */
  item(place) {
    const number = this.order ? this.order[place] : place;
    if (number === undefined || number < 0) return undefined;
    return this.items[number] ?? this.known?.get(this.idAt(place));
  }

  /** @param {number} place @returns {string} */
  idAt(place) {
    const number = this.order ? this.order[place] : place;
    return this.ids ? String(this.ids[number]) : this.items[number]?.id;
  }

  /** Pictures as the lightbox walks through them. */
  walk() {
    return {
      length: this.length,
      at: (/** @type {number} */ place) => this.item(place),
      fetch: async (/** @type {number} */ place) => this.item(place) ?? (await this.#describe([place]), this.item(place)),
      placeOf: (/** @type {import("../api.js").Picture} */ item) => this.placeOf(item.id),
      reveal: (/** @type {number} */ place) => this.reveal(place),
    };
  }

  /** @param {string} id */
  placeOf(id) {
    for (const [place, tile] of this.mounted) if (tile.dataset.id === id) return place;
    for (let place = 0; place < this.length; place++) if (this.idAt(place) === id) return place;
    return -1;
  }

  /** The item of the tile that has the focus, or null. */
  focused() {
    const place = this.#placeOf(document.activeElement);
    return place === null ? null : (this.item(place) ?? null);
  }

  /** The place and tile that have the focus, or null. */
  focusedTile() {
    const place = this.#placeOf(document.activeElement);
    return place === null ? null : { place, tile: this.mounted.get(place) };
  }

  /** Bring a picture into the window, and its link into the focus. @param {number} place */
  reveal(place) {
    if (place < 0 || place >= this.rows.first[this.rows.count]) return;
    const row = rowOf(this.rows, place);
    const offset = this.list.getBoundingClientRect().top;
    const top = offset + this.rows.top[row];
    const bottom = offset + this.rows.top[row + 1];
    const [above, below] = margins();
    if (top < above) scrollBy(0, top - above);
    else if (bottom > innerHeight - below) scrollBy(0, bottom - innerHeight + below);
    this.held = place;
    this.#mount(true);
    /** @type {HTMLElement | null | undefined} */ (this.mounted.get(place)?.querySelector(".tile-picture"))?.focus({ preventScroll: true });
  }

  /** Show signs and ticks as they are now. */
  remark() {
    const { tray, selection } = this.choices;
    this.list.classList.toggle("selecting", Boolean(selection?.size));
    for (const tile of this.mounted.values()) this.#mark(tile, tray, selection);
  }

  // In and out of the document ---------------------------------------------------------------------------------------

  connected() {
    document.addEventListener("scroll", this.scrolled, { passive: true, capture: true });
    this.choices.tray?.addEventListener("change", this.marked);
    this.choices.selection?.addEventListener("change", this.marked);
    this.watcher.observe(this.list);
    this.#layout();
  }

  disconnected() {
    document.removeEventListener("scroll", this.scrolled, { capture: true });
    this.choices.tray?.removeEventListener("change", this.marked);
    this.choices.selection?.removeEventListener("change", this.marked);
    this.watcher.disconnect();
    this.describing.abort();
    clearTimeout(this.resting);
  }

  #resized() {
    if (this.list.clientWidth !== this.width) this.#keepingPlace(() => this.#layout());
  }

  #scrolled() {
    if (this.pending || !this.rows.count) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      if (this.element.isConnected && this.#mount()) this.#scrolled();
    });
  }

  // Layout -----------------------------------------------------------------------------------------------------------

  /** @param {number} number */
  #room(number) {
    if (number <= this.aspects.length) return;
    const wider = new Float32Array(Math.max(number, 2 * this.aspects.length));
    wider.set(this.aspects);
    this.aspects = wider;
  }

  #arrange() {
    this.order = this.awaited ? null : this.#orderOf();
    this.#layout();
  }

  /** Put the tiles that are there to their new places: their pictures are not fetched anew. */
  #rearrange() {
    this.reusable = new Map([...this.mounted.values()].map((tile) => [tile.dataset.id, tile]));
    this.mounted.clear();
    this.held = undefined;
    this.list.replaceChildren();
    this.#arrange();
    this.reusable = null;
  }

  #orderOf() {
    if (this.ids || (this.least <= -1 && !this.compare)) return null;
    /** @type {number[]} */
    const numbers = [];
    this.items.forEach((item, number) => (item.score ?? 1) >= this.least && numbers.push(number));
    const { compare } = this;
    if (compare) numbers.sort((one, other) => compare(this.items[one], this.items[other]) || one - other);
    return Int32Array.from(numbers);
  }

  #layout() {
    if (!this.element.isConnected) return;
    this.width = this.list.clientWidth;
    if (!this.width) return;
    const { top } = this.list.getBoundingClientRect(); // read before anything is written: the window is laid out once
    const style = getComputedStyle(this.list);
    const [row, column, gap, caption] = [style.gridAutoRows, style.columnGap, style.rowGap, style.scrollMarginBlockEnd].map(parseFloat);
    const scored = !this.awaited && this.items[0]?.score !== undefined;
    this.sizes = { row, column, below: gap + (scored ? caption : 0) };
    this.shown = this.order ? Float32Array.from(this.order, (number) => this.aspects[number]) : this.aspects.subarray(0, this.length);
    this.rows = justify(this.shown, this.width, this.sizes);
    this.list.style.height = `${this.length ? this.rows.top[this.rows.count] - gap : 0}px`;
    for (const [place, tile] of this.mounted) if (place >= this.length) this.#unmount(place, tile);
    this.placed = null; // all that are mounted have moved
    this.unseen = !this.mounted.size && !this.awaited && !this.reusable;
    if (this.unseen) requestAnimationFrame(() => setTimeout(() => this.#seen()));
    if (this.#mount(this.reusable !== null, top)) requestAnimationFrame(() => this.#scrolled()); // what is in the window is painted first
  }

  /** Do what moves pictures, and keep the one at the top of the window where it is. @param {() => void} act */
  #keepingPlace(act) {
    const [above] = margins();
    const down = above - this.list.getBoundingClientRect().top;
    const anchored = this.rows.count && down > 0 && this.length ? this.rows.first[rowAt(this.rows, down)] : null;
    const before = anchored === null ? 0 : this.rows.top[rowOf(this.rows, anchored)] - down;
    act();
    if (anchored === null || anchored >= this.length) return;
    const after = this.rows.top[rowOf(this.rows, anchored)] - (above - this.list.getBoundingClientRect().top);
    if (Math.abs(after - before) > 0.5) scrollBy(0, after - before);
    this.#mount(true);
  }

  /**
   * Put into the document what is near the window, and take out what is not; nearest first, a few milliseconds long,
   * unless all of it is wanted at once.
   *
   * @param {boolean} whole
   * @param {number} offset Of the list from the top of the window, CSS pixels.
   * @returns {boolean} Whether some is left to do, outside the window.
   */
  #mount(whole = false, offset = this.list.getBoundingClientRect().top) {
    if (!this.rows.count || !this.length) {
      this.#unmountAll();
      return false;
    }
    const { rows } = this;
    const top = -offset;
    const window = innerHeight;
    const few = this.length <= ALL;
    const from = few ? 0 : rowAt(rows, top - AHEAD * window);
    const to = few ? rows.count - 1 : rowAt(rows, top + (1 + AHEAD) * window);
    const low = rows.first[from];
    const high = rows.first[to + 1];
    this.fast = !few && Math.abs(top - (this.lastTop ?? top)) > FAST * window;
    this.lastTop = top;
    for (const [place, tile] of this.mounted) {
      if ((place < low || place >= high) && place !== this.held) this.#unmount(place, tile);
    }
    const seen = rowAt(rows, top);
    const end = rowAt(rows, top + window);
    const due = [];
    for (let row = seen; row <= end; row++) due.push(row);
    for (let step = 1; seen - step >= from || end + step <= to; step++) {
      if (end + step <= to) due.push(end + step);
      if (seen - step >= from) due.push(seen - step);
    }
    const began = performance.now();
    const budget = this.unseen ? 0 : BUDGET; // the first frame has what is in the window, and nothing else
    const fresh = this.placed !== rows;
    this.placed = rows;
    let left = false;
    for (const row of due) {
      const late = !whole && (row < seen || row > end) && performance.now() - began > budget;
      left ||= late;
      if (late && !fresh) break;
      this.#mountRow(row, fresh, undefined, !late);
    }
    if (this.held !== undefined && this.held < this.length && (this.held < low || this.held >= high)) this.#mountRow(rowOf(rows, this.held), fresh, this.held);
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.#rested(), REST);
    return left;
  }

  /** @param {number} row @param {boolean} fresh @param {number | undefined} only @param {boolean} make Else only what is there is moved. */
  #mountRow(row, fresh, only, make = true) {
    const { rows, shown, sizes } = this;
    const boxes = only === undefined && !fresh && this.#isMounted(row) ? [] : boxesOf(rows, shown, row, sizes.column);
    for (const { place, left, width } of boxes) {
      if (only !== undefined && place !== only) continue;
      const there = this.mounted.get(place);
      if (there ? !fresh : !make) continue;
      const tile = there ?? this.#make(place);
      const { style } = tile;
      style.left = `${left}px`;
      style.top = `${rows.top[row]}px`; // not a transform: far down, its numbers are not fine enough
      style.width = `${width}px`;
      /** @type {HTMLElement} */ (tile.firstElementChild).style.height = `${rows.height[row]}px`;
      tile.dataset.room = String(Math.floor(width / QUICK_ROOM));
      if (!there) this.#insert(place, tile);
      if (!HOVERS && !this.fast) this.#dress(tile, place);
    }
  }

  /** @param {number} row */
  #isMounted(row) {
    const { first } = this.rows;
    for (let place = first[row]; place < first[row + 1]; place++) if (!this.mounted.has(place)) return false;
    return true;
  }

  /** Put a tile where the order of reading wants it. @param {number} place @param {HTMLElement} tile */
  #insert(place, tile) {
    this.mounted.set(place, tile);
    const before = this.mounted.get(place - 1);
    if (before?.parentNode) return before.after(tile);
    const after = this.mounted.get(place + 1);
    if (after?.parentNode) return after.before(tile);
    let next = null;
    for (const other of this.list.children) {
      if (Number(/** @type {HTMLElement} */ (other).dataset.place) > place) {
        next = other;
        break;
      }
    }
    this.list.insertBefore(tile, next);
  }

  /** @param {number} place @param {HTMLElement} tile */
  #unmount(place, tile) {
    const picture = tile.querySelector("img");
    if (picture && !picture.complete) picture.removeAttribute("src"); // what nobody sees need not come
    tile.remove();
    this.mounted.delete(place);
  }

  #unmountAll() {
    for (const [place, tile] of this.mounted) this.#unmount(place, tile);
    this.held = undefined;
    this.mounted.clear();
  }

  /** @param {number} place */
  #make(place) {
    const { address, tray, selection } = this.choices;
    const again = this.reusable?.get(this.idAt(place));
    if (again) {
      this.#number(again, place);
      return again;
    }
    let tile;
    const item = this.awaited ? null : this.item(place);
    if (this.awaited) tile = skeletonTile();
    else if (item) tile = pictureTile(item, address(item.id));
    else tile = waitingTile(this.idAt(place), address(this.idAt(place)), `Picture ${count(place + 1)} of ${count(this.length)}`);
    this.#number(tile, place);
    if (this.awaited) return tile;
    const picture = tile.querySelector("img");
    if (picture && place >= EAGER && this.length <= ALL) picture.loading = "lazy"; // far below, it may be
    if (item && !this.fast && !this.unseen) this.#picture(tile, item);
    this.#mark(tile, tray, selection);
    return tile;
  }

  /** Say which of all it is, where not all are in the document. @param {HTMLElement} tile @param {number} place */
  #number(tile, place) {
    tile.dataset.place = String(place);
    if (this.awaited || this.length <= ALL) return;
    tile.setAttribute("aria-setsize", String(this.length));
    tile.setAttribute("aria-posinset", String(place + 1));
  }

  // Pictures ---------------------------------------------------------------------------------------------------------

  /** @param {HTMLElement} tile @param {import("../api.js").Picture} item */
  #picture(tile, item) {
    const picture = tile.querySelector("img");
    if (!picture || !item) return;
    const source = this.source ? this.source(item) : this.sharp ? item.image : item.thumb;
    if (picture.getAttribute("src") === source) return;
    // The small one is there at once, until the sharp one is.
    picture.style.backgroundImage = this.sharp && !this.source ? `url("${item.thumb}")` : "";
    picture.src = source;
  }

  /** The first frame shows where pictures will be, and what they are like: now they may take the machine. */
  #seen() {
    this.unseen = false;
    for (const [place, tile] of this.mounted) this.#picture(tile, this.item(place));
  }

  /** Scrolling has come to rest: ask for what flew by before. */
  #rested() {
    if (!this.element.isConnected) return;
    const unknown = [];
    for (const [place, tile] of this.mounted) {
      const item = this.item(place);
      if (item && tile.classList.contains("waiting")) this.#known(place, item);
      else if (item) this.#picture(tile, item);
      else if (!this.awaited && this.ids) unknown.push(place);
    }
    if (unknown.length) this.#describe(unknown);
    if (this.fast) this.fast = false;
  }

  /** @param {number[]} places */
  async #describe(places) {
    this.describing.abort();
    const asking = new AbortController();
    this.describing = asking;
    try {
      for (let from = 0; from < places.length; from += HELPING) {
        const some = places.slice(from, from + HELPING);
        const items = await this.load(some.map((/** @type {number} */ place) => this.idAt(place)), asking.signal);
        const byId = new Map(items.map((item) => [item.id, item]));
        for (const place of some) this.#known(place, byId.get(this.idAt(place)));
      }
    } catch (error) {
      if (error?.name !== "AbortError") this.element.dispatchEvent(new CustomEvent("trouble", { detail: error }));
    }
  }

  /** @param {number} place @param {import("../api.js").Picture} item */
  #known(place, item) {
    if (!item) return;
    this.items[place] = item;
    const tile = this.mounted.get(place);
    if (!tile?.classList.contains("waiting")) return;
    const had = tile.contains(document.activeElement);
    const made = this.#make(place);
    made.dataset.room = tile.dataset.room;
    made.style.cssText = tile.style.cssText;
    /** @type {HTMLElement} */ (made.firstElementChild).style.height = /** @type {HTMLElement} */ (tile.firstElementChild).style.height;
    this.mounted.set(place, made);
    tile.replaceWith(made);
    this.#picture(made, item);
    if (had) /** @type {HTMLElement} */ (made.querySelector(".tile-picture")).focus({ preventScroll: true });
  }

  // Signs, ticks and buttons -----------------------------------------------------------------------------------------

  /** @param {HTMLElement} tile @param {import("../parts/tray.js").Tray | undefined} tray @param {import("../parts/selection.js").Selection | undefined} selection */
  #mark(tile, tray, selection) {
    const id = tile.dataset.id ?? "";
    const sign = tray?.signOf(id);
    if (sign) tile.dataset.sign = sign > 0 ? "plus" : "minus";
    else delete tile.dataset.sign;
    const badge = tile.querySelector(".tile-sign");
    if (sign && !badge) tile.append(h("span", { class: "tile-sign", "aria-hidden": "true" }));
    else if (!sign) badge?.remove();
    const button = tile.querySelector("[data-action=tray]");
    if (button && button.getAttribute("aria-pressed") !== String(Boolean(sign))) {
      button.setAttribute("aria-pressed", String(Boolean(sign)));
      button.replaceChildren(icon(sign ? "check" : "plus"));
    }
    if (!selection) return;
    const ticked = selection.has(id);
    tile.classList.toggle("selected", ticked);
    const tick = tile.querySelector(".tile-tick");
    if (tick && !selection.size && !HOVERS) tick.remove();
    else if (tick) tick.setAttribute("aria-checked", String(ticked));
    else if (selection.size) tile.append(this.#tick(tile, ticked));
  }

  /** @param {HTMLElement} tile @param {boolean} ticked */
  #tick(tile, ticked) {
    const words = tile.querySelector("img")?.alt ?? tile.querySelector(".tile-picture")?.getAttribute("aria-label");
    return h("button", { type: "button", class: "icon-button tile-tick", role: "checkbox", "aria-checked": String(ticked), "aria-label": `Select ${words}` });
  }

  /** Give a tile its buttons: only the few that somebody looks at have any. @param {HTMLElement} tile @param {number} place */
  #dress(tile, place) {
    if (tile.querySelector(".tile-actions") || tile.classList.contains("waiting")) return;
    // Where nothing hovers the button is always there, unless it would leave nothing to touch of the picture.
    if (!HOVERS && parseFloat(tile.style.width) < ROOMY) return;
    const item = this.item(place);
    const { selection, tray } = this.choices;
    if (!item) return;
    const actions = actsOf(this.choices.actions ?? [], item);
    if (selection && HOVERS && !tile.querySelector(".tile-tick")) tile.append(this.#tick(tile, selection.has(item.id)));
    if (!actions.length) return;
    const others = actions.some((act) => !act.quick);
    const room = Math.max(1, Number(tile.dataset.room ?? 3)) - (others ? 1 : 0);
    const quick = HOVERS ? actions.filter((act) => act.quick).slice(0, room) : [];
    tile.append(tileActions(item, tile, quick, others ? (button) => this.menu(button, item, tile) : null));
    tile.querySelector("[data-action=tray]")?.setAttribute("aria-pressed", "false");
    this.#mark(tile, tray, selection);
  }

  /** Open what can be done with a picture. @param {HTMLElement} button @param {import("../api.js").Picture} item @param {HTMLElement} tile */
  async menu(button, item, tile) {
    const { openMenu } = await import("./picture_menu.js");
    openMenu(button, item, actsOf(this.choices.actions ?? [], item), tile);
  }

  // Hands and keys ---------------------------------------------------------------------------------------------------

  #listen() {
    const { list } = this;
    list.addEventListener("click", (event) => this.#clicked(event));
    list.addEventListener("dragstart", (event) => this.#dragged(event));
    list.addEventListener("keydown", (event) => this.#key(event));
    list.addEventListener("error", (event) => tileOf(event.target)?.classList.add("broken"), { capture: true });
    list.addEventListener("load", (event) => tileOf(event.target)?.classList.remove("broken"), { capture: true });
    /** @param {any} event */
    const dress = (event) => {
      const place = this.#placeOf(event.target);
      if (place === null) return;
      if (event.type === "focusin") this.held = place;
      const tile = this.mounted.get(place);
      if (tile) this.#dress(tile, place);
    };
    list.addEventListener("pointerover", dress);
    list.addEventListener("focusin", dress);
  }

  /** @param {EventTarget | null} target */
  #placeOf(target) {
    const tile = tileOf(target);
    return tile && this.list.contains(tile) && tile.dataset.place ? Number(tile.dataset.place) : null;
  }

  /** @param {any} event */
  #clicked(event) {
    const place = this.#placeOf(event.target);
    if (place === null) return;
    const { selection, choose } = this.choices;
    const tile = this.mounted.get(place);
    if (event.target.closest(".tile-tick")) {
      this.select(place, event.shiftKey);
      return;
    }
    if (!event.target.closest(".tile-picture")) return;
    if (selection?.size && event.shiftKey) {
      event.preventDefault();
      this.select(place, true);
      return;
    }
    if (event.metaKey || event.ctrlKey || event.shiftKey) return; // a new tab or window, as with every link
    event.preventDefault();
    const item = this.item(place);
    if (item && tile) choose(item, tile);
  }

  /** Tick a picture or let it go; with `range`, all from the last one that was ticked to it. @param {number} place */
  select(place, range = false) {
    const { selection } = this.choices;
    if (!selection) return;
    const from = this.ticked;
    /** @param {number} at @returns {[string, any]} */
    const known = (at) => [this.idAt(at), this.item(at)];
    if (range && from !== undefined && from < this.length) {
      const [low, high] = from < place ? [from, place] : [place, from];
      /** @type {[string, any][]} */
      const ids = [];
      for (let at = low; at <= high; at++) ids.push(known(at));
      selection.put(ids);
    } else selection.toggle(...known(place));
    this.ticked = place;
  }

  /** @param {any} event */
  #dragged(event) {
    const place = this.#placeOf(event.target);
    const item = place === null ? null : this.item(place);
    if (!item) return;
    event.dataTransfer.setData(DRAGGED, JSON.stringify(item));
    event.dataTransfer.setData("text/uri-list", event.target.href);
  }

  /** @param {any} event */
  #key(event) {
    const place = this.#placeOf(event.target);
    if (place === null || event.altKey || event.ctrlKey || event.metaKey) return;
    const target = this.#stepFrom(place, event.key);
    if (target === null || target < 0 || target >= this.length) return;
    event.preventDefault();
    this.reveal(target);
  }

  /** @param {number} place @param {string} key */
  #stepFrom(place, key) {
    if (key === "ArrowLeft") return place - 1;
    if (key === "ArrowRight") return place + 1;
    if (key === "ArrowUp") return this.#inRow(place, -1);
    if (key === "ArrowDown") return this.#inRow(place, 1);
    return null;
  }

  /** The picture of the next row up or down whose middle is nearest. @param {number} place @param {number} direction */
  #inRow(place, direction) {
    const row = rowOf(this.rows, place);
    if (row + direction < 0 || row + direction >= this.rows.count) return null;
    /** @param {number} which */
    const boxes = (which) => boxesOf(this.rows, this.shown, which, this.sizes.column);
    /** @param {{left: number, width: number}} box */
    const middle = (box) => box.left + box.width / 2;
    const own = boxes(row).find((box) => box.place === place);
    const here = own ? middle(own) : 0;
    const there = boxes(row + direction);
    return there.reduce((best, box) => (Math.abs(middle(box) - here) < Math.abs(middle(best) - here) ? box : best)).place;
  }
}

const HOVERS = matchMedia("(hover: hover)").matches;

/** @param {EventTarget | null} target */
function tileOf(target) {
  return target instanceof Element ? /** @type {HTMLElement | null} */ (target.closest(".tile")) : null;
}

/** Room that the bars take at the top and at the foot of the window, CSS pixels. */
function margins() {
  const bar = document.querySelector(".bar")?.getBoundingClientRect();
  const foot = parseFloat(getComputedStyle(document.body).paddingBottom) || 0;
  return [Math.max(0, bar?.bottom ?? 0) + 8, foot + 8];
}
