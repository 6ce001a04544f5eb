// Chapter 2: the least time of a model on a chip, what sets it, and the joules at rated power (greenlab.hardware).
(() => {
  const { fixed, grouped, general, duration } = greenlab.words;
  const WIDER = { fp8: ["fp8", "bf16", "fp32"], bf16: ["bf16", "fp32"], fp32: ["fp32"] };

  /** What a dense model asks for: FLOPs, bytes that move, bytes that lie in memory (greenlab.hardware.work). */
  function work(given, { model, phase, batch, context, form }) {
    const s = given.models[model], f = given.formats[form];
    const attention = 2 * s.d_model * s.head_dim * (s.n_heads + s.n_kv_heads), dense = 3 * s.d_model * s.d_ff;
    const layers = s.n_layers * (attention + dense + 2 * s.d_model) + s.d_model;
    const total = layers + s.vocab_size * s.d_model * (s.tied_embeddings ? 1 : 2);
    const tokens = phase === "decode" ? batch : batch * context;
    const read = f.weight_b * (layers + s.vocab_size * s.d_model + s.d_model * tokens);
    const cache_b = 2 * s.n_layers * s.n_kv_heads * s.head_dim * f.cache_b * context * batch;
    const n = phase === "decode" ? 1 : context, pairs = phase === "decode" ? context : (context * (context + 1)) / 2;
    const each = 2 * (attention + dense) * s.n_layers * n + 4 * s.n_heads * s.head_dim * (s.n_layers * pairs) + 2 * s.d_model * s.vocab_size;
    return { tokens, flops: each * batch, bytes_moved: read + cache_b, resident_b: total * f.weight_b + cache_b, cache_b };
  }

  /** The bound: as many chips as hold it; beyond one board each holds some layers (greenlab.hardware.roofline). */
  function estimate(given, chosen) {
    const chip = given.chips[chosen.chip], one = work(given, chosen), wanted = given.formats[chosen.form].arithmetic;
    const arithmetic = WIDER[wanted].find((name) => name in chip.flops_per_s);
    const n_devices = Math.ceil(one.resident_b / chip.memory_b), tensor = n_devices <= given.board;
    const free_b = n_devices * chip.memory_b - (one.resident_b - one.cache_b);
    const batches = tensor ? 1 : Math.min(n_devices, Math.max(1, Math.floor(free_b / one.cache_b)));
    const on = tensor ? n_devices : 1;
    const compute_s = one.flops / (on * chip.flops_per_s[arithmetic]), memory_s = one.bytes_moved / (on * chip.bandwidth_b_per_s);
    const time_s = Math.max(compute_s, memory_s), tokens_per_s = (one.tokens * batches) / time_s;
    return {
      ...one, time_s, compute_s, memory_s, bound: compute_s >= memory_s ? "compute" : "memory", arithmetic, n_devices, batches, tokens_per_s,
      stream_tokens_per_s: one.tokens / chosen.batch / time_s, j_per_token: chip.power_w === null ? null : (n_devices * chip.power_w) / tokens_per_s,
    };
  }

  function rate(x) {
    return x >= 10 ? grouped(x, 0) : general(x, 2);
  }

  function joules(x) {
    return x < 100 ? `${general(Number(general(x, 3)))} J` : `${grouped(x, 0)} J`;
  }

  function holders(given, e) {
    if (e.n_devices === 1) return "One chip holds it";
    const words = `${grouped(e.n_devices, 0)} chips hold it`;
    if (e.n_devices <= given.board) return words;
    return `${words}, each some layers, and the caches of ${grouped(e.batches, 0)} batch${e.batches > 1 ? "es" : ""} at once`;
  }

  function say(given, chosen, e) {
    const busy = (e.n_devices > given.board ? e.batches / e.n_devices : 1) * (e.compute_s / e.time_s);
    const limit = e.bound === "memory" ? "Memory sets the time" : "Arithmetic sets the time";
    const energy = e.j_per_token === null ? "no rated power is published" : `${joules(e.j_per_token)} a token at rated power`;
    const speed = chosen.phase === "prefill"
      ? `The first word comes after ${duration(e.time_s)} or more`
      : `At most ${rate(e.stream_tokens_per_s)} tokens a second for each user`;
    return (
      `${limit}; the units are busy ${fixed(100 * busy, 1)} % of it (computed in ${e.arithmetic}). ${holders(given, e)}.\n` +
      `${speed}, ${rate(e.tokens_per_s)} tokens a second in all; ${energy}.`
    );
  }

  greenlab.explorers["hardware.roofline_widget"] = {
    at(given, chosen) {
      const e = estimate(given, chosen), chip = given.chips[chosen.chip];
      const params = {
        bandwidth: e.n_devices * chip.bandwidth_b_per_s, peak: e.n_devices * chip.flops_per_s[e.arithmetic],
        work_intensity: e.flops / e.bytes_moved, work_rate: (e.flops / e.tokens) * e.tokens_per_s,
        words: `${e.n_devices} x ${chip.name}: at most ${rate(e.tokens_per_s)} tokens/s`,
      };
      return { numbers: e, params, text: say(given, chosen, e), reached: chosen.phase === "decode" && e.bound === "compute" };
    },
  };
})();
