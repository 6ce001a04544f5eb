// Predictions in the page: the first commit counts and is kept in this browser; the reveal opens with it.
//
// The verdicts are those of greenlab.lab.predictions; a test compares them on many pairs of numbers.

const KEY = "greenlab.predictions";
const FACTOR = 2; // on a log scale, and at most this far off on any scale
const SHARE = 0.1; // of the truth: within a tenth counts as a good call

const unkept = {}; // for which the storage has no room: it counts as long as the page is open

function kept() {
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return { ...(found && typeof found === "object" && !Array.isArray(found) ? found : {}), ...unkept };
  } catch {
    return { ...unkept }; // no storage, or somebody else's text in it
  }
}

function keep(id, entry) {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...kept(), [id]: entry }));
    return !localStorage.forgets; // where storage is refused, page.html puts one that forgets in its place
  } catch {
    unkept[id] = entry;
    return false;
  }
}

/** A number with so many significant digits; what lies exactly between two goes to the even one, as in Python. */
function rounded(value, digits) {
  if (!value) return 0;
  const [mantissa, power] = Math.abs(value).toExponential(60).split("e");
  const all = mantissa.replace(".", "");
  const [kept, rest] = [BigInt(all.slice(0, digits)), all.slice(digits)];
  const half = "5".padEnd(rest.length, "0");
  const up = rest > half || (rest === half && kept % 2n === 1n);
  return Math.sign(value) * Number(`${kept + (up ? 1n : 0n)}e${Number(power) - digits + 1}`);
}

/** A whole number, rounded in the same way. */
function whole(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

/** A number with three digits and its unit, as number_text writes it. */
function numberText(value, unit) {
  const three = rounded(value, 3);
  let text = Math.abs(value) >= 1000 ? whole(value).toLocaleString("en-US") : String(three);
  if (Math.abs(value) < 1000 && three !== 0 && Math.abs(three) < 1e-4) {
    text = three.toExponential().replace(/e([+-])(\d)$/, "e$10$2");
  }
  return `${text} ${unit}`.trim();
}

function times(factor) {
  const two = rounded(factor, 2);
  return two >= 10 ? whole(two).toLocaleString("en-US") : String(two);
}

function howFar(guess, truth, unit) {
  const direction = guess > truth ? "high" : "low";
  if (guess > 0 && truth > 0) {
    const factor = Math.max(guess / truth, truth / guess);
    if (factor >= FACTOR) return `You were ${times(factor)} times too ${direction}.`;
  }
  const share = guess > 0 && truth > 0 ? `, ${whole((100 * Math.abs(guess - truth)) / truth)} % of the answer` : "";
  return `You were ${numberText(Math.abs(guess - truth), unit)} too ${direction}${share}.`;
}

/** What the reveal says of a guess, and whether it was a good call. */
function verdict(guess, truth, unit, tolerance, scale) {
  const within = tolerance ?? SHARE * Math.abs(truth);
  const factors = scale === "log" && truth > 0;
  const inFactor = truth === 0 || (guess / truth >= 1 / FACTOR && guess / truth <= FACTOR);
  const good = inFactor && (Math.abs(guess - truth) <= within || factors);
  if (!good) return { good, text: howFar(guess, truth, unit) };
  const text = factors ? `A good call: within a factor of ${FACTOR}.` : `A good call: within ${numberText(within, unit)}.`;
  return { good, text };
}

function dataOf(element) {
  return JSON.parse(element.querySelector('script[type="application/json"]').textContent);
}

/** What was predicted; null where nothing was, or where the slider of the question cannot have given that number. */
function entryOf(id) {
  const entry = kept()[id];
  if (typeof entry?.prediction !== "number" || !Number.isFinite(entry.prediction)) return null;
  const form = document.getElementById(`predict-${id}`);
  if (!form) return entry;
  const { low, high, scale } = dataOf(form);
  const place = scale === "log" ? Math.log10(entry.prediction) : entry.prediction;
  const room = 1e-9 * Math.max(1, Math.abs(low), Math.abs(high));
  return place >= low - room && place <= high + room ? entry : null;
}

/** Say the verdict and open the answer; `write` keeps the verdict for the score. */
function showReveal(reveal, write) {
  const { id, truth, unit, tolerance } = dataOf(reveal);
  const entry = entryOf(id);
  if (!entry) return;
  const said = verdict(entry.prediction, truth, unit, tolerance, entry.scale);
  reveal.querySelector("[role=status]").textContent = `Your prediction: ${numberText(entry.prediction, unit)}. ${said.text}`;
  reveal.querySelector("details").open = true;
  reveal.querySelector("summary").textContent = "The answer";
  if (write && (entry.truth !== truth || entry.good !== said.good)) keep(id, { ...entry, truth, good: said.good });
}

/** Show every reveal of the page that can be shown, and the score. */
function showReveals(write = true) {
  for (const reveal of document.querySelectorAll(".gl-reveal")) showReveal(reveal, write);
  score();
}

/** How many revealed predictions of the book were good calls, wherever a page has room for it. */
function score() {
  const entries = Object.values(kept()).filter((entry) => typeof entry?.good === "boolean");
  const good = entries.filter((entry) => entry.good).length;
  for (const board of document.querySelectorAll(".gl-score-board")) {
    board.hidden = !entries.length;
    board.textContent = `Your predictions so far: ${good} of ${entries.length} good calls.`;
  }
}

function setUp(form) {
  const question = dataOf(form);
  const [slider, shown, button] = ["input", "output", "button"].map((name) => form.querySelector(name));
  const status = form.querySelector("[role=status]");
  const value = () => (question.scale === "log" ? 10 ** Number(slider.value) : Number(slider.value));
  const show = () => {
    const text = question.scale === "log" ? numberText(rounded(value(), 2), question.unit) : numberText(value(), question.unit);
    shown.textContent = text;
    slider.setAttribute("aria-valuetext", text);
  };
  const close = (text) => {
    slider.disabled = button.disabled = true;
    status.textContent = text;
  };
  /** Show a prediction that is kept already, here or in another tab; says whether there is one. */
  const earlier = () => {
    const stored = entryOf(question.id);
    if (!stored) return false;
    slider.value = question.scale === "log" ? Math.log10(stored.prediction) : stored.prediction;
    show();
    close(`You said ${numberText(stored.prediction, question.unit)} earlier. The first prediction counts.`);
    return true;
  };
  if (!earlier()) show();
  slider.addEventListener("input", show);
  window.addEventListener("storage", ({ key }) => {
    if (key === KEY && !slider.disabled) earlier();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (earlier()) return;
    const saved = keep(question.id, { question: question.question, prediction: value(), unit: question.unit, scale: question.scale });
    const text = numberText(value(), question.unit);
    close(saved ? `Kept: ${text}. Read on; the reveal comes below.` : `${text}; this browser keeps nothing, so it counts only until you leave this page.`);
    status.tabIndex = -1;
    status.focus({ preventScroll: true }); // the button that had the focus is switched off
    showReveals();
  });
}

document.querySelectorAll(".gl-predict").forEach(setUp);
showReveals();
window.addEventListener("storage", ({ key }) => {
  if (key === KEY) showReveals(false); // the other tab has kept it: two builds would correct each other for ever
});
window.greenlabPredictions = { numberText, howFar, verdict };
