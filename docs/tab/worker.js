// The model works here, beside the page, so that the page can always be moved.
//
// Messages in:  load {manifest, folder, kernel, plain}, cancel, write {id, prompt, kept, most}, stop
// Messages out: progress {bytes}, ready {kernel, kept, bytes}, began {id, tokens}, text {id, text, written, perSecond},
//               done {id, reason, written, perSecond, firstTokenS}, error {code, message, id?}

import { Model, argmax } from "./model.js";
import { Store, StoreError } from "./store.js";
import { Tokenizer } from "./tokenizer.js";

let model = null;
let tokenizer = null;
let loading = null; // an AbortController while the model is fetched
let current = null; // the id of the text that is being written

const channel = new MessageChannel();
/** Lets messages in, so that the next token is written only if it is still wanted. */
const breathe = () =>
  new Promise((resolve) => {
    channel.port1.onmessage = resolve;
    channel.port2.postMessage(null);
  });

async function kernelBytes(address, plain) {
  if (plain) return null;
  const response = await fetch(address, { cache: "no-cache" });
  if (!response.ok) throw new StoreError("not-built", "kernel.wasm is not there");
  return response.arrayBuffer();
}

async function load({ manifest, folder, kernel, plain }) {
  loading = new AbortController();
  const store = new Store(folder);
  let kept = true;
  const progress = (bytes) => postMessage({ type: "progress", bytes });
  const fresh = await Model.create(manifest, await kernelBytes(kernel, plain)).catch((error) => {
    throw error instanceof RangeError ? new StoreError("memory", error.message) : error;
  });
  let table = null;
  for (const file of manifest.files) {
    const got = await store.get(file, loading.signal, progress);
    kept &&= got.kept;
    if (file.name === "tokenizer.json") table = JSON.parse(new TextDecoder().decode(got.bytes));
    else fresh.addShard(file.name, got.bytes);
  }
  tokenizer = new Tokenizer(table);
  model = fresh;
  await store.sweep(manifest.files);
  postMessage({ type: "ready", kernel: model.kernel.name, kept, bytes: model.memory.buffer.byteLength });
}

async function write({ id, prompt, kept, most }) {
  current = id;
  await breathe(); // of several moves of the slider only the last one begins
  if (current !== id) return;
  const ids = tokenizer.encode(prompt);
  const room = model.contextLength - most;
  if (ids.length === 0) throw new StoreError("empty", "The beginning is empty: write a word or two.");
  if (ids.length > room) {
    throw new StoreError("long", `The beginning has ${ids.length} tokens; this page takes ${room}. Shorten it.`);
  }
  postMessage({ type: "began", id, tokens: ids.length });
  const start = performance.now();
  model.keep(kept);
  let logits = null;
  for (let i = 0; i < ids.length; i++) {
    logits = model.read(ids[i], i === ids.length - 1);
    await breathe();
    if (current !== id) return;
  }
  const decoder = tokenizer.decoder();
  const first = performance.now();
  let written = 0;
  let reason = "length";
  let perSecond = null;
  while (written < most) {
    const token = argmax(logits);
    if (token === model.config.end_token) {
      reason = "end";
      break;
    }
    written += 1;
    // the first token came with the prompt: the time of the others is that of one pass each
    if (written > 1) perSecond = (1000 * (written - 1)) / (performance.now() - first);
    postMessage({ type: "text", id, text: decoder.add(token), written, perSecond });
    await breathe();
    if (current !== id) return;
    if (written < most) logits = model.read(token);
  }
  current = null;
  const rest = decoder.end();
  if (rest) postMessage({ type: "text", id, text: rest, written, perSecond });
  postMessage({ type: "done", id, reason, written, perSecond, firstTokenS: (first - start) / 1000 });
}

const actions = {
  load,
  write,
  cancel: () => loading?.abort(),
  stop: () => {
    current = null;
  },
};

onmessage = async ({ data }) => {
  try {
    await actions[data.type](data);
  } catch (error) {
    postMessage({ type: "error", id: data.id, code: error.code ?? "unknown", message: error.message });
  }
};
