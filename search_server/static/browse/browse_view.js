/** All pictures of the gallery, in the order in which they were added. */

import { isWithdrawn } from "../api.js";
import { button, h } from "../parts/dom.js";
import { facetChips, filterOf } from "../parts/facet_chips.js";
import { PictureGrid } from "../parts/picture_grid.js";
import { problemState, state } from "../parts/states.js";
import { plural } from "../parts/words.js";

/** @param {import("../app.js").Page} page */
export function browseView(page) {
  const { api, gallery } = page;
  const withdrawn = new AbortController();
  const filter = filterOf(page);
  const grid = new PictureGrid({
    label: "All pictures",
    address: (id) => page.address("search", { id }),
    choose: (item, tile) => page.search(item, tile),
  });
  const foot = h("div", { class: "results-foot" });
  const watcher = new IntersectionObserver(([entry]) => entry.isIntersecting && more(), { rootMargin: "900px" });
  // Pictures that were fetched before a click are there again after Back, so that the page is as long as it was.
  const shown = page.remembered() ?? { items: [], cursor: null, done: false };
  let fetching = false;

  const more = async () => {
    if (fetching || shown.done) return;
    fetching = true;
    if (!shown.items.length) grid.expect(24);
    try {
      const { items, next_cursor: cursor } = await api.items(page.limits.listed, shown.cursor, filter, withdrawn.signal);
      shown.items.push(...items);
      Object.assign(shown, { cursor, done: !cursor });
      page.remember(shown);
      grid.add(items);
      settle();
    } catch (error) {
      if (!isWithdrawn(error)) foot.replaceChildren(problemState(error, { retry: more }));
    } finally {
      fetching = false;
    }
  };

  const settle = () => {
    watcher.disconnect();
    foot.replaceChildren(shown.done ? h("p", { class: "quiet-words" }, "These are all.") : button("grid", "Show more", more, { class: "button more" }));
    if (!shown.done) watcher.observe(foot);
  };

  const element = h(
    "div",
    { class: "browse" },
    h("div", { class: "section-head" }, h("h1", {}, "All pictures"), h("p", { class: "quiet-words" }, `${plural(gallery.items, "picture", "pictures")} in ${gallery.name}. Click one to find what looks like it.`)),
    facetChips(page, "browse", (chosen) => ({ filter: chosen }), withdrawn.signal),
    gallery.items ? grid.element : state({ iconName: "pick", title: "This gallery has no pictures yet", text: `Add a folder on the command line: lookalike index add ${gallery.name} FOLDER` }),
    foot,
  );
  const initial = page.initial?.items ? page.initial : null;
  if (!shown.items.length && initial) Object.assign(shown, { items: [...initial.items], cursor: initial.next_cursor, done: !initial.next_cursor });
  if (shown.items.length) {
    page.remember(shown);
    grid.add(shown.items);
    settle();
  } else if (gallery.items) more();
  return {
    element,
    title: "Browse",
    grid,
    close: () => {
      withdrawn.abort();
      watcher.disconnect();
    },
  };
}
