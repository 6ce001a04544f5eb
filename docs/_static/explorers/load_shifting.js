// Chapter 9: eight training runs through the hours of a year (greenlab.load_shifting, and view.widget).
//
// The runs are alike: the same home, the same 24 whole hours, the same window. So much of Python's search becomes short
// here: an order of the runs does not matter, and shares of machines are whole numbers. The results are the same ones.
(() => {
  const { fixed, grouped } = greenlab.words;
  const BITS = 33; // of a signal that decides, as in solvers.cumulative: equal choices then compare equal
  const WHOLE = 3 * 2 ** 51; // added and taken away again it rounds a number to a whole one, half to even
  const ROUNDS = { regions: 4, places: 4 };

  function bytes(text) {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  }

  // the hours of a zone: a script of their own, read when they are first needed

  const asked = {}; // promises of scripts

  function read(zone) {
    asked[zone] ??= new Promise((resolve, reject) => {
      if (greenlab.hours?.[zone]) return resolve();
      const script = document.createElement("script");
      script.src = new URL(`load_shifting.${zone}.js`, greenlab.beside.load_shifting).href;
      script.onload = () => resolve();
      script.onerror = () => {
        delete asked[zone]; // the next move asks again
        script.remove();
        reject(new Error(`the hours of ${zone} could not be read; look at your connection and move a control again`));
      };
      document.head.append(script);
    });
    return asked[zone];
  }

  /** Intensity of a zone in each hour of the year [g/kWh]; computed hours come as steps of tenths of a gram. */
  async function hoursOf(zone) {
    await read(zone);
    const found = greenlab.hours[zone];
    found.values ??= found.steps
      ? running(new Int16Array(await unpacked(found.steps, 2))) : new Float64Array(await unpacked(found.exact, 8));
    return found.values;
  }

  /** What zlib has packed: first the first bytes of all numbers, then the second ones, and so on. */
  async function unpacked(text, width) {
    const stream = new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
    const planes = new Uint8Array(await new Response(stream).arrayBuffer()), n = planes.length / width;
    return planes.map((_, i) => planes[(i % width) * n + Math.floor(i / width)]).buffer;
  }

  function running(steps) {
    let tenths = 0;
    return Float64Array.from(steps, (step) => (tenths += step) / 10);
  }

  // what the planner believes

  /** The hours with errors: each has some memory of the one before (forecast.AR1). */
  function withErrors(given, truth, { rho, sigma }) {
    given.draws ??= new Float64Array(bytes(given.noise));
    const spread = Math.sqrt(1 - rho ** 2);
    return truth.map((row, z) => {
      let error = 0;
      return row.map((value, t) => {
        const drawn = given.draws[z * row.length + t];
        error = t ? drawn * spread + rho * error : drawn;
        return value * Math.max(1 + sigma * error, 0);
      });
    });
  }

  /** The day before, again and again. */
  function yesterdayAgain(given, truth, width) {
    return truth.map((row) => Float64Array.from({ length: width }, (_, ahead) => row[ahead % given.day_h]));
  }

  /** Values rounded to a fine grid (one for all zones), in which sums are exact (solvers.cumulative.Signal). */
  function exactly(rows) {
    const top = rows.reduce((most, row) => row.reduce((a, b) => Math.max(a, Math.abs(b)), most), 0);
    if (!top) return rows;
    const quantum = 2 ** (Math.ceil(Math.log2(top)) - BITS);
    return rows.map((row) => row.map((value) => (value / quantum + WHOLE - WHOLE) * quantum));
  }

  /** Running sums of one row; they begin with 0. */
  function sumsOf(row) {
    const sums = new Float64Array(row.length + 1);
    row.forEach((value, t) => { sums[t + 1] = sums[t] + value; });
    return sums;
  }

  // one run alone; times count from the hour in which the runs are handed in, and zone 0 is home

  /** The hours of a row from the cleanest to the dirtiest; of equals the earlier first. */
  function byValue(row) {
    return [...row.keys()].sort((a, b) => row[a] - row[b] || a - b);
  }

  /** Zone and start of the cheapest run in one piece: of equals the earliest start, and home if it is as clean. */
  function bestStart(rows, size) {
    const sums = rows.map(sumsOf);
    const cost = (z, s) => sums[z][s + size] - sums[z][s];
    let [best, start, zone] = [Infinity, -1, -1];
    sums.forEach((_, z) => {
      for (let s = 0; s <= rows[z].length - size; s += 1) {
        if (cost(z, s) < best || (cost(z, s) === best && s < start)) [best, start, zone] = [cost(z, s), s, z];
      }
    });
    return { zone: cost(0, start) <= best ? 0 : zone, start };
  }

  /** Zone and hours of the cheapest run with pauses. */
  function cheapestHours(rows, size) {
    let [best, zone, hours] = [Infinity, -1, []];
    rows.forEach((row, z) => {
      const chosen = byValue(row).slice(0, size);
      const cost = chosen.reduce((sum, t) => sum + row[t], 0);
      if (cost < best) [best, zone, hours] = [cost, z, chosen]; // home is first, so it wins where it is as clean
    });
    return { zone, hours: hours.sort((a, b) => a - b) };
  }

  // several runs in one piece (solvers.placement): place one after the other, then take each out and put it back

  function placed(rows, machines, n, size, run_kw) {
    const left = rows.map((row) => new Int32Array(row.length).fill(machines));
    const cost = new Array(n).fill(Infinity), zone = new Array(n).fill(-1), start = new Array(n).fill(-1);
    const book = (z, s, sign) => { for (let t = s; t < s + size; t += 1) left[z][t] += sign; };
    const find = () => { // as in Python costs are those of the energy of an hour
      let found = { cost: Infinity, zone: -1, start: -1 };
      rows.forEach((row, z) => {
        let [free, running] = [0, 0];
        for (let t = 0; t < row.length; t += 1) {
          [free, running] = left[z][t] >= 1 ? [free + 1, running + row[t]] : [0, 0];
          if (free > size) running -= row[t - size];
          const asks = running * run_kw;
          if (free >= size && asks < found.cost) found = { cost: asks, zone: z, start: t - size + 1 };
        }
      });
      return found;
    };
    const take = (j, found) => { [cost[j], zone[j], start[j]] = [found.cost, found.zone, found.start]; };
    for (let round = 0, changed = true; round <= ROUNDS.places && changed; round += 1) {
      changed = false;
      for (let j = 0; j < n; j += 1) {
        if (round && zone[j] >= 0) book(zone[j], start[j], 1);
        const found = find();
        if (found.cost < cost[j] - 1e-9 * Math.max(1, found.cost)) { take(j, found); changed = true; }
        if (zone[j] >= 0) book(zone[j], start[j], -1);
      }
    }
    for (let j = 0; j < n; j += 1) { // a run without a place pushes out one that can go elsewhere
      for (let other = 0; other < n && zone[j] < 0; other += 1) {
        if (zone[other] < 0) continue;
        book(zone[other], start[other], 1);
        const mine = find();
        if (mine.cost < Infinity) {
          book(mine.zone, mine.start, -1);
          const theirs = find();
          if (theirs.cost < Infinity) { take(other, theirs); take(j, mine); } else book(mine.zone, mine.start, 1);
        }
        book(zone[other], start[other], -1);
      }
    }
    return { zone, start };
  }

  // several runs that may pause

  /** A zone for each run (solvers.regions): each takes the cheapest hours that the others have left it. */
  function regions(rows, machines, n, size, zone) {
    const left = rows.map((row) => new Int32Array(row.length).fill(machines));
    const order = rows.map(byValue), kept = new Array(n).fill(null).map(() => []);
    zone = [...zone];
    for (let round = 0; round < ROUNDS.regions; round += 1) {
      let changed = false;
      for (let j = 0; j < n; j += 1) {
        if (round) for (const t of kept[j]) left[zone[j]][t] += 1;
        let best = { cost: Infinity, lack: Infinity, zone: zone[j], hours: [] };
        rows.forEach((row, z) => {
          const hours = order[z].filter((t) => left[z][t] >= 1).slice(0, size);
          const cost = hours.reduce((sum, t) => sum + row[t], 0), lack = size - hours.length;
          if (lack < best.lack || (lack === best.lack && (cost < best.cost || (cost === best.cost && z === 0)))) {
            best = { cost, lack, zone: z, hours };
          }
        });
        changed ||= best.zone !== zone[j];
        [zone[j], kept[j]] = [best.zone, best.hours];
        for (const t of best.hours) left[best.zone][t] -= 1;
      }
      if (round && !changed) break;
    }
    return zone;
  }

  /** Of so many runs alike, how many can be on time with so many machines: none runs twice in an hour. */
  function mostOnTime(n, machines, width, size) {
    while (n && Math.min(n, machines) * width < n * size) n -= 1;
    return n;
  }

  /** Share one zone out among runs (solvers.flow): the cleanest hours give as much as a flow to the runs carries. */
  function shareOut(row, machines, n, size) {
    const width = row.length, order = byValue(row), rank = new Int32Array(width);
    order.forEach((t, place) => { rank[t] = place; });
    const room = new Int32Array(width).fill(machines), need = new Int32Array(n).fill(size);
    const works = Array.from({ length: n }, () => new Uint8Array(width));
    for (let j = 0; j < n; j += 1) {
      for (const t of order) if (room[t] && need[j]) { works[j][t] = 1; room[t] -= 1; need[j] -= 1; }
    }
    const roomClosed = new Uint8Array(width), runClosed = new Uint8Array(n); // no path leads on from these

    /** Distances of hours and runs from an hour, up to the nearest work that it could take over; null if there is none. */
    const levels = (origin) => {
      const ofRoom = new Int32Array(width).fill(-1), ofRun = new Int32Array(n).fill(-1);
      const rooms = [origin];
      let reached = Infinity;
      [ofRoom[origin], roomClosed[origin]] = [0, 0];
      for (let head = 0; head < rooms.length; head += 1) {
        const t = rooms[head], level = ofRoom[t] + 1;
        if (level > reached) break;
        for (let j = 0; j < n; j += 1) {
          if (works[j][t] || ofRun[j] >= 0 || runClosed[j]) continue;
          ofRun[j] = level - 1;
          if (need[j]) { reached = level; continue; }
          for (let s = 0; s < width; s += 1) {
            if (!works[j][s] || ofRoom[s] >= 0 || roomClosed[s]) continue;
            if (rank[s] > rank[origin]) reached = level;
            else if (level < reached) { ofRoom[s] = level; rooms.push(s); }
          }
        }
      }
      if (reached < Infinity) return { ofRoom, ofRun };
      for (const t of rooms) roomClosed[t] = 1;
      ofRun.forEach((level, j) => { if (level >= 0) runClosed[j] = 1; });
      return null;
    };

    /** Move as much work into an hour as the paths carry; each hour and each run looks at its neighbours once. */
    const takeOver = (origin, { ofRoom, ofRun }) => {
      const nextRun = new Int32Array(width), nextHour = new Int32Array(n);
      const hours = [origin], runs = [];
      let [moved, depth] = [0, 0];
      while (room[origin]) {
        const t = hours[depth];
        let [run, source, ends] = [-1, -1, false];
        while (nextRun[t] < n && run < 0) {
          const j = nextRun[t];
          if (ofRun[j] === depth && !works[j][t]) {
            if (need[j]) [run, ends] = [j, true];
            while (run < 0 && nextHour[j] < width) {
              const s = nextHour[j], later = rank[s] > rank[origin];
              if (works[j][s] && s !== t && (later || ofRoom[s] === depth + 1)) { [run, source, ends] = [j, s, later]; break; }
              nextHour[j] += 1;
            }
          }
          if (run < 0) nextRun[t] += 1;
        }
        if (run < 0) {
          if (!depth) break;
          ofRoom[t] = -1;
          depth -= 1;
          continue;
        }
        [runs[depth], hours[depth + 1]] = [run, source];
        if (!ends) { depth += 1; continue; }
        for (let d = 0; d <= depth; d += 1) {
          if (hours[d + 1] < 0) need[runs[d]] -= 1;
          else works[runs[d]][hours[d + 1]] = 0;
          works[runs[d]][hours[d]] = 1;
        }
        if (source >= 0) room[source] += 1;
        room[origin] -= 1;
        moved += 1;
        depth = 0;
      }
      return moved;
    };

    for (const t of order) {
      while (room[t]) {
        const found = levels(t);
        if (!found || !takeOver(t, found)) break;
      }
    }
    return { works, lacks: [...need].map((more) => more > 0) };
  }

  /** Runs with pauses, each in one zone (solvers.capacity): zones first, then the machines of each zone are shared out. */
  function shared(rows, machines, n, size, zone, certain) {
    const width = rows[0].length, kept = new Array(n).fill(true), all = [...kept.keys()], done = new Map();
    const anywhere = rows.length > 1;
    zone = anywhere && !certain ? regions(rows, machines, n, size, zone) : [...zone];
    for (const z of [...new Set(zone)].sort((a, b) => a - b)) {
      const here = all.filter((j) => zone[j] === z), found = shareOut(rows[z], machines, here.length, size);
      if (!found.lacks.some(Boolean)) { done.set(z, [here, found.works]); continue; }
      const most = mostOnTime(here.length, machines, width, size);
      here.forEach((j, place) => { kept[j] = place < most; });
    }
    if (anywhere && kept.includes(false)) {
      rows.forEach((_, z) => {
        if (!all.some((j) => !kept[j] && zone[j] !== z)) return;
        const here = all.filter((j) => (kept[j] ? zone[j] === z : zone[j] !== z));
        const most = mostOnTime(here.length, machines, width, size);
        if (most <= here.filter((j) => kept[j]).length) return;
        here.forEach((j, place) => { kept[j] = place < most; if (kept[j]) zone[j] = z; });
        done.delete(z);
      });
    }
    for (const z of [...new Set(all.filter((j) => kept[j]).map((j) => zone[j]))].sort((a, b) => a - b)) {
      if (done.has(z)) continue;
      const here = all.filter((j) => kept[j] && zone[j] === z), found = shareOut(rows[z], machines, here.length, size);
      done.set(z, [here, found.works]);
      here.forEach((j, place) => { if (found.lacks[place]) kept[j] = false; });
    }
    const plan = new Array(n).fill(null);
    for (const [z, [runs, works]] of done) {
      runs.forEach((j, place) => { if (kept[j]) plan[j] = { zone: z, hours: hoursIn(works[place]) }; });
    }
    return plan;
  }

  function hoursIn(works) {
    return [...works.keys()].filter((t) => works[t]);
  }

  function inOnePiece({ zone, start }, size) {
    return { zone, hours: Array.from({ length: size }, (_, t) => start + t) };
  }

  /** Where and when each run works: a zone and its hours, or null for a run that finds no machines. */
  function plan(given, rows, { pause, machines }) {
    const n = given.runs, size = given.day_h;
    const alone = pause ? cheapestHours(rows, size) : inOnePiece(bestStart(rows, size), size);
    if (machines >= n) return new Array(n).fill(alone);
    const solid = placed(rows, machines, n, size, given.run_kw);
    const pieces = solid.zone.map((zone, j) => (zone < 0 ? null : inOnePiece({ zone, start: solid.start[j] }, size)));
    if (!pause) return pieces;
    const lost = (found) => found.filter((one) => !one).length;
    const found = shared(rows, machines, n, size, new Array(n).fill(alone.zone), false);
    if (lost(pieces) >= lost(found)) return found;
    const zone = solid.zone.map((z) => (z < 0 ? alone.zone : z)); // never fewer on time than the same runs in one piece
    return shared(rows, machines, n, size, zone, true);
  }

  // what it comes to

  /** Stretches of running of one run. */
  function stretches(hours) {
    const found = [];
    for (const t of hours) {
      if (found.length && found.at(-1)[1] === t) found.at(-1)[1] = t + 1;
      else found.push([t, t + 1]);
    }
    return found;
  }

  function median(numbers) {
    const sorted = [...numbers].sort((a, b) => a - b), middle = (sorted.length - 1) / 2;
    return sorted.length ? (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2 : 0;
  }

  function metrics(given, truth, runs) {
    const first = given.day_h, size = given.day_h, sums = truth.map(sumsOf), done = runs.filter(Boolean);
    const between = (z, a, b) => sums[z][first + b] - sums[z][first + a];
    let [carbon_g, baseline_g, n_stretches] = [0, 0, 0];
    for (const { zone, hours } of done) {
      const parts = stretches(hours);
      carbon_g += parts.reduce((sum, [a, b]) => sum + between(zone, a, b), 0) * given.run_kw;
      baseline_g += between(0, 0, size) * given.run_kw;
      n_stretches += parts.length;
    }
    const [carbon_kg, baseline_kg] = [carbon_g / 1e3, baseline_g / 1e3];
    return {
      missed: given.runs - done.length, carbon_kg, baseline_kg,
      saved_pct: baseline_kg ? 100 * (1 - carbon_kg / baseline_kg) : 0,
      delay_p50_h: median(done.map(({ hours }) => hours.at(-1) + 1 - size)), pauses: n_stretches - done.length,
    };
  }

  // words and chart (view.widget)

  function compared(saved_pct, digits = 0) {
    const written = fixed(Math.abs(saved_pct), digits);
    return Number(written) === 0 ? "as much" : `${written} % ${saved_pct > 0 ? "less" : "more"}`;
  }

  function headline(given, m) {
    if (m.missed === given.runs) return "No run finds machines before its deadline";
    const words = compared(m.saved_pct);
    const than = `${words} carbon ${words === "as much" ? "as" : "than"} at once, at home`;
    return than[0].toUpperCase() + than.slice(1) + (m.missed ? `; ${m.missed} of ${given.runs} runs are not done` : "");
  }

  function firstThree(names) {
    return names.slice(0, 3).join(", ") + (names.length > 3 ? " …" : "");
  }

  /** Zones in which anything runs, the busiest first. */
  function busiest(zones, runs) {
    const time = zones.map((_, z) => runs.reduce((sum, run) => sum + (run?.zone === z ? run.hours.length : 0), 0));
    return [...zones.keys()].filter((z) => time[z]).sort((a, b) => time[b] - time[a] || a - b).map((z) => zones[z]);
  }

  function tenth(x) {
    return Number(fixed(x, 1));
  }

  /** What the chart needs to know: one number an hour, null where nothing runs. */
  function timeline(given, { zones, truth, runs, m, used }, slack_h) {
    const n_hours = truth[0].length, load = zones.map(() => new Int32Array(n_hours));
    for (const run of runs.filter(Boolean)) for (const t of run.hours) load[run.zone][given.day_h + t] += 1;
    const hours = [...truth[0].keys()], away = hours.map((t) => load.slice(1).reduce((sum, row) => sum + row[t], 0));
    const grams = (t) => load.slice(1).reduce((sum, row, z) => sum + row[t] * truth[z + 1][t], 0);
    const marked = [...new Set([zones[0], ...used])].filter((zone) => given.zones[zone].modelled);
    return {
      grid: hours.map((t) => tenth(truth[0][t])), here: hours.map((t) => load[0][t]),
      away: hours.map((t) => load[0][t] + away[t]),
      there: hours.map((t) => (away[t] ? tenth(grams(t) / away[t]) : null)),
      due: (slack_h + given.day_h) / given.day_h, headline: headline(given, m),
      key: `line: ${given.zones[zones[0]].label}; filled: hours at work, blue at home, orange elsewhere`,
      places: `Work in: ${firstThree(used.map((zone) => given.zones[zone].label)) || "no place"}`,
      warning: marked.length
        ? `${given.modelled} hours, right in size and shape only: ${firstThree(marked.map((zone) => given.zones[zone].name))}`
        : "",
    };
  }

  function say(given, m, used) {
    if (m.missed === given.runs) {
      return `None of the ${given.runs} runs finds machines before its deadline: give more slack, machines or regions.`;
    }
    const kept = m.missed ? `${m.missed} of ${given.runs} runs miss their deadline` : "every deadline is kept";
    const places = used.slice(0, 3).map((zone) => given.zones[zone].label).join(", ");
    return (
      `${grouped(m.carbon_kg, 0)} kg instead of ${grouped(m.baseline_kg, 0)} kg at once: ${compared(m.saved_pct, 1)}.\n` +
      `The runs work in ${places}, finish ${fixed(m.delay_p50_h, 0)} h later (median), pause ${m.pauses} times; ${kept}.`
    );
  }

  greenlab.explorers["load_shifting.shift_explorer"] = {
    async at(given, chosen) {
      const { home, week, slack_h, regions: where, forecast, machines, pause } = chosen;
      const zones = [...new Set([home, ...(given.allowed[where] ?? given.zones[home].neighbours)])];
      const day = given.day_h, begin = (week - 1) * given.week_h - day; // a day before, for one who looks at yesterday
      const hours = await Promise.all(zones.map(hoursOf)), truth = hours.map((all) => all.slice(begin, begin + given.shown_h));
      const believes = given.forecasts[forecast], width = day + slack_h;
      const window = (rows) => rows.map((row) => row.slice(day, day + width));
      const believed = believes === "persistence"
        ? exactly(yesterdayAgain(given, truth, width))
        : window(exactly(believes ? withErrors(given, truth, believes) : truth));
      const runs = plan(given, believed, { pause, machines });
      const m = metrics(given, truth, runs), used = busiest(zones, runs);
      const drawn = timeline(given, { zones, truth, runs, m, used }, slack_h);
      const reached = where === given.stay && forecast !== "perfect" && m.saved_pct >= given.goal_pct && !m.missed;
      const table = drawn.grid.map((grams, t) => ({
        hour: t - day, g_per_kwh_at_home: grams, runs_at_home: drawn.here[t], runs_elsewhere: drawn.away[t] - drawn.here[t],
        g_per_kwh_elsewhere: drawn.there[t],
      }));
      const words = { notes: [drawn.key, drawn.places], warning: drawn.warning, text: say(given, m, used) };
      return { numbers: m, where: used, params: { plan: drawn }, ...words, reached, table };
    },
  };
})();
