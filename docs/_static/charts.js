// Draws the charts of a page in its light or dark theme, and writes their data as tables when asked.
//
// The colours of the data stay the same in both themes, so that prose about them holds; what changes is the paper, the
// ink and the grid. White dots and words on coloured cells stay as well, as they were chosen for the cell under them.

const DARK = {
  white: "#131416", "#222222": "#e6e6e6", "#555555": "#b4b4b4", "#777777": "#9c9c9c", "#888888": "#8c8c8c",
  "#999999": "#8c8c8c", "#b5b5b5": "#6c6c6c", "#c8c8c8": "#5c5c5c", "#c9c9c9": "#5c5c5c", "#d9d9d9": "#4c4c4c",
  "#e3e3e3": "#3c3f44", "#000000": "#e6e6e6",
};
const LEAST_PX = 160; // a plot that is narrower than this shows nothing
const ROWS = 200; // of a table in the page; the file has all

function isDark() {
  const theme = document.body.dataset.theme;
  return theme === "dark" || (theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
}

/** A spec with neutral colours turned for dark paper; data, and colours that depend on a condition, are left alone. */
function darker(node, key) {
  if (key === "data" || key === "datasets" || key === "transform") return node;
  if (typeof node === "string") return key === "color" && node === "white" ? node : (DARK[node.toLowerCase()] ?? node);
  if (Array.isArray(node)) return node.map((item) => darker(item, key));
  if (node === null || typeof node !== "object") return node;
  const entries = Object.entries(node);
  if ((key === "color" || key === "fill") && node.condition) return node; // words on a coloured cell
  return Object.fromEntries(entries.map(([name, value]) => [name, darker(value, name)]));
}

function specOf(figure) {
  return JSON.parse(figure.querySelector('script[type="application/json"]').textContent);
}

/** On a phone names and legends may leave the plot no room: then the chart is drawn wider, in a box that scrolls. */
function widen(box) {
  const plots = [...box.querySelectorAll("svg.marks .role-frame path.background")];
  if (!box.clientWidth || !plots.length || box.classList.contains("gl-roomy")) return;
  if (plots.some((plot) => plot.getBoundingClientRect().width >= LEAST_PX)) return;
  const scroll = document.createElement("div");
  scroll.className = "gl-scroll";
  scroll.tabIndex = 0; // by keyboard, too
  box.replaceWith(scroll);
  scroll.append(box);
  box.classList.add("gl-roomy");
  window.dispatchEvent(new Event("resize")); // the chart follows the width of its box
}

async function draw(figure) {
  const spec = isDark() ? darker(specOf(figure)) : specOf(figure);
  const box = figure.querySelector(".gl-draw");
  figure.glView?.finalize();
  const result = await window.greenlabEmbed(box, spec);
  figure.glView = result.view;
  nameControls(figure);
  figure.dataset.drawn = isDark() ? "dark" : "light";
  widen(box);
  document.dispatchEvent(new Event("greenlab-drawn"));
}

/** Controls that Vega draws have a label already; a range also speaks its number, which Vega writes beside it. */
function nameControls(figure) {
  for (const label of figure.querySelectorAll(".vega-bind label")) {
    const name = label.querySelector(".vega-bind-name")?.textContent.replace(/:\s*$/, "") ?? "control";
    for (const input of label.querySelectorAll("input, select")) input.setAttribute("aria-label", name);
  }
}

/** The rows of every data set that is written into a spec. */
function dataSets(spec) {
  const found = [];
  const seen = new Set();
  const add = (rows) => {
    if (!Array.isArray(rows) || !rows.length || typeof rows[0] !== "object") return;
    const text = JSON.stringify(rows);
    if (!seen.has(text)) found.push(rows);
    seen.add(text);
  };
  for (const rows of Object.values(spec.datasets ?? {})) add(rows);
  const walk = (node) => {
    if (node === null || typeof node !== "object") return;
    if (node.data?.values) add(node.data.values);
    for (const [name, value] of Object.entries(node)) if (name !== "data" && name !== "datasets") walk(value);
  };
  walk(spec);
  return found.sort((a, b) => b.length - a.length);
}

function columnsOf(rows) {
  return [...new Set(rows.flatMap((row) => Object.keys(row)))];
}

function csv(rows) {
  const columns = columnsOf(rows);
  const cell = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns, ...rows.map((row) => columns.map((name) => row[name]))].map((line) => line.map(cell).join(",")).join("\n");
}

function tableOf(rows, name) {
  const table = document.createElement("table");
  const columns = columnsOf(rows);
  table.createCaption().textContent = name;
  const head = table.createTHead().insertRow();
  for (const column of columns) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = column.replaceAll("_", " ");
    head.append(cell);
  }
  const body = table.createTBody();
  for (const row of rows.slice(0, ROWS)) {
    const line = body.insertRow();
    for (const column of columns) {
      const value = row[column];
      line.insertCell().textContent = value === null || value === undefined ? "–" : typeof value === "object" ? JSON.stringify(value) : String(value);
    }
  }
  return table;
}

/** Data sets as tables, each with a link to all of its rows; what stood in the place goes. */
function writeTables(place, sets, name, file) {
  for (const link of place.querySelectorAll("a")) URL.revokeObjectURL(link.href);
  place.replaceChildren();
  for (const [number, rows] of sets.entries()) {
    const region = document.createElement("div");
    region.className = "gl-table";
    region.tabIndex = 0;
    region.setAttribute("role", "region");
    const said = `Data ${number + 1}: ${rows.length} ${rows.length === 1 ? "row" : "rows"}`;
    region.setAttribute("aria-label", `${said}. ${name}`);
    region.append(tableOf(rows, said + (rows.length > ROWS ? `, the first ${ROWS} of them` : "")));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv(rows)], { type: "text/csv" }));
    link.download = `${document.location.pathname.split("/").pop().replace(".html", "")}-${file}-${number + 1}.csv`;
    link.textContent = "All rows as a file (CSV)";
    const line = document.createElement("p");
    line.append(link);
    place.append(region, line);
  }
}

function writeData(figure) {
  const place = figure.querySelector(".gl-data > div");
  if (place.childElementCount) return;
  writeTables(place, dataSets(specOf(figure)), figure.getAttribute("aria-label"), figure.id);
  if (!place.childElementCount) place.textContent = "The chart computes what it draws from the controls; no rows are stored.";
}

const figures = [...document.querySelectorAll(".gl-chart")];
const redraw = async () => {
  for (const figure of figures) {
    if (figure.dataset.drawn === (isDark() ? "dark" : "light")) continue;
    await draw(figure).catch((error) => figure.querySelector(".gl-draw").append(String(error)));
  }
};
for (const figure of figures) {
  figure.querySelector(".gl-data").addEventListener("toggle", () => writeData(figure));
}
redraw();
new MutationObserver(redraw).observe(document.body, { attributes: true, attributeFilter: ["data-theme"] });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
let asked;
window.addEventListener("resize", () => {
  clearTimeout(asked); // the charts answer first
  asked = setTimeout(() => {
    document.querySelectorAll(".gl-draw, .gl-explorer-draw").forEach(widen);
    document.dispatchEvent(new Event("greenlab-drawn"));
  }, 100);
});
// a chart in a fold that is closed does not know its width: it is asked again when the fold opens
document.addEventListener("toggle", () => window.dispatchEvent(new Event("resize")), true);
