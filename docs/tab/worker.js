// The model works here, beside the page, so that the page can always be moved.
//
// Messages in:  load {manifest, folder, plain}, cancel, write {id, prompt, kept, most}, stop
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

async function load({ manifest, folder, plain }) {
  loading = new AbortController();
  const store = new Store(folder);
  let kept = true;
  const progress = (bytes) => postMessage({ type: "progress", bytes });
  const fetched = async (file) => {
    const got = await store.get(file, loading.signal, progress);
    kept &&= got.kept;
    return got.bytes;
  };
  const named = (name) => manifest.files.find((file) => file.name === name);
  const kernel = await fetched(named("kernel.wasm"));
  const table = JSON.parse(new TextDecoder().decode(await fetched(named("tokenizer.json"))));
  const fresh = await Model.create(manifest, plain ? null : kernel).catch((error) => {
    throw error instanceof RangeError ? new StoreError("memory", error.message) : error;
  });
  for (const file of manifest.files.filter(({ name }) => name.endsWith(".bin"))) {
    fresh.addShard(file.name, await fetched(file));
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
