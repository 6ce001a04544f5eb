// The page's part: what the reader moves and reads. The model itself works in worker.js.

import { Store } from "./store.js";

const MOST = 100; // tokens a text
const BEGINNINGS = [
  "The capital of France is",
  "The old clock on the wall had stopped at noon, and nobody in the village",
  "Bread rises because",
];
const METHODS = { angular: "by distance", block_influence: "by influence", deepest: "the deepest" };
const REMEDIES = {
  "not-built":
    "The model is not on this site: it was built without it. Whoever builds the site adds it with `python -m greenlab.tab SITE/_static/tab`; until then, run the notebook.",
  offline:
    "The site cannot be reached. Look at your connection and try again: what has come already is kept.",
  server: "The site did not give the file. Try again in a minute.",
  damaged: "A file came damaged. Try again: only that file is fetched anew.",
  memory: "Your browser has not enough memory for the model. Close other tabs and try again.",
  worker: "Your browser could not start the model. A current Firefox, Chrome, Edge or Safari can.",
  cancelled: "Cancelled. What has come already is kept, and the next try goes on from there.",
};

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

/** "13 to 18", or "3, 5 and 12 to 17": runs of numbers, in words. */
export function ranges(numbers) {
  const runs = [];
  for (const n of numbers) {
    const last = runs.at(-1);
    if (last && n === last[1] + 1) last[1] = n;
    else runs.push([n, n]);
  }
  const words = runs.map(([from, to]) => (from === to ? `${from}` : `${from} to ${to}`));
  return words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words.at(-1)}` : (words[0] ?? "");
}

class PruneTab {
  constructor(root) {
    this.root = root;
    this.part = (name) => root.querySelector(`[data-part="${name}"]`);
    this.button = (name) => root.querySelector(`[data-do="${name}"]`);
    this.prompt = root.querySelector("#prune-tab-prompt");
    this.method = root.querySelector("#prune-tab-method");
    this.cut = root.querySelector("#prune-tab-cut");
    this.progress = root.querySelector("progress");
    this.box = root.querySelector(".prune-text");
    this.store = new Store(new URL("weights/", import.meta.url).href);
    this.run = 0; // the number of the text that is being written; older ones are not shown
    for (const name of ["load", "cancel", "clear", "write", "stop"]) {
      this.button(name).addEventListener("click", ({ detail }) => {
        // "Cancel" comes where "Download" was: the second half of a double click is not meant for it
        if (detail < 2 || name !== "cancel") this[name]();
      });
    }
    this.prompt.value = BEGINNINGS[0];
    for (const text of BEGINNINGS) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text.length > 34 ? `${text.slice(0, text.lastIndexOf(" ", 32))} …` : text;
      button.addEventListener("click", () => {
        this.prompt.value = text;
        this.write();
      });
      this.part("beginnings").append(button);
    }
    this.cut.addEventListener("input", () => this.moved());
    this.method.addEventListener("change", () => this.moved());
  }

  async open() {
    try {
      this.manifest = await this.store.manifest();
    } catch (error) {
      return this.fail(error);
    }
    await this.offer();
    this.cut.max = this.cuts.length - 1;
    this.show();
  }

  /** Say on the button what a click costs. */
  async offer() {
    const { files, bytes } = this.manifest;
    const here = await this.store.bytesHere(files);
    const left = bytes - here;
    const load = this.button("load");
    load.textContent = left === 0 ? "Open the model (your browser has kept it)" : `Download the model (${megabytes(left)})`;
    load.disabled = false;
    this.button("clear").hidden = here === 0;
    this.button("clear").textContent = `Remove the kept copy (${megabytes(here)})`;
  }

  get cuts() {
    return this.manifest.cuts[this.method.value];
  }

  get entry() {
    return this.cuts[Number(this.cut.value)];
  }

  load() {
    if (this.loading || this.ready) return;
    this.loading = true;
    const { bytes } = this.manifest;
    this.part("error").hidden = true;
    this.received = 0;
    this.progress.max = bytes;
    this.part("progress").hidden = false;
    this.button("load").hidden = true;
    this.button("clear").hidden = true;
    this.button("cancel").hidden = false;
    this.button("cancel").focus();
    this.say("Loading the model.");
    this.arrived(0);
    try {
      this.worker ??= this.hire();
    } catch (error) {
      return this.fail(Object.assign(error, { code: "worker" }));
    }
    this.worker.postMessage({
      type: "load",
      manifest: this.manifest,
      folder: this.store.folder,
      plain: new URLSearchParams(location.search).has("plain"), // to compare: without SIMD
    });
  }

  hire() {
    const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }) => this[`on_${data.type}`](data);
    worker.onerror = () => {
      this.worker = null;
      this.ready = false;
      this.fail(Object.assign(new Error("the worker failed"), { code: "worker" }));
    };
    return worker;
  }

  arrived(bytes) {
    this.received += bytes;
    this.progress.value = this.received;
    this.part("bytes").textContent = `${megabytes(this.received)} of ${megabytes(this.manifest.bytes)}`;
  }

  on_progress({ bytes }) {
    this.arrived(bytes);
  }

  on_ready({ kernel, kept, bytes }) {
    this.ready = true;
    this.loading = false;
    const attended = document.activeElement === this.button("cancel");
    this.part("progress").hidden = true;
    this.button("cancel").hidden = true;
    this.button("clear").hidden = !kept;
    this.button("clear").textContent = `Remove the kept copy (${megabytes(this.manifest.bytes)})`;
    this.part("bench").hidden = false;
    this.part("where").textContent =
      `The model is in memory (${megabytes(bytes)}), computed by ${kernel}. ` +
      (kept ? "Your browser keeps the files for next time." : "Your browser could not keep the files; next time they are downloaded again.");
    if (attended) this.cut.focus(); // unless the reader has gone elsewhere meanwhile
    this.write();
  }

  cancel() {
    this.worker.postMessage({ type: "cancel" });
  }

  async clear() {
    const button = this.button("clear");
    await this.store.clear();
    button.hidden = true;
    this.say("The kept copy is removed.");
    if (!this.ready) {
      await this.offer();
      this.button("load").focus();
    } else this.cut.focus();
  }

  /** The slider or the method was moved: show the cut and, once there is a model, let it begin anew. */
  moved() {
    this.show();
    if (this.ready) this.write();
  }

  show() {
    const { n_removed: n, dropped, loss, accuracy } = this.entry;
    const { n_layers: layers } = this.manifest.config;
    const which = `number${n === 1 ? "" : "s"} ${ranges(dropped)}`;
    const words = n === 0 ? `none of ${layers}` : `${n} of ${layers} (${which})`;
    this.part("cut").textContent = words;
    this.cut.setAttribute("aria-valuetext", words);
    const strip = this.part("layers");
    strip.setAttribute("aria-label", n === 0 ? `All ${layers} layers are kept.` : `Of ${layers} layers, ${which} ${n === 1 ? "is" : "are"} dropped.`);
    strip.replaceChildren(
      ...Array.from({ length: layers }, (_, i) => {
        const box = document.createElement("span");
        if (dropped.includes(i)) box.className = "prune-dropped";
        return box;
      }),
    );
    const share = this.share(layers - n);
    this.part("share").textContent = `${(100 * share.part).toFixed(0)} % of ${megabytes(share.whole)}`;
    this.part("loss").textContent = `${loss.toFixed(2)} nats a token`;
    this.part("accuracy").textContent = `${(100 * accuracy).toFixed(0)} %`;
    this.part("speed").textContent = "–";
  }

  /** The part of the weights that is read for each token when so many layers are kept, head included. */
  share(kept) {
    const of = (prefix) => this.manifest.files.find((file) => file.name.startsWith(prefix)).bytes;
    const whole = of("embedding") + this.manifest.config.n_layers * of("layer");
    return { part: (of("embedding") + kept * of("layer")) / whole, whole };
  }

  write() {
    this.run += 1;
    const { dropped } = this.entry;
    this.now = { entry: this.entry, prompt: this.prompt.value, text: "", method: METHODS[this.method.value] };
    this.part("error").hidden = true;
    this.part("prompt").textContent = this.now.prompt;
    this.part("text").textContent = "";
    this.part("speed").textContent = "–";
    this.box.setAttribute("aria-busy", "true"); // a reader of the screen says it when it is whole
    this.button("stop").disabled = false;
    const kept = Array.from({ length: this.manifest.config.n_layers }, (_, i) => i).filter((i) => !dropped.includes(i));
    this.worker.postMessage({ type: "write", id: this.run, prompt: this.now.prompt, kept, most: MOST });
  }

  stop() {
    this.worker.postMessage({ type: "stop" });
    this.run += 1;
    this.rest("Stopped.");
    this.button("write").focus();
  }

  rest(words) {
    this.box.setAttribute("aria-busy", "false");
    this.button("stop").disabled = true;
    this.say(words);
  }

  on_began({ id, tokens }) {
    if (id === this.run) this.say(`Reading ${plural(tokens, "token")}, then writing.`);
  }

  on_text({ id, text, perSecond }) {
    if (id !== this.run) return;
    this.now.text += text;
    this.part("text").textContent = this.now.text;
    if (perSecond) this.part("speed").textContent = `${perSecond.toFixed(1)} tokens a second`;
  }

  on_done({ id, reason, written, perSecond, firstTokenS }) {
    if (id !== this.run) return;
    const ending = reason === "end" ? "the model ended its text" : "that is as long as this page goes";
    this.rest(`${plural(written, "token")} written, the first after ${firstTokenS.toFixed(1)} s; ${ending}.`);
    const row = this.part("rows").insertRow(0);
    const { entry, text, prompt, method } = this.now;
    const cut = entry.n_removed ? `${entry.n_removed}, ${method}` : "0";
    const speed = perSecond ? perSecond.toFixed(1) : "–";
    for (const value of [cut, speed, entry.loss.toFixed(2), `${prompt}${text}`]) {
      row.insertCell().textContent = value;
    }
    for (const cell of [...row.cells].slice(1, 3)) cell.className = "prune-number";
    this.part("seen").hidden = false;
  }

  on_error({ id, code, message }) {
    if (id !== undefined && id !== this.run) return;
    this.fail(Object.assign(new Error(message), { code }));
  }

  async fail(error) {
    const alert = this.part("error");
    alert.textContent = REMEDIES[error.code] ?? error.message;
    alert.hidden = false;
    if (this.ready) return this.rest("");
    this.loading = false;
    this.say("");
    // the site may have been built anew since the page was opened: then the files to fetch are others
    const renewed = ["damaged", "not-built"].includes(error.code) && this.manifest;
    if (renewed) {
      this.manifest = await this.store.manifest().catch(() => this.manifest);
      this.cut.max = this.cuts.length - 1;
      this.show();
    }
    this.part("progress").hidden = true;
    const attended = document.activeElement === this.button("cancel");
    this.button("cancel").hidden = true;
    this.button("load").hidden = false;
    if (this.manifest) await this.offer();
    if (attended) this.button("load").focus();
  }

  say(words) {
    this.part("status").textContent = words;
  }
}

if (typeof document !== "undefined") {
  for (const root of document.querySelectorAll(".prune-tab")) new PruneTab(root).open();
}
