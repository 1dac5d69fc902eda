/** A new gallery, the first one or one more: of a folder on the server, or of pictures of this device. */

import { isWithdrawn } from "../api.js";
import { command } from "../parts/commands.js";
import { h, icon } from "../parts/dom.js";
import { fetchJobCard } from "../parts/job_card.js";
import { announce } from "../parts/messages.js";
import { problemState } from "../parts/states.js";
import { picturesBox, Uploader } from "../parts/uploader.js";

const STARTER = "starter"; // the model that comes with the package

/** @param {import("../app.js").Page} page */
export function newView(page) {
  const withdrawn = new AbortController();
  const first = page.galleries.length === 0;
  const way = h("section", { class: "new-way", "aria-label": "Here" });
  const title = first ? "Find the pictures that look like yours" : "New gallery";
  const made = page.parameter("made");
  const show = new Ways(page, way, withdrawn.signal);
  if (made) show.progress(made, page.parameter("job"));
  else if (page.may.admin) show.form();
  else way.append(h("h2", {}, "Here"), h("p", { class: "quiet-words" }, "Your token does not allow making galleries: that takes one with the scope admin."));
  const element = h(
    "div",
    { class: "new" },
    h("div", { class: "new-head" }, h("h1", {}, title), h("p", { class: "quiet-words" }, first ? "A gallery is a folder of pictures that can be searched. Make the first one here or in a terminal; nothing leaves this machine." : "A gallery is a folder of pictures that can be searched. Its files stay where they are.")),
    way,
    terminal(first),
  );
  return { element, title: first ? "Welcome" : "New gallery", close: () => withdrawn.abort(), take: show.take };
}

/** The same in a terminal. @param {boolean} first */
function terminal(first) {
  return h(
    "section",
    { class: "new-terminal", "aria-labelledby": "terminal-title" },
    h("h2", { id: "terminal-title" }, "In a terminal"),
    command("lookalike up FOLDER", "A model that learns from your own pictures (about 15 minutes), then search:"),
    command("lookalike index add NAME FOLDER", "Only index them, with the model that comes with Lookalike or one that you have:"),
    first && command("lookalike demo", "Just look around: 4,500 drawn pictures"),
    h("p", { class: "quiet-words" }, "Then start the server again: ", h("code", {}, "lookalike serve")),
  );
}

/** What was refused, without the name that the field has in the API. */
function inWords(problem) {
  if (problem.code !== "invalid" && problem.code !== "bad_request") return problem;
  return { ...problem, code: problem.code, title: "This gallery cannot be made", detail: problem.detail.replace(/^\w+: /, "") };
}

class Ways {
  /** @param {import("../app.js").Page} page @param {HTMLElement} place @param {AbortSignal} signal */
  constructor(page, place, signal) {
    Object.assign(this, { page, place, signal });
    this.files = [];
  }

  /** What is dropped beside the box: one picture, as everywhere on the page. */
  take = ({ file }) => {
    if (file && this.box?.isConnected) this.#chosen([file]);
  };

  form() {
    this.name = h("input", { name: "name", required: true, pattern: "[A-Za-z0-9][A-Za-z0-9_\\-]{0,63}", maxlength: 64, autocomplete: "off", title: "Letters, digits, - and _" });
    this.folder = h("input", { name: "folder", placeholder: "/home/me/Pictures", autocomplete: "off", spellcheck: "false", oninput: () => this.#suggest(this.folder.value) });
    this.model = h("select", { name: "model" }, h("option", { value: STARTER }, "The one that comes with Lookalike"));
    this.name.addEventListener("input", () => (this.named = this.name.value !== ""));
    this.box = picturesBox((files) => this.#chosen(files));
    this.chosen = h("p", { class: "new-chosen", hidden: true });
    this.trouble = h("div", {});
    const kind = (value, words, checked) => h("label", {}, h("input", { type: "radio", name: "kind", value, checked, onchange: () => this.#kind(value) }), words);
    this.folderPart = h("label", { class: "field" }, h("span", {}, "Path of the folder"), this.folder);
    this.picturesPart = h("div", { class: "new-pictures", hidden: true }, this.box, this.chosen);
    this.submit = h("button", { class: "button primary" }, icon("add"), h("span", {}, "Make the gallery"));
    const form = h(
      "form",
      { onsubmit: (event) => this.#make(event) },
      h("fieldset", { class: "segments" }, h("legend", { class: "visually-hidden" }, "Pictures from"), kind("folder", "Folder on the server", true), kind("pictures", "This device", false)),
      this.folderPart,
      this.picturesPart,
      h("div", { class: "new-row" }, h("label", { class: "field" }, h("span", {}, "Name"), this.name), h("label", { class: "field" }, h("span", {}, "Model"), this.model)),
      h("div", {}, this.submit),
      this.trouble,
    );
    this.place.replaceChildren(h("h2", {}, "Here"), form);
    this.#kind("folder");
    this.#offerModels();
  }

  async #offerModels() {
    try {
      const models = (await this.page.server.models(this.signal)).filter((model) => model.name !== STARTER);
      this.model.append(...models.map((model) => h("option", { value: model.name }, `${model.name}${model.has_decoder ? "" : " (cannot paint)"}`)));
    } catch (error) {
      if (!isWithdrawn(error)) this.trouble.replaceChildren(problemState(error, { retry: () => this.#offerModels(), heading: "h3" }));
    }
  }

  #kind(kind) {
    this.fromFolder = kind === "folder";
    this.folderPart.hidden = !this.fromFolder;
    this.folder.required = this.fromFolder;
    this.picturesPart.hidden = this.fromFolder;
  }

  #suggest(path) {
    if (this.named) return; // the reader has said how it is to be called
    const last = path.split("/").filter(Boolean).at(-1) ?? "";
    this.name.value = last.replaceAll(/[^\w-]+/g, "-").replace(/^[-_]+|-+$/g, "").slice(0, 64).toLowerCase();
  }

  #chosen(files) {
    this.files = files;
    this.chosen.textContent = `${files.length.toLocaleString("en")} ${files.length === 1 ? "picture" : "pictures"} chosen`;
    this.chosen.hidden = false;
    announce(this.chosen.textContent);
    this.#suggest(files[0].webkitRelativePath?.split("/")[0] || "pictures");
  }

  async #make(event) {
    event.preventDefault();
    if (!this.fromFolder && !this.files.length) {
      this.chosen.textContent = "Choose pictures first.";
      this.chosen.hidden = false;
      return;
    }
    this.submit.disabled = true;
    const name = this.name.value;
    try {
      const answer = await this.page.server.makeGallery(name, this.model.value, this.fromFolder ? [this.folder.value] : []);
      const job = answer.jobs[0]?.id ?? null;
      this.page.amend({ made: name, job });
      this.page.jobs.look();
      if (this.fromFolder) this.progress(name, job);
      else this.#upload(name);
    } catch (error) {
      this.trouble.replaceChildren(problemState(inWords(error), { heading: "h3" }));
    } finally {
      this.submit.disabled = false;
    }
  }

  #upload(name) {
    const uploader = new Uploader(this.page.server, name, this.files, () => this.#ready(name, uploader.element));
    this.signal.addEventListener("abort", () => uploader.close());
    this.place.replaceChildren(h("h2", {}, "Your gallery is being made"), uploader.element);
  }

  /** A gallery that is being filled; a reload comes back to it. */
  progress(name, job) {
    const card = h("div", {});
    const peek = h("p", { class: "quiet-words" }, "Pictures can be found as soon as they are in. ", h("a", { href: this.#address(name) }, `Look into ${name} now`));
    this.place.replaceChildren(h("h2", {}, job ? "Your gallery is being made" : "Your gallery is made"), card, peek);
    const ways = { heading: "h3", linked: false, ended: (ended) => this.#ended(ended, name, card) };
    if (job) fetchJobCard(this.page, Number(job), card, ways, this.signal);
  }

  #ended(job, name, card) {
    if (job.state === "done") this.#ready(name, card);
    else this.place.querySelector("h2").textContent = "It stopped before it was done";
  }

  #ready(name, before) {
    const go = h("a", { class: "button primary", href: this.#address(name) }, icon("search"), h("span", {}, `Search ${name}`));
    this.place.replaceChildren(h("h2", {}, "Your gallery is ready"), before, h("div", { class: "actions" }, go));
    go.focus();
  }

  #address(name) {
    return `${this.page.top}g/${encodeURIComponent(name)}/`;
  }
}
