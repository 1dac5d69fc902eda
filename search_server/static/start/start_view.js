/** The start of a gallery: a place for a picture, above pictures to begin with. */

import { isWithdrawn } from "../api.js";
import { button, h, icon } from "../parts/dom.js";
import { filePicker } from "../parts/drop_target.js";
import { choiceOfGalleries, modelToggle } from "../parts/grid_tools.js";
import { announce, copyLink } from "../parts/messages.js";
import { pictureActs, pictureKeys } from "../parts/picture_acts.js";
import { PictureGrid } from "../parts/picture_grid.js";
import { readQuestion } from "../parts/question.js";
import { arriving, problemState } from "../parts/states.js";
import { plural } from "../parts/words.js";

/** @param {import("../app.js").Page} page */
export function startView(page) {
  const { gallery, api } = page;
  const question = readQuestion((name) => page.parameter(name));
  const withdrawn = new AbortController();
  const where = () => ({ in: page.parameter("in") });
  /** @param {import("../api.js").Picture} item */
  const open = (item) =>
    page.lightbox.open(wall.walk(), item, {
      similar: (chosen) => page.search(chosen, null, where()),
      morph: null,
      share: (chosen) => copyLink(page.address("search", { id: chosen.id, ...where() })),
      acts,
    });
  const acts = pictureActs(page, { open });
  const wall = new PictureGrid({
    label: "Pictures of the gallery",
    address: (id) => page.address("search", { id, ...where() }),
    choose: (item, tile) => page.search(item, tile, where()),
    actions: acts,
    tray: page.tray,
  });
  const below = h("div", {}, wall.element);
  const model = modelToggle(page, wall);

  const shuffle = async () => {
    wall.clear();
    wall.expect(18);
    await fill(page.newSeed());
    announce("Other pictures are shown");
  };

  /** @param {number} seed */
  const fill = async (seed) => {
    try {
      const items = await api.sample(page.limits.sample, seed, withdrawn.signal);
      wall.clear();
      wall.add(items);
    } catch (error) {
      if (!isWithdrawn(error)) below.replaceChildren(problemState(error, { retry: () => page.reload() }));
    }
  };

  const note = h("p", { class: "hero-note" });
  /** @param {string[]} galleries */
  const say = (galleries) => {
    const searched = page.searchable.filter(({ name }) => galleries.includes(name));
    const items = searched.length ? searched.reduce((sum, one) => sum + one.items, 0) : gallery.items;
    note.textContent = `Searches ${plural(items, "picture", "pictures")}. Nothing leaves this machine.`;
  };
  /** @param {string[]} galleries */
  const choose = (galleries) => {
    page.amend({ in: galleries.join("/") || null });
    say(galleries);
  };
  say(question.galleries);
  const element = h(
    "div",
    { class: gallery.items ? "start" : "start unfilled" },
    h(
      "section",
      { class: "hero" },
      h("h1", {}, "Find the pictures that look like yours"),
      h(
        "div",
        { class: "drop-box" },
        h("div", { class: "drop-drawing", "aria-hidden": "true" }, h("i"), h("i"), h("i")),
        h("p", { class: "drop-words fine-only" }, h("strong", {}, "Drop a picture anywhere"), " or paste it"),
        h(
          "div",
          { class: "actions" },
          filePicker(page.take, { class: "button primary", id: "picture-file" }, icon("upload"), h("span", {}, "Choose a picture")),
          filePicker(page.take, { class: "button coarse-only", capture: "environment" }, icon("camera"), h("span", {}, "Take a photo")),
          cameraButton(page),
          button("dice", "Surprise me", () => page.surprise()),
        ),
        page.features.urls && addressForm(page),
      ),
      note,
      choiceOfGalleries(page, question, choose, true),
    ),
    gallery.items === 0
      ? arriving(async () => (await import("../parts/empty_gallery.js")).emptyGallery(page, withdrawn.signal), () => page.reload())
      : h(
          "section",
          { class: "wall", "aria-labelledby": "wall-title" },
          h(
            "div",
            { class: "section-head" },
            h("h2", { id: "wall-title" }, "Or start from one of these"),
            h("div", { class: "actions" }, model.element, button("dice", "Shuffle", shuffle, { class: "button quiet" })),
          ),
          below,
        ),
  );
  if (page.initial?.items) wall.add(page.initial.items);
  else if (gallery.items) {
    wall.expect(18);
    fill(page.seed());
  }
  return {
    element,
    title: gallery.name,
    close: () => withdrawn.abort(),
    grid: wall,
    field: () => /** @type {HTMLElement | null} */ (element.querySelector("#picture-file")),
    get keys() {
      return { e: model.toggle, ...pictureKeys(wall, acts) };
    },
  };
}

/** The camera of a computer; phones have their own way, which is better. @param {import("../app.js").Page} page */
function cameraButton(page) {
  if (!navigator.mediaDevices?.getUserMedia) return null; // a page without https, away from localhost
  const open = async () => (await import("./camera.js")).takePhoto((file) => page.take({ file }));
  return button("camera", "Camera", open, { class: "button fine-only" });
}

/** @param {import("../app.js").Page} page */
function addressForm(page) {
  const field = h("input", { type: "url", class: "text-field", name: "url", placeholder: "https://…", required: true, "aria-label": "Address of a picture", autocomplete: "off" });
  /** @param {Event} event */
  const submit = (event) => {
    event.preventDefault();
    page.take({ url: field.value.trim() });
  };
  return h("form", { class: "address-form", onsubmit: submit }, icon("globe"), field, h("button", { class: "button" }, "Search"));
}
