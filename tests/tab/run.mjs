// Runs the scripts of docs/tab in node: one request as JSON on standard input, the answer as JSON on standard output.
//
// {folder, weights, plain, tokenizer: {encode: [text], decode: [[id]], streamed: [[id]]}, model: [{kept, ids, write}]}

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const request = JSON.parse(readFileSync(0, "utf8"));
const script = (name) => import(pathToFileURL(`${request.folder}/${name}`).href);
const file = (name) => readFileSync(`${request.weights}/${name}`);
const answer = {};

if (request.tokenizer) {
  const { Tokenizer } = await script("tokenizer.js");
  const tokenizer = new Tokenizer(JSON.parse(file("tokenizer.json")));
  answer.encoded = request.tokenizer.encode.map((text) => tokenizer.encode(text));
  answer.streamed = (request.tokenizer.streamed ?? []).map((ids) => {
    const decoder = tokenizer.decoder();
    return [...ids.map((id) => decoder.add(id)), decoder.end()];
  });
  answer.decoded = request.tokenizer.decode.map((ids) => tokenizer.decode(ids));
}

if (request.model) {
  if (request.plain) delete globalThis.WebAssembly; // a browser that is locked down
  const { Model, argmax } = await script("model.js");
  const manifest = JSON.parse(file("manifest.json"));
  const model = await Model.create(manifest, file("kernel.wasm"), 96);
  for (const { name } of manifest.files) if (name.endsWith(".bin")) model.addShard(name, new Uint8Array(file(name)));
  answer.kernel = model.kernel.name;
  answer.texts = request.model.map(({ kept, ids, write = 0 }) => {
    model.keep(kept);
    const read = model.bytesRead();
    try {
      let logits;
      for (const id of ids) logits = model.read(id);
      const first = Array.from(logits);
      const written = [];
      for (let i = 0; i < write; i++) {
        written.push(argmax(logits));
        if (i + 1 < write) logits = model.read(written.at(-1));
      }
      return { logits: first, written, read };
    } catch (error) {
      return { error: `${error.name}: ${error.message}` };
    }
  });
}

if (request.ranges) answer.ranges = request.ranges.map((await script("prune.js")).ranges);

process.stdout.write(JSON.stringify(answer));
