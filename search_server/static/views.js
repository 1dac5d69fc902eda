/** The views, each in a folder of its own: what it is called, where it lives, and what draws it. */

/**
 * @typedef {object} View What a view's function makes of the page.
 * @property {HTMLElement} element
 * @property {string} title Of the window.
 * @property {() => void} close Withdraw what was asked, let go what is held.
 * @property {import("./parts/picture_grid.js").PictureGrid} [grid] Whose tiles the keys act on.
 * @property {() => HTMLElement | null} [field] Where a picture is put in.
 * @property {(taken: import("./parts/drop_target.js").Taken, slot: HTMLElement | null) => void} [take] A picture was dropped,
 *   pasted or picked; without it, it is searched with.
 * @property {() => void} [surprise]
 * @property {() => void} [morph]
 * @property {() => void} [play]
 * @property {(step: number) => void} [resize]
 * @property {(files: File[]) => void} [takeMany] Several were dropped where `drops` has room for many.
 * @property {import("./parts/drop_target.js").Drop[]} [drops] What the window is divided into while files are dragged over it.
 * @property {Record<string, () => void>} [keys] What single keys do here, beside those of every view.
 */

/**
 * A view's module is fetched when it is first opened; its styles are named as its folder is.
 *
 * @typedef {object} Entry
 * @property {() => Promise<Drawer>} load
 * @property {string} [within] The view of the bar that it belongs to.
 * @property {boolean} [everywhere] It belongs to the server, not to one gallery: it lives at /NAME.
 */

/** @typedef {(page: import("./app.js").Page) => View} Drawer */

/** @type {Record<string, Entry>} */
export const VIEWS = {
  search: { load: async () => (await import("./search/search_view.js")).searchView },
  browse: { load: async () => (await import("./browse/browse_view.js")).browseView },
  map: { load: async () => (await import("./map/map_view.js")).mapView },
  morph: { load: async () => (await import("./morph/morph_view.js")).morphView },
  explore: { load: async () => (await import("./explore/explore_view.js")).exploreView },
  duplicates: { load: async () => (await import("./duplicates/duplicates_view.js")).duplicatesView },
  outliers: { load: async () => (await import("./outliers/outliers_view.js")).outliersView },
  start: { load: async () => (await import("./start/start_view.js")).startView, within: "search" }, // at the gallery's own address
  item: { load: async () => (await import("./item/item_view.js")).itemView, within: "browse" }, // at item/ID
  jobs: { load: async () => (await import("./jobs/jobs_view.js")).jobsView, everywhere: true },
  models: { load: async () => (await import("./models/models_view.js")).modelsView, everywhere: true },
  new: { load: async () => (await import("./new/new_view.js")).newView, everywhere: true },
  about: { load: async () => (await import("./about/about_view.js")).aboutView, everywhere: true },
};

/** @type {Map<string, Drawer>} */
const loaded = new Map(); // name -> what draws it

/** What draws a view, if it has been fetched. @param {string} name */
export function drawerOf(name) {
  return loaded.get(name) ?? null;
}

/** Fetch what draws a view, and wait for its styles. @param {string} name */
export async function fetchView(name) {
  const known = loaded.get(name);
  if (known) return known;
  const [draw] = await Promise.all([VIEWS[name].load(), stylesOf(name)]);
  loaded.set(name, draw);
  return draw;
}

/** @param {string} name */
function stylesOf(name) {
  const address = new URL(`${name}/${name}.css`, import.meta.url).href;
  if ([...document.styleSheets].some((sheet) => sheet.href === address)) return null;
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = address;
  const ready = new Promise((resolve) => ["load", "error"].forEach((event) => link.addEventListener(event, resolve)));
  document.head.append(link);
  return ready;
}

/**
 * The view that an address shows: ROOT/NAME of the gallery, or TOP/NAME of the server.
 *
 * @param {string} pathname
 * @param {string} root
 * @param {string} top
 */
export function viewAt(pathname, root, top) {
  const [name] = pathname.slice((root && pathname.startsWith(root) ? root : top).length).split("/");
  return Object.hasOwn(VIEWS, name) ? name : "start";
}
