// SmolLM2 (a Llama, arXiv:2307.09288) for one reader: one token at a time, with a cache of keys and values.
//
// The matrices lie in one WebAssembly.Memory, multiplied by the kernel. All else is JavaScript on Float32Array.

import { fastKernel, plainKernel } from "./kernel.js";

const PAGE = 65536; // bytes in a page of WebAssembly.Memory
const GROUP = 32;
const LARGEST = 32767;

/** The value of every number of 16 bits, as float32: scales are stored in half precision (IEEE 754, binary16). */
const HALF = (() => {
  const table = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 0) table[bits] = sign * fraction * 2 ** -24;
    else if (exponent === 31) table[bits] = fraction ? NaN : sign * Infinity;
    else table[bits] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return table;
})();

const aligned = (n) => Math.ceil(n / 16) * 16;

/** Bytes in memory of the parts of a shard: scales and minima take four bytes here, two in the file. */
function sizeOf(layout) {
  let size = 0;
  for (const part of Object.values(layout)) {
    if (part.length !== undefined) size += aligned(4 * part.length);
    else {
      const groups = (part.rows * part.columns) / GROUP;
      size += aligned((part.rows * part.columns * part.bits) / 8) + (part.bits === 4 ? 2 : 1) * aligned(4 * groups);
    }
  }
  return size;
}

export class Model {
  /**
   * @param {object} manifest what greenlab.tab wrote as manifest.json
   * @param {BufferSource | null} kernelBytes the assembled kernel.wat; null computes in plain JavaScript
   * @param {number} contextLength the most tokens that a text may have
   */
  static async create(manifest, kernelBytes, contextLength = 256) {
    const model = new Model();
    const { config, layout } = manifest;
    Object.assign(model, { manifest, config, contextLength });
    const widest = Math.max(config.d_model, config.d_ff);
    const work = 16 * 4 + 2 * widest + (8 * widest) / GROUP + 4 * Math.max(config.vocab_size, 2 * widest);
    const bytes = sizeOf(layout.embedding) + config.n_layers * sizeOf(layout.layer) + work;
    const pages = Math.ceil(bytes / PAGE);
    const modules = typeof WebAssembly === "object"; // locked-down browsers have none
    model.memory = modules ? new WebAssembly.Memory({ initial: pages }) : { buffer: new ArrayBuffer(PAGE * pages) };
    const buffer = model.memory.buffer;
    model.bytes = new Uint8Array(buffer);
    model.floats = new Float32Array(buffer);
    model.words = new Int16Array(buffer);
    model.next = 0;
    model.kernel = (kernelBytes && (await fastKernel(kernelBytes, model.memory))) || plainKernel(buffer);
    model.x = model.take(2 * widest); // the rounded vector, its scales, its sums, and the product
    model.vectorScales = model.take((4 * widest) / GROUP);
    model.vectorSums = model.take((4 * widest) / GROUP);
    model.out = model.take(4 * Math.max(config.vocab_size, 2 * widest));
    model.layers = [];
    const cached = contextLength * config.n_kv_heads * config.head_dim;
    for (let i = 0; i < config.n_layers; i++) {
      model.layers.push({ keys: new Float32Array(cached), values: new Float32Array(cached) });
    }
    model.keep(model.layers.keys());
    model.prepareRotation();
    return model;
  }

  take(bytes) {
    const start = this.next;
    this.next += aligned(bytes);
    return start;
  }

  /** Put the bytes of a shard, "embedding.bin" or "layer-NN.bin", into memory. */
  addShard(name, shard) {
    const number = name === "embedding.bin" ? null : Number(name.slice(6, 8));
    const target = number === null ? this : this.layers[number];
    const layout = this.manifest.layout[number === null ? "embedding" : "layer"];
    for (const [part, entry] of Object.entries(layout)) target[part] = this.addPart(shard, entry);
    target.loaded = true;
  }

  addPart(shard, entry) {
    const view = new DataView(shard.buffer, shard.byteOffset, shard.byteLength);
    if (entry.length !== undefined) {
      return Float32Array.from({ length: entry.length }, (_, i) => view.getFloat32(entry.at + 4 * i, true));
    }
    const { rows, columns, bits } = entry;
    const groups = (rows * columns) / GROUP;
    const stored = (rows * columns * bits) / 8;
    const quants = this.take(stored);
    this.bytes.set(shard.subarray(entry.quants, entry.quants + stored), quants);
    const halves = (at) => {
      const start = this.take(4 * groups);
      for (let i = 0; i < groups; i++) this.floats[(start >> 2) + i] = HALF[view.getUint16(at + 2 * i, true)];
      return start;
    };
    const scales = halves(entry.scales);
    return { rows, columns, bits, quants, scales, minima: bits === 4 ? halves(entry.minima) : 0 };
  }

  /** Compute with these layers only, in their order; the cache is emptied, as it belongs to the layers before. */
  keep(numbers) {
    this.kept = [...numbers];
    this.position = 0;
  }

  reset() {
    this.position = 0;
  }

  /** Bytes of weights that are read for each token, and those of the whole model. */
  bytesRead() {
    const size = (layout) =>
      Object.values(layout).reduce((sum, part) => {
        if (part.length !== undefined) return sum + 4 * part.length;
        const weights = part.rows * part.columns;
        return sum + (weights * part.bits) / 8 + ((part.bits === 4 ? 4 : 2) * weights) / GROUP;
      }, 0);
    const layer = size(this.manifest.layout.layer);
    const head = size(this.manifest.layout.embedding);
    return { kept: head + this.kept.length * layer, whole: head + this.config.n_layers * layer };
  }

  prepareRotation() {
    const { head_dim: width, rope_theta: theta } = this.config;
    const half = width / 2;
    this.cosines = new Float32Array(this.contextLength * half);
    this.sines = new Float32Array(this.contextLength * half);
    for (let position = 0; position < this.contextLength; position++) {
      for (let i = 0; i < half; i++) {
        const angle = position * Math.fround(1 / theta ** ((2 * i) / width));
        this.cosines[position * half + i] = Math.cos(angle);
        this.sines[position * half + i] = Math.sin(angle);
      }
    }
  }

  /** Round a vector to 16 bits in groups of 32 and put it where the kernel reads it. */
  setVector(vector) {
    const { words, floats } = this;
    for (let group = 0; group < vector.length / GROUP; group++) {
      const start = group * GROUP;
      let largest = 0;
      for (let i = start; i < start + GROUP; i++) largest = Math.max(largest, Math.abs(vector[i]));
      const scale = largest / LARGEST;
      const inverse = scale > 0 ? 1 / scale : 0;
      let sum = 0;
      for (let i = start; i < start + GROUP; i++) {
        const rounded = Math.floor(vector[i] * inverse + 0.5);
        words[(this.x >> 1) + i] = rounded;
        sum += rounded;
      }
      floats[(this.vectorScales >> 2) + group] = scale;
      floats[(this.vectorSums >> 2) + group] = scale * sum;
    }
  }

  /** The product of a matrix and the vector that was set, as a view that the next product overwrites. */
  times(matrix, at = 0) {
    const { x, vectorScales, vectorSums } = this;
    const out = this.out + 4 * at;
    const groups = matrix.columns / GROUP;
    if (matrix.bits === 4) {
      const { quants, scales, minima, rows } = matrix;
      this.kernel.q4(quants, scales, minima, x, vectorScales, vectorSums, out, rows, groups);
    } else this.kernel.q8(matrix.quants, matrix.scales, x, vectorScales, out, matrix.rows, groups);
    return this.floats.subarray(out >> 2, (out >> 2) + matrix.rows);
  }

  normed(x, weight) {
    let squares = 0;
    for (let i = 0; i < x.length; i++) squares += x[i] * x[i];
    const factor = 1 / Math.sqrt(squares / x.length + this.config.rms_norm_eps);
    const result = new Float32Array(x.length);
    for (let i = 0; i < x.length; i++) result[i] = x[i] * factor * weight[i];
    return result;
  }

  /** Turn each pair of a head's elements, i and i + half, by the angle of the position. */
  rotate(vector, position) {
    const { head_dim: width } = this.config;
    const half = width / 2;
    for (let head = 0; head < vector.length; head += width) {
      for (let i = 0; i < half; i++) {
        const cosine = this.cosines[position * half + i];
        const sine = this.sines[position * half + i];
        const first = vector[head + i];
        const second = vector[head + i + half];
        vector[head + i] = first * cosine - second * sine;
        vector[head + i + half] = second * cosine + first * sine;
      }
    }
  }

  attention(queries, layer, position) {
    const { n_heads: heads, n_kv_heads: shared, head_dim: width } = this.config;
    const { keys, values } = layer;
    const stride = shared * width;
    const result = new Float32Array(heads * width);
    const scores = new Float32Array(position + 1);
    for (let head = 0; head < heads; head++) {
      const query = head * width;
      const offset = Math.floor((head * shared) / heads) * width;
      let largest = -Infinity;
      for (let t = 0; t <= position; t++) {
        let dot = 0;
        const key = t * stride + offset;
        for (let i = 0; i < width; i++) dot += queries[query + i] * keys[key + i];
        scores[t] = dot / Math.sqrt(width);
        largest = Math.max(largest, scores[t]);
      }
      let total = 0;
      for (let t = 0; t <= position; t++) total += scores[t] = Math.exp(scores[t] - largest);
      for (let t = 0; t <= position; t++) {
        const share = scores[t] / total;
        const value = t * stride + offset;
        for (let i = 0; i < width; i++) result[query + i] += share * values[value + i];
      }
    }
    return result;
  }

  /** The row of the embedding of a token. */
  embed(token) {
    const { rows, columns, quants, scales } = this.embedding;
    if (!Number.isInteger(token) || token < 0 || token >= rows) {
      throw new RangeError(`token=${token}: give a whole number from 0 to ${rows - 1}`);
    }
    const signed = new Int8Array(this.memory.buffer, quants + token * columns, columns);
    const first = (scales >> 2) + (token * columns) / GROUP;
    return Float32Array.from(signed, (q, i) => q * this.floats[first + Math.floor(i / GROUP)]);
  }

  /**
   * Read the next token of the text.
   *
   * @param {number} token its id
   * @param {boolean} wanted whether the logits are asked for: a prompt needs those of its last token only
   * @returns {Float32Array | null} logits of the token that follows, valid until the next call
   */
  read(token, wanted = true) {
    const position = this.position;
    if (position >= this.contextLength) throw new RangeError(`the text is longer than ${this.contextLength} tokens`);
    const add = (x, y) => {
      for (let i = 0; i < x.length; i++) x[i] += y[i];
    };
    const x = this.embed(token);
    for (const number of this.kept) {
      const layer = this.layers[number];
      this.setVector(this.normed(x, layer.input_layernorm));
      const queries = this.times(layer.q_proj);
      const keys = this.times(layer.k_proj, queries.length);
      const values = this.times(layer.v_proj, queries.length + keys.length);
      this.rotate(queries, position);
      this.rotate(keys, position);
      layer.keys.set(keys, position * keys.length);
      layer.values.set(values, position * values.length);
      this.setVector(this.attention(queries, layer, position));
      add(x, this.times(layer.o_proj));
      this.setVector(this.normed(x, layer.post_attention_layernorm));
      const gate = this.times(layer.gate_proj);
      const up = this.times(layer.up_proj, gate.length);
      for (let i = 0; i < gate.length; i++) gate[i] *= up[i] / (1 + Math.exp(-gate[i]));
      this.setVector(gate);
      add(x, this.times(layer.down_proj));
    }
    this.position = position + 1;
    if (!wanted) return null;
    this.setVector(this.normed(x, this.norm));
    return this.times(this.embedding);
  }
}

/** The number of the largest value; the first of equal ones. */
export function argmax(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}
