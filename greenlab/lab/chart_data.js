// The data of each drawn chart as a table behind a fold, for readers who do not see the chart or want its figures.
//
// The rows are read from the marks that Vega has drawn (each element of its SVG carries its mark), so the table always
// says what the chart shows now, also after a slider has moved, and a stored notebook does not grow by a byte.
// Headings and figures are those of the tooltip; where a chart has none, those of the description of each mark.
// Plain functions without import or export: any page that draws with vega-embed can hold this file as a script.

const MOST_ROWS = 500; // a longer table is no longer read; the page would become slow
const FOLD = "greenlab-data";
const LINE = "1px solid var(--jp-border-color1, #bdbdbd)";

/** A number without the digits that floating point adds; other words as they are. */
function plainFigure(value) {
  const words = Array.isArray(value) ? value.join(" ") : String(value ?? "–");
  return /^-?\d+\.\d{7,}(e-?\d+)?$/.test(words) ? String(Number(Number(words).toPrecision(6))) : words;
}

/** What one mark says, as pairs of heading and figure: its tooltip, or "heading: figure; heading: figure". */
function wordsOf(item) {
  const said = item.tooltip;
  if (said && typeof said === "object" && !Array.isArray(said)) {
    return { hovered: true, pairs: Object.entries(said).map(([name, value]) => [name, plainFigure(value)]) };
  }
  const parts = typeof item.description === "string" ? item.description.split("; ") : [];
  const pairs = parts.map((part) => [part.slice(0, part.indexOf(": ")), part.slice(part.indexOf(": ") + 2)]);
  return { hovered: false, pairs: pairs.filter(([name]) => name).map(([name, value]) => [name, plainFigure(value)]) };
}

/** The tables of a drawn chart, each {columns, rows}: one for each kind of mark, without those that say nothing new. */
function chartTables(svg) {
  const layers = new Map();
  for (const group of svg.querySelectorAll("g.role-mark")) {
    const items = [...group.children].find((child) => child.__data__?.mark)?.__data__.mark.items ?? [];
    for (const item of items) {
      const { hovered, pairs } = wordsOf(item);
      if (!pairs.length) continue;
      const key = `${hovered} ${JSON.stringify(pairs.map(([name]) => name))}`;
      if (!layers.has(key)) layers.set(key, { hovered, columns: pairs.map(([name]) => name), rows: new Map() });
      const row = pairs.map(([, value]) => value);
      layers.get(key).rows.set(JSON.stringify(row), row); // two layers that draw the same row are one row
    }
  }
  const all = [...layers.values()].map((layer) => ({ ...layer, rows: [...layer.rows.values()] }));
  const chosen = all.some((layer) => layer.hovered) ? all.filter((layer) => layer.hovered) : all;
  const says = (wide, narrow) => {
    const places = narrow.columns.map((name) => wide.columns.indexOf(name));
    if (places.includes(-1)) return false;
    const seen = new Set(wide.rows.map((row) => JSON.stringify(places.map((place) => row[place]))));
    return narrow.rows.every((row) => seen.has(JSON.stringify(row)));
  };
  return chosen
    .filter((narrow) => !chosen.some((wide) => wide !== narrow && wide.columns.length > narrow.columns.length
      && says(wide, narrow)))
    .map(({ columns, rows }) => ({ columns, rows }));
}

/** An element with its style and words; words are text, never markup. */
function element(name, style, words) {
  const made = document.createElement(name);
  made.style.cssText = style;
  if (words !== undefined) made.textContent = words;
  return made;
}

function drawTable({ columns, rows }, caption) {
  const figures = columns.map((_, place) => rows.every((row) => /^[−-]?[\d.,]+(e[+-]?\d+)?\s?%?$|^–$/.test(row[place])));
  const cell = (place) => `text-align:${figures[place] ? "right" : "left"};vertical-align:top;padding:3px 22px 3px 0`;
  const table = element("table", `border-collapse:collapse;border-bottom:${LINE};margin:4px 0`);
  const more = rows.length > MOST_ROWS ? ` (the first ${MOST_ROWS} of ${rows.length} rows)` : "";
  table.append(element("caption", "text-align:left;font-weight:600;padding:4px 0", caption + more));
  const head = table.createTHead().insertRow();
  columns.forEach((name, place) => {
    const heading = element("th", `${cell(place)};border-bottom:${LINE}`, name);
    heading.scope = "col";
    head.append(heading);
  });
  const body = table.createTBody();
  for (const row of rows.slice(0, MOST_ROWS)) {
    const line = body.insertRow();
    line.style.background = "none"; // Lab paints every other row
    row.forEach((value, place) => {
      const made = element(place ? "td" : "th", `${cell(place)};font-weight:400`, value);
      if (!place) made.scope = "row";
      line.append(made);
    });
  }
  return table;
}

/** Give each chart of the page its fold; fill the folds that stand open, when what they say has changed. */
function foldData() {
  for (const fold of document.querySelectorAll(`.${FOLD}`)) {
    if (!fold.previousElementSibling?.classList.contains("vega-embed")) fold.remove(); // its chart is gone
  }
  for (const chart of document.querySelectorAll(".vega-embed")) {
    const svg = chart.querySelector("svg.marks");
    let fold = chart.nextElementSibling;
    if (!fold?.classList.contains(FOLD)) {
      if (!svg) continue;
      fold = element("details", "margin:2px 0 8px;line-height:1.5;flex:none");
      fold.className = FOLD;
      const heading = element("summary", "cursor:pointer;width:fit-content;padding:2px 4px", "Data of this chart");
      const body = element("div", "overflow:auto;max-height:24em");
      body.setAttribute("role", "region");
      body.tabIndex = 0; // the keyboard scrolls it
      fold.append(heading, body);
      fold.addEventListener("toggle", foldData);
      chart.after(fold);
    }
    if (!fold.open || !svg) continue;
    const lines = [...svg.querySelectorAll(".role-title-text tspan")].map((line) => line.textContent).join(" ");
    const title = lines || svg.querySelector(".role-title-text text")?.textContent || "this chart";
    const tables = chartTables(svg);
    const said = JSON.stringify([title, tables]);
    if (fold.greenlabSaid === said) continue; // else each fill would ask for the next one
    fold.greenlabSaid = said;
    const body = fold.lastElementChild;
    body.setAttribute("aria-label", `Data of the chart: ${title}`);
    const caption = (number) => `Data of the chart: ${title}${tables.length > 1 ? `, part ${number + 1}` : ""}`;
    body.replaceChildren(...tables.map((table, number) => drawTable(table, caption(number))));
  }
}
