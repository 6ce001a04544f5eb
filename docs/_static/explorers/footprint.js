// Chapter 1: a training run on paper, and a chat for every search (greenlab.footprint.view.widgets).
(() => {
  const { grouped, significant, general } = greenlab.words;
  const SCALES = [[1e12, " trillion"], [1e9, " billion"], [1e6, " million"]];

  function number(x) {
    if (Math.abs(x) < 1e-6) return "0";
    const value = significant(x, 3);
    const [scale, word] = SCALES.find(([least]) => Math.abs(value) >= least) ?? [1, ""];
    return grouped(value / scale, 6).replace(/0+$/, "").replace(/\.$/, "") + word;
  }

  function percent(share) {
    const whole = 100 * share;
    return Math.abs(whole) >= 1 ? `${grouped(whole, 0)} %` : `${number(Number(general(whole, 2)))} %`;
  }

  /** Hours of all devices [h], energy [MWh] and emissions [t CO2e] of a training run. */
  function training(given, { billions, tokens, chip, region }) {
    const params = billions * 1e9;
    const flops = 6 * params * (params * tokens);
    const { flops_per_s, power_w } = given.chips[chip];
    const device_hours = flops / (flops_per_s * given.utilization) / 3600;
    const devices_kwh = (device_hours * power_w) / 1e3;
    const energy_kwh = devices_kwh + devices_kwh * (given.pue - 1);
    const carbon_t = (energy_kwh * given.grids[region].intensity_g_per_kwh) / 1e6;
    return { device_hours, energy_mwh: energy_kwh / 1e3, carbon_t };
  }

  function sayTraining(given, chosen) {
    const found = training(given, chosen);
    const chip = chosen.chip.split(" ")[0];
    return (
      `${number(chosen.billions * 1e9)} parameters on ${grouped(chosen.tokens, 0)} token${chosen.tokens === 1 ? "" : "s"} each: ` +
      `${number(found.device_hours)} hours of ${"AH".includes(chip[0]) ? "an" : "a"} ${chip}, ` +
      `${number(found.energy_mwh)} MWh, ${number(found.carbon_t)} t CO2e in ${given.grids[chosen.region].name}.\n` +
      `Modelled: ${grouped(100 * given.utilization, 0)} % of the peak rate reached, rated power, PUE ${given.pue}; no idle machines, ` +
      "no manufacture."
    );
  }

  /** Energy of a year before and after [TWh], the saving that was expected [TWh], and the share of it that use took back. */
  function search(given, { share_percent, answer_wh, cheaper, more }) {
    const uses = ((given.searches_per_day * share_percent) / 100) * 365;
    const after_wh = answer_wh / cheaper;
    const before_kwh = (answer_wh * uses) / 1e3;
    const after_kwh = (after_wh * (uses * more)) / 1e3;
    const expected_kwh = ((answer_wh - after_wh) * uses) / 1e3;
    const share = 1 - (before_kwh - after_kwh) / expected_kwh;
    return { before_twh: before_kwh / 1e9, after_twh: after_kwh / 1e9, expected_twh: expected_kwh / 1e9, share };
  }

  function saySearch(given, chosen) {
    const found = search(given, chosen);
    const text =
      `${number(found.before_twh)} TWh a year before, ${number(found.after_twh)} TWh after: ` +
      `${percent(found.after_twh / given.ireland_twh)} of Ireland's electricity.\n`;
    if (chosen.cheaper === 1) return `${text}Answers cost what they did, so there is no saving that could rebound.`;
    const rebound = `Rebound ${percent(found.share)}`;
    if (found.share > 1) return `${text}${rebound}: extra use took more than the saving. The cheaper answer costs more in all.`;
    return `${text}${rebound} of the expected saving of ${number(found.expected_twh)} TWh.`;
  }

  greenlab.explorers["footprint.training_widget"] = {
    at(given, chosen) {
      const found = training(given, chosen);
      const reached = chosen.billions >= 70 && chosen.tokens >= 200 && found.carbon_t <= given.goal_t;
      return { numbers: found, text: sayTraining(given, chosen), reached, params: { energy: found.energy_mwh, carbon: found.carbon_t } };
    },
  };
  greenlab.explorers["footprint.search_widget"] = {
    at(given, chosen) {
      const found = search(given, chosen);
      const reached = chosen.share_percent === 100 && chosen.more >= 2 && found.after_twh < 1;
      return { numbers: found, text: saySearch(given, chosen), reached, params: { before: found.before_twh, after: found.after_twh } };
    },
  };
})();
