// Chapter 10: a service, its levers and their waterfall (greenlab.green_service: energy, carbon, water, cost, latency,
// quality, evaluation, waterfall, challenges, and view.designer).
(() => {
  const { fixed, general, quantity, grouped } = greenlab.words;
  const S_PER_DAY = 86400, J_PER_KWH = 3.6e6;
  const CANNOT = "This design cannot be built";
  const OF = {
    energy: (o) => o.energy_j, carbon: (o) => o.carbon_g, water: (o) => o.water_ml, cost: (o) => o.cost_usd,
    "first token": (o) => o.first_token_s, "whole answer": (o) => o.total_s,
  };

  /** Layers that all tokens enter, and those of a mixture of depths that a share of them enters. */
  function layersOf(s) {
    const skipping = s.capacity < 1 ? Math.floor(s.n_layers / s.every) : 0;
    return { whole: s.n_layers - skipping, skipping };
  }

  /** Weights by part, of shapes without biases (greenlab.core.model.cost). */
  function counts(s) {
    const attention = 2 * s.d_model * s.head_dim * (s.n_heads + s.n_kv_heads);
    const dense = 3 * s.d_model * s.d_ff;
    const expert = 3 * s.d_model * (s.d_expert || s.d_ff);
    const router = s.d_model * s.n_experts;
    const norms = 2 * s.d_model + (s.qk_norm ? 2 * s.head_dim : 0);
    const feed_forward = s.n_experts ? s.n_experts * expert : dense;
    const used = s.n_experts ? s.top_k * expert : dense;
    const depth_routers = layersOf(s).skipping * (s.d_model + 1);
    const layers = s.n_layers * (attention + feed_forward + norms + router) + s.d_model + depth_routers;
    const matrices = s.n_layers * (attention + feed_forward);
    const total = layers + s.vocab_size * s.d_model * (s.tied_embeddings ? 1 : 2);
    return { attention, expert, dense, norms, router, used, layers, matrices, total };
  }

  function weightsRead(s, c, sequences) {
    if (s.n_experts) {
      const visited = s.n_experts * (1 - (1 - s.top_k / s.n_experts) ** sequences);
      return c.layers - s.n_layers * c.expert * (s.n_experts - visited);
    }
    if (s.capacity === 1) return c.layers;
    const nobody = (1 - s.capacity) ** sequences; // the chance that no token of the batch enters a layer
    return c.layers - nobody * layersOf(s).skipping * (c.attention + c.norms + c.dense);
  }

  /** Bytes of the cache; `share` of the tokens is held by a layer that they may skip. */
  function cacheBytes(s, context, batch, share = s.capacity) {
    const { whole, skipping } = layersOf(s);
    return 2 * (whole + share * skipping) * s.n_kv_heads * s.head_dim * 2 * (batch * context);
  }

  function flops(s, c, { tokens, pairs, entered, entered_pairs }) {
    const { whole, skipping } = layersOf(s);
    const all = whole * tokens + skipping * entered;
    return (
      2 * c.attention * all + 4 * s.n_heads * s.head_dim * (whole * pairs + skipping * entered_pairs) + 2 * c.used * all +
      2 * s.d_model * s.vocab_size + 2 * (c.router * all + skipping * s.d_model * tokens)
    );
  }

  function decodePass(s, batch, context, bits) {
    const c = counts(s);
    const layer = 2 * weightsRead(s, c, batch);
    const read = layer + 2 * s.vocab_size * s.d_model + 2 * s.d_model * batch + cacheBytes(s, context, batch, s.capacity ** 2);
    const weights = (c.matrices * bits + (c.total - c.matrices) * 16) / 8;
    const entered_pairs = s.capacity * Math.min(context, Math.max(1, s.capacity * context));
    const each = flops(s, c, { tokens: 1, pairs: context, entered: s.capacity, entered_pairs });
    return { bytes: read - (1 - bits / 16) * layer, flops: each * batch, layers: s.n_layers, resident: weights + cacheBytes(s, context, batch) };
  }

  function promptPass(s, n, bits) {
    const c = counts(s);
    const layer = 2 * weightsRead(s, c, n);
    const bytes = (bits / 16) * layer + 2 * s.vocab_size * s.d_model + 2 * s.d_model * n + cacheBytes(s, n, 1);
    const entered = Math.max(1, Math.floor(s.capacity * n + 1e-6));
    const work = { tokens: n, pairs: (n * (n + 1)) / 2, entered, entered_pairs: (entered * (entered + 1)) / 2 };
    return { bytes, flops: flops(s, c, work), layers: s.n_layers };
  }

  function joules(chip, work, n) {
    return work.bytes * chip.j_per_byte + work.flops * chip.j_per_flop + work.layers * n * chip.j_per_layer;
  }

  function seconds(chip, work, n) {
    return (work.bytes * chip.s_per_byte) / n + (work.flops * chip.s_per_flop) / n + work.layers * chip.s_per_layer;
  }

  /** A service that can be built, or an error in the words of greenlab.green_service.design. */
  function checked(given, service) {
    const kind = given.models[service.model];
    const n_layers = kind.shape.n_layers;
    const removed = service.removed_layers;
    const { most_studied, healed_most, studied_layers } = given.limits;
    for (const name of ["input_tokens", "output_tokens"]) {
      if (!(Number.isInteger(service[name]) && service[name] >= 1 && service[name] <= 1e6)) {
        throw new RangeError(`${name}=${service[name]}: give a whole number at least 1 and at most 1000000`);
      }
    }
    const most = Math.floor((n_layers * (service.healed ? healed_most : most_studied)) / studied_layers);
    if (service.pue !== null && !(service.pue >= 1 && service.pue <= 5)) {
      const written = Number.isNaN(service.pue) ? "nan" : service.pue;
      throw new RangeError(`pue=${written}: give a finite number at least 1 and at most 5; it is total energy over IT energy, so 1.1 means a tenth on top`);
    }
    if (removed > most) {
      throw new RangeError(
        `removed_layers=${removed} of ${n_layers}: give at most ${most}; chapter 6 measured the quality of SmolLM2 without up to ` +
        `${service.healed ? healed_most : most_studied} of ${studied_layers} layers${service.healed ? ", healed" : ""}, and nothing is known beyond`,
      );
    }
    if (service.healed && !removed) throw new RangeError("healed=True with removed_layers=0: there is nothing to heal; give healed=False");
    if (kind.kind === "mixture of experts" && (removed || service.capacity < 1)) {
      const lever = removed ? "removed_layers" : "capacity";
      throw new RangeError(
        `${lever}=${general(service[lever])} with model='${service.model}': the book measured it on dense models only; choose a dense model, or leave it out`,
      );
    }
    if (service.capacity < 1 && removed) {
      throw new RangeError(
        `capacity=${general(service.capacity)} with removed_layers=${removed}: their combination was never trained, so its quality is not known; choose one of them`,
      );
    }
    return service;
  }

  function shapeOf(given, service) {
    const whole = given.models[service.model].shape;
    return { ...whole, n_layers: whole.n_layers - service.removed_layers, capacity: service.capacity };
  }

  /** What does not depend on the assumptions: counts of the passes turned into joules and seconds. */
  function work(given, service) {
    const shape = shapeOf(given, service), chip = given.devices[service.device];
    const prompt_tokens = service.input_tokens + service.retrieved_tokens;
    const context = prompt_tokens + Math.floor((service.output_tokens + 1) / 2);
    const stored = given.stored_bits[service.bits];
    const longest = decodePass(shape, service.batch, prompt_tokens + service.output_tokens, stored);
    const memory_share = given.constants.memory_share.value;
    const each = Math.ceil(longest.resident / (memory_share * chip.memory_b));
    const ends = [16, stored].map((bits) => {
      const prompt = promptPass(shape, prompt_tokens, bits);
      const step = decodePass(shape, service.batch, context, bits);
      return [joules(chip, prompt, each), joules(chip, step, each) / service.batch, seconds(chip, prompt, each), seconds(chip, step, each)];
    });
    return { each, ends: [0, 1, 2, 3].map((i) => [ends[0][i], ends[1][i]]), cpu_s: service.retrieved_tokens ? given.search_cpu_s : 0 };
  }

  function mixed([whole, stored], a) {
    return a.serving_factor * (whole - a.kernel_share * (whole - stored));
  }

  function busySeconds(service, done, a) {
    return mixed(done.ends[2], a) + (service.output_tokens * mixed(done.ends[3], a)) / service.batch;
  }

  function fleet(service, done, a) {
    const per_second = service.requests_per_day / S_PER_DAY;
    const busy = busySeconds(service, done, a);
    const replicas = Math.max(1, Math.ceil((per_second * busy) / service.utilization - 1e-9));
    return { n_devices: replicas * done.each, replicas, busy_share: (per_second * busy) / replicas };
  }

  /** Figures of a request with one number for every assumption. */
  function outcome(service, done, machines, a) {
    const busy_s = done.each * busySeconds(service, done, a);
    const on_s = Math.max((machines.n_devices * S_PER_DAY) / service.requests_per_day, busy_s); // a draw may need more of them
    const waiting_s = Math.max(0, on_s - busy_s);
    const reading_j = mixed(done.ends[0], a), writing_j = service.output_tokens * mixed(done.ends[1], a);
    const machines_j = reading_j + writing_j + done.cpu_s * a.cpu_power_w + waiting_s * a.idle_power_w + on_s * a.host_power_w;
    const energy_j = machines_j + (a.pue - 1) * machines_j;
    const kwh = energy_j / J_PER_KWH;
    const hours = on_s / 3600;
    const embodied = (1e3 * (a.device_embodied_kg + a.server_embodied_kg / a.devices_per_server)) / (a.lifetime_years * 365 * 24);
    const grid = a.intensity_g_per_kwh * (1 - service.flexible * a.shift_saving);
    const reading_s = mixed(done.ends[2], a), step_s = mixed(done.ends[3], a);
    return {
      energy_j, carbon_g: kwh * grid + hours * embodied,
      water_ml: 1e3 * (machines_j / J_PER_KWH) * a.wue_l_per_kwh + 1e3 * kwh * a.water_l_per_kwh,
      cost_usd: hours * a.device_price, first_token_s: reading_s,
      total_s: reading_s + service.output_tokens * step_s + (service.batch - 1) * reading_s,
    };
  }

  function assumptions(given, service) {
    const found = { ...given.constants, ...given.devices[service.device].assumed, ...given.regions[service.region] };
    if (service.pue !== null) found.pue = { value: service.pue, low: service.pue, high: service.pue };
    return found;
  }

  /** Draws of the assumptions, the same for every design: a number below or above the value, nearer ones more often. */
  function uniforms(given) {
    if (given.drawn) return given.drawn;
    const bytes = Uint8Array.from(atob(given.draws.base64), (letter) => letter.charCodeAt(0));
    const all = new Float64Array(bytes.buffer);
    let at = 0;
    given.drawn = {};
    for (const [name, n] of given.draws.names) {
      given.drawn[name] = all.subarray(at, at + n);
      at += n;
    }
    return given.drawn;
  }

  function drawn(item, u) {
    const far = 1 - Math.sqrt(1 - Math.abs(u));
    return u < 0 ? item.value - far * (item.value - item.low) : item.value + far * (item.high - item.value);
  }

  const kept = new Map(); // what was computed of a service

  function evaluated(given, service) {
    const key = JSON.stringify(service);
    if (!kept.has(key)) {
      if (kept.size > 400) kept.clear();
      const done = work(given, service), assumed = assumptions(given, service);
      const central = Object.fromEntries(Object.entries(assumed).map(([name, item]) => [name, item.value]));
      const machines = fleet(service, done, central);
      kept.set(key, { service, done, assumed, central, machines, outcome: outcome(service, done, machines, central), quality: quality(given, service), draws: [] });
    }
    return kept.get(key);
  }

  /** The outcomes of the first n draws. */
  function drawsOf(given, found, n) {
    const u = uniforms(given);
    for (let i = found.draws.length; i < n; i += 1) {
      const a = { ...found.central };
      for (const [name, item] of Object.entries(found.assumed)) if (i < u[name].length) a[name] = drawn(item, u[name][i]);
      found.draws.push(outcome(found.service, found.done, found.machines, a));
    }
    return found.draws.slice(0, n);
  }

  function quantile(values, share) {
    const sorted = [...values].sort((a, b) => a - b);
    const at = share * (sorted.length - 1), low = Math.floor(at), high = Math.min(low + 1, sorted.length - 1);
    return sorted[low] + (at - low) * (sorted[high] - sorted[low]);
  }

  function quality(given, service) {
    let left = 1;
    const count = (share) => { left *= Math.min(1, share); };
    if (service.model !== service.reference) count(given.models[service.model].score / given.models[service.reference].score);
    if (service.removed_layers) {
      const { at, shares } = service.healed ? given.layers.healed : given.layers.plain;
      const of_30 = (service.removed_layers * given.limits.studied_layers) / given.models[service.model].shape.n_layers;
      let i = at.findIndex((x) => x >= of_30);
      count(at[i] === of_30 ? shares[i] : shares[i - 1] + ((shares[i] - shares[i - 1]) / (at[i] - at[i - 1])) * (of_30 - at[i - 1]));
    }
    if (service.capacity < 1) count(given.depths_kept);
    if (service.bits < 16) count(given.bits_kept[service.bits]);
    if (service.index !== "none" && service.removed_layers) {
      const of_30 = (service.removed_layers * given.limits.studied_layers) / given.models[service.model].shape.n_layers;
      const { without, left: least } = given.answers_kept;
      count(of_30 >= without ? least : 1 + ((least - 1) / without) * of_30);
    }
    return left;
  }

  /** The service before, at the work that the reader chose: two services are compared at the same work. */
  function before(given, chosen) {
    const service = { ...given.baseline };
    for (const name of given.work) service[name] = chosen[name];
    return checked(given, service);
  }

  function design(given, chosen) {
    const names = ["model", "removed_layers", "healed", "bits", "batch", "retrieved_tokens", "flexible", "utilization"];
    const service = { ...before(given, chosen) };
    for (const name of names) service[name] = chosen[name];
    service.device = given.device_of[chosen.device];
    service.region = given.region_of[chosen.region];
    service.capacity = given.capacities[chosen.depths ? 1 : 0];
    service.index = chosen.retrieved_tokens ? given.index : "none";
    service.pue = chosen.pue === given.average_pue ? null : chosen.pue;
    return checked(given, service);
  }

  function pulled(given, baseline, service) {
    return given.levers.filter((lever) => lever.fields.some((field) => baseline[field] !== service[field])).map((lever) => lever.name);
  }

  function apply(given, baseline, service, names) {
    const found = { ...baseline };
    for (const lever of given.levers) if (names.includes(lever.name)) for (const field of lever.fields) found[field] = service[field];
    return checked(given, found);
  }

  /** Whether the accelerator's study ran this model, as it is, on this chip and at such a batch. */
  function inStudy(given, service) {
    const { whole, changed } = given.models[service.model].studied_batches;
    const ran = service.removed_layers || service.capacity < 1 ? changed : whole;
    return service.device === given.measured_on && ran > 0 && service.batch <= whole;
  }

  function evidence(given, name, service) {
    let found = given.levers.find((lever) => lever.name === name).evidence;
    if (name === "other model" && given.models[service.model].measured) found = "measured on an accelerator";
    return found === "measured on an accelerator" && !inStudy(given, service) ? "modelled" : found;
  }

  function list(names) {
    return names.length ? `[${names.map((name) => `'${name}'`).join(", ")}]` : "nothing";
  }

  /** The waterfall of one quantity: a row a lever, in order. */
  function waterfall(given, baseline, service, order, name) {
    const of = OF[name], start = evaluated(given, baseline), taken = [];
    let here = start;
    return order.map((lever) => {
      let alone = null;
      try {
        alone = evaluated(given, apply(given, baseline, service, [lever]));
      } catch {
        alone = null; // it cannot be pulled alone
      }
      let after;
      try {
        after = evaluated(given, apply(given, baseline, service, [...taken, lever]));
      } catch (error) {
        throw new RangeError(`order: after ${list(taken)} the lever '${lever}' cannot be pulled: ${error.message}`);
      }
      const counted = after.quality >= service.quality_gate || after.quality >= here.quality;
      const then = counted ? after : here;
      const was = of(here.outcome);
      const row = {
        lever, before: was, after: of(then.outcome), counted, quality: after.quality, evidence: evidence(given, lever, after.service),
        saved_fraction: (was - of(then.outcome)) / was,
        alone_fraction: alone ? 1 - of(alone.outcome) / of(start.outcome) : null, share_low: null, share_high: null,
      };
      if (counted) {
        const share = 1 - of(after.outcome) / was;
        const first = drawsOf(given, here, given.n_draws), second = drawsOf(given, after, given.n_draws);
        const shares = first.map((one, i) => 1 - of(second[i]) / of(one));
        row.share_low = Math.min(quantile(shares, 0.025), share);
        row.share_high = Math.max(quantile(shares, 0.975), share);
        taken.push(lever);
      }
      here = then;
      return row;
    });
  }

  function product(shares) {
    return shares.includes(null) ? null : shares.reduce((left, share) => left * (1 - share), 1);
  }

  function percent(share) {
    return share < 0.1 ? `${fixed(100 * share, 1)} %` : `${grouped(100 * share, 0)} %`;
  }

  function said(given, found, name) {
    const value = OF[name](found);
    if (name === "cost") return `${fixed(1e6 * value, 0)} $ for a million of`;
    if (name === "water") return `${general(value, 2)} mL`;
    return quantity(value, given.quantities[name].unit) + (name === "carbon" ? " CO₂e" : "");
  }

  function headline(given, baseline, rows, name) {
    if (rows === null) return CANNOT;
    if (!rows.length) return `No lever is pulled: ${said(given, evaluated(given, baseline).outcome, name)} a request`;
    const taken = rows.filter((row) => row.counted);
    const together = product(taken.map((row) => row.saved_fraction)), alone = product(taken.map((row) => row.alone_fraction));
    const levers = taken.length === 0 ? "No lever counts, which leaves" : taken.length === 1 ? "One lever leaves" : `${taken.length} levers leave`;
    const noun = { "first token": "time to the first token", "whole answer": "time of the answer" }[name] ?? name;
    return `${levers} ${percent(together)} of the ${noun}` + (taken.length > 1 && alone !== null ? `; each alone, multiplied, ${percent(alone)}` : "");
  }

  /** The bars: the service before, one for each lever in order, and the service after. */
  function bars(given, baseline, rows, name) {
    const from = OF[name](evaluated(given, baseline).outcome);
    const none = { low: null, high: null, evidence: null };
    const found = [{ lever: "before", start: 0, end: from, said: "", whole: true, ...none }];
    if (!rows?.length) found.push({ lever: "no lever", start: from, end: from, said: "0 %", whole: false, low: from, high: from, evidence: null });
    for (const row of rows ?? []) {
      let change = "not counted";
      if (row.counted) {
        const value = fixed(-100 * row.saved_fraction, 0);
        change = /^-?0$/.test(value) ? "0 %" : `${value.startsWith("-") ? value.replace("-", "−") : `+${value}`} %`;
      }
      const band = row.counted ? { low: row.before * (1 - row.share_high), high: row.before * (1 - row.share_low), evidence: row.evidence } : none;
      found.push({ lever: row.lever, start: row.before, end: row.after, said: change, whole: false, ...band });
    }
    found.push({ lever: "after", start: 0, end: rows?.length ? rows.at(-1).after : from, said: "", whole: true, ...none });
    return found.map((row) => ({ ...row, right: Math.max(row.start, row.end) }));
  }

  function chart(given, found, name, title, log) {
    const spec = JSON.parse(JSON.stringify(given.spec).replaceAll("GREENLAB_TITLE", title.replaceAll("'", "\\\\'")));
    const words = given.quantities[name].axis;
    const floor = log ? 0.5 * Math.min(...found.map((row) => row.end)) : 0;
    for (const row of found) {
      row.start = Math.max(floor, row.start);
      if (row.low !== null) row.low = Math.max(floor, row.low);
    }
    const most = Math.max(...found.map((row) => Math.max(row.right, row.high ?? 0)));
    const kinds = given.evidence.filter(([kind]) => found.some((row) => row.evidence === kind));
    for (const { encoding } of spec.layer) {
      encoding.x.title = words;
      if (encoding.x.scale) encoding.x.scale = { domain: [floor, 1.25 * most], nice: false, ...(log ? { type: "log" } : {}) };
      encoding.y.sort = found.map((row) => row.lever);
      if (encoding.shape) encoding.shape.scale = { domain: kinds.map(([kind]) => kind), range: kinds.map(([, shape]) => shape) };
      for (const shown of encoding.tooltip ?? []) if (shown.field === "end") shown.title = words;
    }
    if (!kinds.length) spec.layer = spec.layer.filter((layer) => !layer.transform); // no mark says how a step is known: none is there
    spec.description = given.quantities[name].description;
    spec.datasets = { [spec.data.name]: found };
    return spec;
  }

  function refusals(given, service) {
    const found = [];
    const written = (x, whole) => (whole || !Number.isInteger(x) ? String(x) : `${x}.0`);
    for (const name of given.work) {
      const whole = name.endsWith("_tokens"), was = given.baseline[name], now = service[name];
      if (was !== now) found.push(`${name}=${written(now, whole)}: the work stays the same, which is ${name}=${written(was, whole)}`);
    }
    const { best_pue, most_utilization, most_flexible } = given.challenge;
    if (service.pue !== null && service.pue < best_pue) found.push(`pue=${general(service.pue)}: the best fleet that is published has ${general(best_pue)}`);
    if (service.utilization > most_utilization) {
      found.push(`utilization=${general(service.utilization)}: peaks need room; this level allows ${general(most_utilization)}`);
    }
    if (service.flexible > most_flexible) found.push(`flexible=${general(service.flexible)}: no more than ${general(most_flexible)} of the requests may wait`);
    return found;
  }

  function score(given, baseline, found) {
    const refused = refusals(given, found.service);
    const goals = given.challenge.goals, kept_enough = goals.every((goal) => goal.quantity !== "quality" || found.quality >= goal.limit);
    let points = 0, most = 0;
    for (const goal of goals) {
      most += goal.points;
      let reached;
      if (goal.quantity === "quality") reached = found.quality >= goal.limit;
      else if (goal.quantity === "first token" || goal.quantity === "whole answer") reached = OF[goal.quantity](found.outcome) <= goal.limit;
      else {
        const of = OF[goal.quantity], before = drawsOf(given, evaluated(given, baseline), given.score_draws);
        reached = kept_enough && quantile(drawsOf(given, found, given.score_draws).map((one, i) => of(one) / of(before[i])), 0.95) <= goal.limit;
      }
      if (reached && !refused.length) points += goal.points;
    }
    return { points, most, refused };
  }

  function remarks(found) {
    const { service, machines } = found, said = [];
    let at_once = ((service.requests_per_day / S_PER_DAY) * found.outcome.total_s) / machines.replicas;
    at_once /= Math.max(service.utilization, machines.busy_share);
    if (at_once < service.batch / 2) {
      said.push(
        `the traffic fills a batch of ${Math.max(1, Number(fixed(at_once, 0)))} on each replica in the mean, not of ${service.batch}: ` +
        "writing will cost more than shown, unless requests arrive together",
      );
    }
    if (found.quality < service.quality_gate) {
      said.push(`quality: ${fixed(100 * found.quality, 1)} % is left, and the gate is ${fixed(100 * service.quality_gate, 1)} %: no saving may be claimed`);
    }
    return said;
  }

  greenlab.explorers["green_service.Designer"] = {
    at(given, chosen) {
      const name = chosen.quantity;
      let rows = null, text, reached = false, numbers = null, baseline = given.baseline;
      try {
        const service = design(given, chosen), work_before = before(given, chosen);
        const names = pulled(given, work_before, service);
        rows = waterfall(given, work_before, service, chosen.order === given.orders[0] ? names : names.reverse(), name);
        const found = evaluated(given, service), { points, most, refused } = score(given, work_before, found);
        baseline = work_before;
        numbers = { ...found.outcome, quality: found.quality, n_devices: found.machines.n_devices };
        const figures = ["energy", "carbon", "water"].map((one) => `${one} ${said(given, found.outcome, one)}`);
        text = [
          `A request: ${figures.join(", ")}, cost ${grouped(1e6 * found.outcome.cost_usd, 0)} $ a million; ` +
          `${fixed(found.outcome.total_s, 1)} s for the answer; quality left ${fixed(100 * found.quality, 1)} %. Points: ${points} of ${most}.`,
          ...refused.map((why) => `Not allowed at this level: ${why}.`), ...remarks(found),
        ].join("\n");
        reached = points === most;
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        rows = null;
        text = `${CANNOT}: ${error.message}.`;
      }
      const title = headline(given, baseline, rows, name);
      return { numbers, rows, title, text, reached, spec: chart(given, bars(given, baseline, rows, name), name, title, chosen.log) };
    },
  };
})();
