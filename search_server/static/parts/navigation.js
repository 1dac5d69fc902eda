/** The bar: its menus, which view and gallery it marks, and the badge of the jobs that run. */

import { need, targetOf } from "./dom.js";
import { plural } from "./words.js";

const SOON = 3_000; // milliseconds between two looks while a job waits or runs
const LATER = 30_000; // … while none does

/** Let menus close as menus do: by a choice, by Escape, by a click elsewhere. */
export function openMenus() {
  document.addEventListener("click", (event) => {
    for (const menu of openOnes()) {
      const target = targetOf(event);
      const inside = menu.contains(target) && target !== menu; // the veil behind a sheet is the menu's own
      if (!inside || targetOf(event, "a")) menu.open = false;
    }
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
    for (const menu of openOnes()) {
      const held = menu.contains(document.activeElement);
      menu.open = false;
      if (held) need("summary", menu).focus();
    }
  });
}

function openOnes() {
  return [.../** @type {NodeListOf<HTMLDetailsElement>} */ (document.querySelectorAll("details.menu[open], .facets details[open]"))];
}

/**
 * Mark the view that is shown, and let the gallery switch keep it.
 *
 * @param {string} name
 * @param {string | null} everywhere Its address where it belongs to the server: it then shows another gallery's part.
 */
export function markView(name, everywhere) {
  for (const link of links("a[data-view]")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const listed = document.querySelector(`.bar nav a[data-view="${name}"]`) !== null; // else it shows something of this one
  for (const link of links(".galleries a[data-root]")) {
    const { root = "", name: gallery = "" } = link.dataset;
    const kept = listed && name !== "search" ? root + name : root;
    link.setAttribute("href", everywhere && name !== "new" ? `${everywhere}?${new URLSearchParams({ gallery })}` : kept);
  }
}

/** @param {string} selector @returns {NodeListOf<HTMLElement>} */
function links(selector) {
  return document.querySelectorAll(selector);
}

/** The badge in the bar: hidden until a job waits or runs, then how many, and how far the first one is. */
export class JobsBadge {
  /** @param {import("../server_api.js").ServerApi} api */
  constructor(api) {
    this.api = api;
    this.element = document.getElementById("jobs-badge");
    this.timer = 0;
    if (!this.element) return; // the reader may not see jobs
    document.addEventListener("visibilitychange", () => this.look());
  }

  /** Look now: a job was started, or the reader is back. */
  async look() {
    clearTimeout(this.timer);
    if (!this.element || document.hidden) return;
    /** @type {import("../server_api.js").Job[]} */
    let active = [];
    try {
      active = await this.api.activeJobs();
      this.#show(active);
    } catch {
      // The server is gone or busy: whatever else asks says so. The badge stays as it was.
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), active.length ? SOON : LATER);
  }

  /** @param {import("../server_api.js").Job[]} active */
  #show(active) {
    if (!this.element) return;
    this.element.hidden = active.length === 0;
    if (!active[0]) return;
    const [next] = active;
    const first = active.find((job) => job.state === "running") ?? next;
    const share = first.total ? Math.floor((100 * first.done) / first.total) : null;
    const words = `${plural(active.length, "job", "jobs")}${share === null ? "" : `, ${share} %`}`;
    need("span", this.element).textContent = share === null ? String(active.length) : `${share} %`;
    this.element.setAttribute("aria-label", `${words}. Show the jobs`);
    this.element.title = words;
  }
}
