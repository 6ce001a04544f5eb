// An explorer of a chapter, in the page: the controls of the notebook's widget, its chart, its sentence and its goal.
//
// The files of this folder are plain scripts and no modules, so that a page works that is opened as a file too. Each
// chapter's script adds to `greenlab.explorers` what its explorers compute; `greenlab.data` holds what Python wrote at
// the build: controls, charts, and the numbers of the facts and studies. The arithmetic is compared with Python's.

globalThis.greenlab ??= {};
greenlab.explorers ??= {};
greenlab.data ??= {};

greenlab.words = (() => {
  const PREFIXES = [[1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"]];
  const TIMES = [[86400, "days"], [3600, "h"], [60, "min"]];

  /** A number with so many digits after the point; a tie goes to the even digit, as in Python. */
  function fixed(x, digits) {
    const [size, exponent] = Math.abs(x).toExponential(60).split("e");
    const kept = Number(exponent) + 1 + digits; // digits that stay
    if (x === 0 || !Number.isFinite(x)) return x.toFixed(digits);
    const all = size.replace(".", "");
    if (kept < 0) return signed(x, "0" + (digits ? "." + "0".repeat(digits) : ""));
    return signed(x, placed(rounded(all, kept), digits));
  }

  function signed(x, text) {
    return (x < 0 ? "-" : "") + text;
  }

  /** The first digits of a number as a whole number, rounded half to even. */
  function rounded(all, kept) {
    const head = BigInt(all.slice(0, kept) || "0");
    const rest = all.slice(kept);
    const half = "5".padEnd(rest.length, "0");
    const up = rest > half || (rest === half && head % 2n === 1n);
    return head + (up ? 1n : 0n);
  }

  function placed(whole, digits) {
    const text = String(whole).padStart(digits + 1, "0");
    return digits ? `${text.slice(0, -digits)}.${text.slice(-digits)}` : text;
  }

  /** A number with thousands apart and so many digits after the point: Python's ``:,.nf``. */
  function grouped(x, digits) {
    const [whole, part] = fixed(x, digits).split(".");
    const apart = whole.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
    return part === undefined ? apart : `${apart}.${part}`;
  }

  /** A number rounded to so many significant digits. */
  function significant(x, digits) {
    if (x === 0 || !Number.isFinite(x)) return x;
    const [size, exponent] = Math.abs(x).toExponential(60).split("e");
    const whole = rounded(size.replace(".", ""), digits);
    return Math.sign(x) * Number(`${whole}e${Number(exponent) + 1 - digits}`);
  }

  /** Python's ``:.ng``. */
  function general(x, digits = 6) {
    const value = significant(x, digits);
    if (value === 0) return "0";
    const exponent = Number(value.toExponential().split("e")[1]);
    if (exponent < -4 || exponent >= digits) {
      const [size, power] = value.toExponential().split("e");
      const many = Math.abs(Number(power));
      return `${size}e${Number(power) < 0 ? "-" : "+"}${String(many).padStart(2, "0")}`;
    }
    const text = value.toFixed(Math.max(0, digits - 1 - exponent));
    return text.includes(".") ? text.replace(/0+$/, "").replace(/\.$/, "") : text;
  }

  function short(x, digits = 3) {
    const text = general(x, digits);
    return text.includes("e") ? fixed(Number(text), 0) : text;
  }

  /** A quantity with three digits and the prefix that keeps it readable. */
  function quantity(x, unit) {
    const size = significant(Math.abs(x), 3);
    if (size === 0) return `${general(x)} ${unit}`;
    const [factor, prefix] = PREFIXES.find(([least]) => size >= least) ?? PREFIXES.at(-1);
    return `${short(x / factor)} ${prefix}${unit}`;
  }

  /** A time as people say it. */
  function duration(seconds) {
    for (const [least, unit] of TIMES) if (seconds >= least) return `${short(seconds / least)} ${unit}`;
    return quantity(seconds, "s");
  }

  return { fixed, grouped, significant, general, quantity, duration };
})();

greenlab.show = (() => {
  function make(name, attributes = {}, text = "") {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.textContent = text;
    return node;
  }

  /** One control with its label; gives how to read and how to set its value. */
  function control(host, name, asked, changed) {
    const id = `${host.id}-${name}`;
    const row = make("div", { class: `gl-control gl-control-${asked.kind}` });
    const label = make("label", { for: id }, asked.label);
    let input, read, set;
    if (asked.kind === "select") {
      input = make("select", { id });
      asked.options.forEach(([words], place) => input.append(make("option", { value: place }, words)));
      read = () => asked.options[input.selectedIndex][1];
      set = (value) => { input.selectedIndex = asked.options.findIndex((option) => option[1] === value); };
      row.append(label, input);
    } else if (asked.kind === "check") {
      input = make("input", { id, type: "checkbox" });
      read = () => input.checked;
      set = (value) => { input.checked = value; };
      row.append(input, label);
    } else if (asked.kind === "text") {
      input = make("input", { id, type: "text", maxlength: "400", autocomplete: "off" });
      read = () => input.value;
      set = (value) => { input.value = value; };
      row.append(label, input);
    } else if (asked.kind === "number") {
      input = make("input", { id, type: "number", step: asked.step });
      read = () => (input.value === "" ? Number.NaN : Number(input.value));
      set = (value) => { input.value = value; };
      row.append(label, input);
    } else {
      const steps = asked.kind === "steps";
      const range = steps ? { min: 0, max: asked.options.length - 1, step: 1 } : { min: asked.min, max: asked.max, step: asked.step };
      input = make("input", { id, type: "range", ...range });
      const output = make("output", { for: id });
      read = () => (steps ? asked.options[Number(input.value)][1] : Number(input.value));
      const say = () => {
        output.textContent = steps ? asked.options[Number(input.value)][0] : input.value;
        if (steps) input.setAttribute("aria-valuetext", output.textContent);
      };
      set = (value) => { input.value = steps ? asked.options.findIndex((option) => option[1] === value) : value; say(); };
      input.addEventListener("input", say);
      row.append(label, input, output);
    }
    set(asked.value);
    input.addEventListener("input", changed);
    return { row, read, set, input };
  }

  const LEAST_PX = 200, AXIS_PX = 84; // of a plot; beside it the axis with its title, and the padding

  /** Put an explorer into its place in the page. */
  function start(host) {
    const name = host.dataset.explorer;
    const [chapter, part] = name.split(".");
    const given = greenlab.data[chapter][part];
    const explorer = greenlab.explorers[name];
    let drawing = Promise.resolve();
    let waiting = false;
    let shown = null;
    const controls = {};
    const changed = () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; update(); });
    };
    const groups = given.groups ?? { "": Object.keys(given.controls) };
    for (const [title, names] of Object.entries(groups)) {
      const box = make(title ? "fieldset" : "div", { class: "gl-controls" });
      if (title) box.append(make("legend", {}, title));
      for (const one of names) {
        controls[one] = control(host, one, given.controls[one], changed);
        box.append(controls[one].row);
      }
      host.append(box);
    }
    const figure = make("figure", { class: "gl-explorer-chart", role: "group", "aria-label": given.description ?? "Chart" });
    const box = make("div", { class: "gl-explorer-draw" });
    const data = make("details", { class: "gl-data" });
    data.append(make("summary", {}, "The data of this chart"), make("div"));
    const notes = make("div", { class: "gl-notes" }); // words above the chart, which wrap where it cannot
    figure.append(notes, box, data);
    const message = make("p", { class: "gl-said", role: "status", "aria-live": "polite" });
    host.append(figure, message);
    if (explorer.extra) host.append(explorer.extra.node = make("div", { class: "gl-extra" }));

    function values() {
      return Object.fromEntries(Object.entries(controls).map(([one, { read }]) => [one, read()]));
    }

    function paper() {
      return isDark() ? "dark" : "light";
    }

    /** Charts below one another do not follow the width of the page by themselves, as Vega's fit is for one plot. */
    function follow(spec) {
      if (!spec.vconcat) return;
      const room = Math.max(LEAST_PX, Math.min(spec.vconcat[0].width, box.clientWidth - AXIS_PX));
      for (const one of [...spec.vconcat, ...spec.params]) {
        if (one.name === "room") one.value = room;
        else if (!one.name) one.width = room;
      }
    }

    function resized() {
      if (!shown?.spec?.vconcat || shown.width === box.clientWidth) return;
      shown.paper = null; // so that it is drawn anew
      update();
    }

    /** What the chart shows now, as tables: rows that an explorer gives, or its numbers and the rows of its spec. */
    function writeRows() {
      if (!data.open || !shown) return;
      const { found, spec } = shown, numbers = Object.entries(found.params ?? {}).filter(([, value]) => typeof value !== "object");
      const sets = found.table ? [found.table] : [...(numbers.length ? [[Object.fromEntries(numbers)]] : []), ...dataSets(spec)];
      writeTables(data.lastElementChild, sets, figure.getAttribute("aria-label"), host.id);
    }

    async function draw(found) {
      const whole = found.spec ?? given.spec;
      if (found.spec || !shown || shown.paper !== paper()) {
        const spec = JSON.parse(JSON.stringify(whole));
        for (const param of spec.params ?? []) if (found.params && param.name in found.params) param.value = found.params[param.name];
        shown?.view.finalize();
        follow(spec);
        const now = paper();
        shown = { view: (await greenlabEmbed(box, now === "dark" ? darker(spec) : spec)).view, paper: now, width: box.clientWidth };
        box.querySelector("svg")?.setAttribute("aria-label", spec.description ?? given.description ?? "");
      } else {
        for (const [signal, value] of Object.entries(found.params)) shown.view.signal(signal, value);
        await shown.view.runAsync();
      }
      Object.assign(shown, { found, spec: whole });
      notes.replaceChildren(...(found.notes ?? []).filter(Boolean).map((line) => make("p", {}, line)));
      if (found.warning) notes.append(make("p", { class: "gl-warning" }, found.warning));
      writeRows();
      host.dataset.drawn = String(Number(host.dataset.drawn ?? 0) + 1);
      figure.dataset.drawn = shown.paper;
      widen(box);
    }

    function update() {
      const now = values();
      drawing = drawing.then(async () => {
        const late = given.waiting && setTimeout(() => { message.textContent = given.waiting; }, 300);
        try {
          const found = await explorer.at(given, now);
          await draw(found);
          message.textContent = "";
          found.text.split("\n").forEach((line, place) => { if (place) message.append(make("br")); message.append(line); });
          if (given.goal) {
            const state = found.reached ? "reached" : "not yet reached";
            message.append(make("br"), make("b", {}, `${found.reached ? "✓" : "○"} Goal:`), ` ${given.goal}: `, make("b", {}, state), ".");
          }
          explorer.after?.(host, found, given);
        } catch (error) {
          message.textContent = `This setting failed: ${error.message}. The chart still shows the setting before.`;
        } finally {
          clearTimeout(late);
        }
      });
    }
    data.addEventListener("toggle", writeRows);
    window.addEventListener("resize", resized);
    update();
    new MutationObserver(update).observe(document.body, { attributes: true, attributeFilter: ["data-theme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", update);
  }

  return { start, make };
})();

if (typeof document !== "undefined") {
  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("[data-explorer]").forEach(greenlab.show.start));
}
