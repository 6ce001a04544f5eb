// The two products of kernel.wat: from the assembled module, or in plain JavaScript where a browser lacks SIMD.

/** The module on a memory, or null where the browser cannot run it (no WebAssembly, or no 128-bit SIMD). */
export async function fastKernel(bytes, memory) {
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(bytes)) return null;
  const { instance } = await WebAssembly.instantiate(bytes, { env: { memory } });
  return { q4: instance.exports.q4, q8: instance.exports.q8, name: "WebAssembly with SIMD" };
}

/** The same functions in JavaScript, on the same addresses. `buffer` is the memory's ArrayBuffer. */
export function plainKernel(buffer) {
  const bytes = new Uint8Array(buffer);
  const signed = new Int8Array(buffer);
  const words = new Int16Array(buffer);
  const floats = new Float32Array(buffer);

  function q4(quants, scales, minima, x, vectorScales, vectorSums, out, rows, groups) {
    const first = x >> 1;
    let scale = scales >> 2;
    let minimum = minima >> 2;
    for (let row = 0; row < rows; row++) {
      let total = 0;
      for (let group = 0; group < groups; group++) {
        let sum = 0;
        const at = first + 32 * group;
        for (let j = 0; j < 16; j++) {
          const pair = bytes[quants++];
          sum += (pair & 15) * words[at + j] + (pair >> 4) * words[at + 16 + j];
        }
        total += floats[scale++] * floats[(vectorScales >> 2) + group] * sum;
        total += floats[minimum++] * floats[(vectorSums >> 2) + group];
      }
      floats[(out >> 2) + row] = total;
    }
  }

  function q8(quants, scales, x, vectorScales, out, rows, groups) {
    const first = x >> 1;
    let scale = scales >> 2;
    for (let row = 0; row < rows; row++) {
      let total = 0;
      for (let group = 0; group < groups; group++) {
        let sum = 0;
        const at = first + 32 * group;
        for (let j = 0; j < 32; j++) sum += signed[quants++] * words[at + j];
        total += floats[scale++] * floats[(vectorScales >> 2) + group] * sum;
      }
      floats[(out >> 2) + row] = total;
    }
  }

  return { q4, q8, name: "plain JavaScript, as this browser has no SIMD" };
}
