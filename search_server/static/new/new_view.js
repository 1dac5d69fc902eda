/** A new gallery, the first one or one more: of a folder on the server, or of pictures of this device. */

import { isWithdrawn, Problem } from "../api.js";
import { command } from "../parts/commands.js";
import { h, icon, need } from "../parts/dom.js";
import { fetchJobCard } from "../parts/job_card.js";
import { announce } from "../parts/messages.js";
import { problemState } from "../parts/states.js";
import { plural } from "../parts/words.js";
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
  if (made) show.progress(made, Number(page.parameter("job")) || null);
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

/** What was refused, without the name that the field has in the API. @param {import("../api.js").Problem} problem */
function inWords(problem) {
  if (problem.code !== "invalid" && problem.code !== "bad_request") return problem;
  return new Problem({ code: problem.code, title: "This gallery cannot be made", detail: problem.detail.replace(/^\w+: /, "") });
}

/** What is asked of who makes a gallery. */
class Form {
  /** @param {import("../app.js").Page} page @param {(event: Event) => void} make @param {AbortSignal} signal */
  constructor(page, make, signal) {
    this.page = page;
    this.signal = signal;
    /** @type {File[]} */
    this.files = [];
    this.fromFolder = true;
    this.named = false; // by the reader: then nothing else is suggested
    this.name = h("input", { name: "name", required: true, pattern: "[A-Za-z0-9][A-Za-z0-9_\\-]{0,63}", maxlength: 64, autocomplete: "off", title: "Letters, digits, - and _" });
    this.folder = h("input", { name: "folder", required: true, placeholder: "/srv/pictures", autocomplete: "off", spellcheck: "false" });
    this.model = h("select", { name: "model" }, h("option", { value: STARTER }, "The one that comes with Lookalike"));
    this.name.addEventListener("input", () => (this.named = this.name.value !== ""));
    this.folder.addEventListener("input", () => this.#suggest(this.folder.value));
    this.box = picturesBox((files) => this.choose(files));
    this.chosen = h("p", { class: "new-chosen", hidden: true });
    this.trouble = h("div", {});
    this.folderPart = h("label", { class: "field" }, h("span", {}, "Path of the folder"), this.folder);
    this.picturesPart = h("div", { class: "new-pictures", hidden: true }, this.box, this.chosen);
    this.submit = h("button", { class: "button primary" }, icon("add"), h("span", {}, "Make the gallery"));
    this.element = h(
      "form",
      { onsubmit: make },
      h("fieldset", { class: "segments" }, h("legend", { class: "visually-hidden" }, "Pictures from"), this.#kind(true, "Folder on the server"), this.#kind(false, "This device")),
      this.folderPart,
      this.picturesPart,
      h("div", { class: "new-row" }, h("label", { class: "field" }, h("span", {}, "Name"), this.name), h("label", { class: "field" }, h("span", {}, "Model"), this.model)),
      h("div", {}, this.submit),
      this.trouble,
    );
    this.#offerModels();
  }

  async #offerModels() {
    try {
      const models = (await this.page.server.models(this.signal)).filter((model) => model.name !== STARTER);
      const wanted = this.page.parameter("model");
      this.model.append(...models.map((model) => h("option", { value: model.name, selected: model.name === wanted }, `${model.name}${model.has_decoder ? "" : " (cannot paint)"}`)));
    } catch (error) {
      if (!isWithdrawn(error)) this.trouble.replaceChildren(problemState(error, { retry: () => this.#offerModels(), heading: "h3" }));
    }
  }

  /** @param {boolean} fromFolder @param {string} words */
  #kind(fromFolder, words) {
    const change = () => {
      this.fromFolder = fromFolder;
      this.folderPart.hidden = !fromFolder;
      this.folder.required = fromFolder;
      this.picturesPart.hidden = fromFolder;
    };
    return h("label", {}, h("input", { type: "radio", name: "kind", checked: fromFolder, onchange: change }), words);
  }

  /** @param {string} path */
  #suggest(path) {
    if (this.named) return;
    const last = path.split("/").filter(Boolean).at(-1) ?? "";
    this.name.value = last.replaceAll(/[^\w-]+/g, "-").replace(/^[-_]+|-+$/g, "").slice(0, 64).toLowerCase();
  }

  /** @param {File[]} files */
  choose(files) {
    this.files = files;
    this.say(plural(files.length, "picture", "pictures") + " chosen");
    this.#suggest(files[0]?.webkitRelativePath.split("/")[0] || "pictures");
  }

  /** @param {string} words */
  say(words) {
    this.chosen.textContent = words;
    this.chosen.hidden = false;
    announce(words);
  }
}

/** The way from a form to a gallery that is ready. */
class Ways {
  /** @param {import("../app.js").Page} page @param {HTMLElement} place @param {AbortSignal} signal */
  constructor(page, place, signal) {
    this.page = page;
    this.place = place;
    this.signal = signal;
    /** @type {Form | null} */
    this.shown = null;
  }

  /** What is dropped beside the box: one picture, as everywhere on the page. @param {import("../parts/drop_target.js").Taken} taken */
  take = (taken) => {
    if ("file" in taken && taken.file && this.shown?.element.isConnected) this.shown.choose([taken.file]);
  };

  form() {
    const form = new Form(this.page, (event) => this.#make(event, form), this.signal);
    this.shown = form;
    this.place.replaceChildren(h("h2", {}, "Here"), form.element);
  }

  /** @param {Event} event @param {Form} form */
  async #make(event, form) {
    event.preventDefault();
    if (!form.fromFolder && !form.files.length) return form.say("Choose pictures first.");
    form.submit.disabled = true;
    const name = form.name.value;
    try {
      const answer = await this.page.server.makeGallery(name, form.model.value, form.fromFolder ? [form.folder.value] : []);
      const job = answer.jobs[0]?.id ?? null;
      this.page.amend({ made: name, job });
      this.page.jobs.look();
      if (form.fromFolder) this.progress(name, job);
      else this.#upload(name, form.files);
    } catch (error) {
      form.trouble.replaceChildren(problemState(inWords(error), { heading: "h3" }));
    } finally {
      form.submit.disabled = false;
    }
  }

  /** @param {string} name @param {File[]} files */
  #upload(name, files) {
    const uploader = new Uploader(this.page.server, name, files, this.page.limits.image_bytes, () => this.#ready(name, uploader.element));
    this.signal.addEventListener("abort", () => uploader.close());
    this.place.replaceChildren(h("h2", {}, "Your gallery is being made"), uploader.element);
  }

  /** A gallery that is being filled; a reload comes back to it. @param {string} name @param {number | null} job */
  progress(name, job) {
    const card = h("div", {});
    const peek = h("p", { class: "quiet-words" }, "Pictures can be found as soon as they are in. ", h("a", { href: this.#address(name) }, `Look into ${name} now`));
    this.place.replaceChildren(h("h2", {}, job ? "Your gallery is being made" : "Your gallery is made"), card, peek);
    /** @param {import("../server_api.js").Job} ended */
    const ended = ({ state }) => {
      if (state === "done") this.#ready(name, card);
      else need("h2", this.place).textContent = "It stopped before it was done";
    };
    if (job) fetchJobCard(this.page, job, card, { heading: "h3", linked: false, ended }, this.signal);
  }

  /** @param {string} name @param {HTMLElement} before */
  #ready(name, before) {
    const go = h("a", { class: "button primary", href: this.#address(name) }, icon("search"), h("span", {}, `Search ${name}`));
    const train = h("a", { class: "button", href: `${this.page.top}models?${new URLSearchParams({ train: name, gallery: name })}` }, icon("model"), h("span", {}, "Train a model on these pictures"));
    this.place.replaceChildren(h("h2", {}, "Your gallery is ready"), before, h("div", { class: "actions" }, go, train));
    go.focus();
  }

  /** @param {string} name */
  #address(name) {
    return `${this.page.top}g/${encodeURIComponent(name)}/`;
  }
}
