// What widgets and charts need from the page that shows them and that JupyterLab does not give.
//
// 1. Keys belong to the control that has the focus. Lab's shortcuts for cells (d d deletes, x cuts, b inserts, arrows move)
//    are looked up from the element that has the focus upwards, and an element with the attribute below stops the search.
// 2. A slider of ipywidgets has no name for a screen reader, and a logarithmic one speaks its exponent.
// 3. After a restart of the kernel a widget looks alive and answers to nothing: it says so.
// 4. A button that its own press switches off loses the focus, and with it the reader's place: the answer gets it.
// 5. A link to a file of the book opens in Lab when it stands in prose; in the HTML of a widget it would leave Lab.
// 6. Under each chart a fold holds its data as a table: `foldData` of chart_data.js, which stands before this file.

const SUPPRESS = "data-lm-suppress-shortcuts";
const INSIDE = ["jupyter-widgets", "vega-embed", "greenlab-data"].map((name) => `.jp-OutputArea-output .${name}`).join();
const DISCONNECTED = "jupyter-widgets-disconnected";
const GONE = "The kernel behind this widget has ended or was restarted, so it no longer answers. Run its cell again.";

/**
 * Keep the keys of a focused control from Lab. Ctrl+S still saves, Escape leads back to the cell, and Shift+Enter goes on
 * to the next cell: a reader who runs cell after cell presses it right after Commit.
 */
function keepKeys(event) {
  const target = event.target;
  if (!(target instanceof Element) || !target.closest(INSIDE)) return;
  const saves = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s";
  const goesOn = event.shiftKey && event.key === "Enter" && !target.matches("textarea");
  if (saves || goesOn) target.removeAttribute(SUPPRESS);
  else target.setAttribute(SUPPRESS, "true");
  if (event.key === "Escape") target.closest(".jp-Cell")?.focus();
}

function set(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** Name each handle by the label of its slider, and let it speak what the readout shows, with the unit of the label. */
function nameSliders() {
  for (const slider of document.querySelectorAll(".widget-slider")) {
    const label = slider.querySelector(".widget-label");
    if (label?.title === "null") label.removeAttribute("title"); // ipywidgets writes it where there is no tooltip
    const readout = slider.querySelector(".widget-readout");
    const words = (label?.textContent ?? "").trim();
    const name = label?.title || words || "slider";
    // the unit stands in brackets in the label; a label that only carries the unit has its question as the tooltip
    const unit = words.match(/\[([^\]]+)\]\s*$/)?.[1] ?? (label?.title && label.title !== words ? words : "");
    const shown = (readout?.textContent ?? "").trim();
    const handles = [...slider.querySelectorAll(".noUi-handle")];
    const parts = handles.length === 2 ? shown.split(/\s*[–—]\s*|\s+-\s+/) : [shown];
    handles.forEach((handle, number) => {
      set(handle, "aria-label", handles.length === 2 ? `${name}, ${number ? "to" : "from"}` : name);
      if (parts[number]) set(handle, "aria-valuetext", `${parts[number]} ${unit}`.trim());
    });
    if (readout?.isContentEditable) {
      set(readout, "role", "textbox");
      set(readout, "aria-label", `${name}, type a value`);
    }
  }
}

/** Put a sentence into each widget that has lost its kernel, and take it away when the kernel is back. */
function sayWhoIsGone() {
  for (const note of document.querySelectorAll(".greenlab-gone")) {
    if (!note.parentElement.classList.contains(DISCONNECTED)) note.remove();
  }
  for (const widget of document.querySelectorAll(`.${DISCONNECTED}`)) {
    if (widget.parentElement?.closest(`.${DISCONNECTED}`) || widget.querySelector(":scope > .greenlab-gone")) continue;
    const note = document.createElement("div");
    note.className = "greenlab-gone";
    note.setAttribute("role", "status");
    note.style.cssText = "padding:6px 10px;border-left:4px solid #D55E00;line-height:1.5";
    widget.prepend(note);
    note.textContent = GONE; // after it is in the page, so that it is spoken
  }
}

let lastFocused = null; // the control that the reader used last
let answer = null; // what `keepPlace` gave the focus to

/** Remember the control that has the focus; an answer that `keepPlace` gave it to may still be replaced by the next. */
function remember(event) {
  if (event.type === "pointerdown") lastFocused = null; // a click beside all controls takes the focus away on purpose
  else if (event.target !== answer) lastFocused = event.target;
}

/** Give the focus to what a widget says once the button that was pressed is switched off, as Commit is. */
function keepPlace() {
  const at = document.activeElement;
  if (!lastFocused?.disabled || (at && at !== document.body && at !== lastFocused)) return;
  const said = lastFocused.closest(".jupyter-widgets.widget-vbox")?.querySelector("[role=status]");
  if (!said) return;
  answer = said;
  said.tabIndex = -1; // it can have the focus, and Tab goes on from it
  said.focus({ preventScroll: true });
}

/** Let links to files, written relative to the notebook, open inside Lab, as those of Markdown cells do. */
async function linkFiles(rendermime) {
  for (const link of document.querySelectorAll(".jupyter-widgets a[href]:not([data-greenlab-link])")) {
    const href = link.getAttribute("href");
    link.setAttribute("data-greenlab-link", "");
    if (/^([a-z][\w+.-]*:|#|\/)/i.test(href)) continue; // an address, a place in this page
    const [file, place] = href.split("#");
    const path = decodeURIComponent(await rendermime.resolver.resolveUrl(file));
    link.removeAttribute("target");
    rendermime.linkHandler.handleLink(link, path, place ? `#${place}` : undefined);
  }
}

function attend(rendermime) {
  let waiting = false;
  const look = () => {
    waiting = false;
    nameSliders();
    sayWhoIsGone();
    keepPlace();
    foldData();
    if (rendermime?.resolver && rendermime.linkHandler) linkFiles(rendermime).catch(console.warn);
  };
  const later = () => {
    if (!waiting) requestAnimationFrame(look);
    waiting = true;
  };
  const options = { subtree: true, childList: true, characterData: true, attributes: true };
  const attributeFilter = ["aria-valuetext", "aria-label", "class", "disabled"];
  new MutationObserver(later).observe(document.body, { ...options, attributeFilter });
  for (const kind of ["focusin", "pointerdown"]) document.addEventListener(kind, remember, true);
  window.addEventListener("keydown", keepKeys, true); // before Lab, which listens on the document
  later();
}

export default {
  initialize({ model }) {
    if (window.greenlabAttends) return; // once a page, however often kernels start
    window.greenlabAttends = true;
    attend(model.get("layout")?.widget_manager?.rendermime); // Lab's widget manager has it; other pages have none
  },
};
