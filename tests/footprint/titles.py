"""What chapter 1's titles say, each computed from the facts and the calculators."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from greenlab.core.energy.receipt import grid_intensity
from greenlab.core.facts import value
from greenlab.footprint import split_energy
from greenlab.footprint import tables as work
from greenlab.footprint.view import widgets
from tests.titles import LiveProof, Proof

UNDISCLOSED = ("Grok", "GPT-4", "PaLM 2")  # their makers publish no compute


def dense_models_stopped_in_2022() -> bool:
    """The largest model of one count is of 2022; of the models since that are larger, each has a second count."""
    table = work.trend("parameters")
    whole = table[table["count"] == "all parameters"]
    sparse = set(table.loc[table["count"] != "all parameters", "model"])
    named = whole["model"].str.contains("MoE|RUMOURED|Grok")
    dense = whole[~whole["model"].isin(sparse) & ~named]
    largest = dense.loc[dense["amount"].idxmax()]
    since = whole[(whole["date"] > largest["date"]) & (whole["amount"] > largest["amount"])]
    mixtures = since["model"].isin(sparse) | since["model"].str.contains("MoE|RUMOURED|Grok")
    return largest["date"].year == 2022 and len(since) >= 4 and bool(mixtures.all())


def data_grew_a_hundredfold_in_five_years() -> bool:
    tokens = work.trend("tokens").set_index("model")
    first, last = tokens.loc["GPT-3 175B"], tokens.loc["Llama 4 Scout (MoE)"]
    years = (last["date"] - first["date"]).days / 365.25
    return float(last["amount"] / first["amount"]) > 100 and 4.5 < years < 5.5


def disclosed_compute_is_two_million_times_gpt1() -> bool:
    compute = work.trend("compute").set_index("model")["amount"]
    disclosed = compute[[not name.startswith(UNDISCLOSED) for name in compute.index]]
    return disclosed.idxmax() == "Llama 3.1 405B" and 1.5e6 < float(disclosed.max() / compute["GPT-1"]) < 2.5e6


def nineteen_is_the_grid_times_the_energy() -> bool:
    carbon = work.multipliers().set_index("label")["carbon_t"]
    factor = carbon["GPT-3, where it ran"] / carbon["BLOOM, where it ran"]
    grid = carbon["GPT-3, where it ran"] / carbon["GPT-3, on BLOOM's grid"]
    energy = carbon["GPT-3, where it ran"] / carbon["BLOOM, on GPT-3's grid"]
    halves = round(2 * float(grid)), round(2 * float(energy))
    return round(float(factor)) == 19 and halves == (15, 5) and bool(np.isclose(factor, grid * energy))


def half_of_bloom_is_outside() -> bool:
    carbon = work.bloom_lifecycle().set_index("label")["carbon_t"]
    return 0.48 < float(1 - carbon["electricity of the GPUs at work"] / carbon.sum()) < 0.54


def the_guess_is_over_eight_times_each_later_figure() -> bool:
    energy = work.prompts()["energy_wh"]
    return bool((energy[0] / energy[1:] > 8).all()) and len(energy) == 4


def a_video_is_forty_thousand_chats() -> bool:
    energy = work.answers().set_index("label")["energy_wh"]
    video, chat = energy.filter(like="Video").max(), energy.filter(like="Chat").min()
    return 35_000 < float(video / chat) < 45_000 and energy.idxmax().startswith("Video")


def all_data_centres_use_nearly_what_germany_uses() -> bool:
    energy = work.yardsticks().set_index("label")["energy_twh"]
    return 0.85 < float(energy["All data centres, 2025"] / energy["Germany"]) < 1


def two_per_cent_needs_both() -> bool:
    """The first bar alone rounds to two per cent; it is the only one with cryptocurrencies and over consumption."""
    shares = work.world_shares()
    both = shares["label"].str.contains("with crypto") & shares["label"].str.contains("consumed")
    near = (shares["share_percent"] - 2).abs() < 0.2
    return bool((both == near).all()) and int(both.sum()) == 1


def nothing_fell_on_either_line() -> bool:
    """460 and 415 TWh stand on different lines, and both lines rise."""
    table = work.scopes().sort_values("year")
    of = {energy: table.loc[table["energy_twh"] == energy, "scope"].item() for energy in (460, 415)}
    rising = table.groupby("scope")["energy_twh"].apply(lambda line: line.is_monotonic_increasing)
    return of[460] != of[415] and bool(rising.all()) and len(rising) == 2


def the_printed_split_is_worse_than_the_average() -> bool:
    it = work.splits().query("part == 'IT equipment'").set_index("label")["share_percent"]
    printed = split_energy(1.0, compute=0.4, other_it=0.2, cooling=0.4).pue
    return it.idxmin() == "as printed in 2024" and printed > value("pue-average") > value("pue-best")


def on_the_line_of_its_grid(billions: float, tokens: float, chip: str, region: str) -> bool:
    """Emissions over electricity is the grid's intensity, whatever is trained on whatever."""
    run = widgets.training_run(billions * 1e9, tokens, chip, region)
    return bool(np.isclose(run.carbon_g / run.energy_kwh, grid_intensity(region).intensity_g_per_kwh))


def every_run_lies_on_its_line_and_every_grid_has_its_own() -> bool:
    runs = product((1, 175, 1000), (1, 2000), widgets.CHIPS, widgets.GRIDS)
    return (
        all(on_the_line_of_its_grid(*run) for run in runs)
        and pd.Series([grid_intensity(region).intensity_g_per_kwh for region in widgets.GRIDS]).is_unique
    )


def saves_only_while_use_grows_less(share_percent: float, answer_wh: float, cheaper: float, more: float) -> bool:
    year = widgets.search_year(share_percent, answer_wh, cheaper, more)
    return bool(year.after_kwh < year.before_kwh) == (more < cheaper)


def every_scenario_saves_only_while_use_grows_less() -> bool:
    return all(
        saves_only_while_use_grows_less(*stop) for stop in product((5, 100), (0.01, 10), (1, 33, 40), (1, 33, 40))
    )


LINES = "Work and chips move a run along the line of its grid; a place moves it to another line"
REBOUND = "Cheaper answers save electricity only while use grows less than they get cheaper"
TITLES: dict[str, Proof] = {
    "Dense models stopped growing in 2022; what grew since is used in part": dense_models_stopped_in_2022,
    "Training data grew more than a hundredfold in five years": data_grew_a_hundredfold_in_five_years,
    "The largest disclosed training took two million times the compute of GPT-1": (
        disclosed_compute_is_two_million_times_gpt1
    ),
    "Of a factor of nineteen, the grid makes seven and a half, the energy two and a half": (
        nineteen_is_the_grid_times_the_energy
    ),
    "Half of BLOOM's carbon is outside of the usual count": half_of_bloom_is_outside,
    "The guess of 2023 is more than eight times every later figure": the_guess_is_over_eight_times_each_later_figure,
    "A video takes up to forty thousand times a short chat": a_video_is_forty_thousand_chats,
    LINES: every_run_lies_on_its_line_and_every_grid_has_its_own,
    REBOUND: every_scenario_saves_only_while_use_grows_less,
    "All data centres together use nearly what Germany uses": all_data_centres_use_nearly_what_germany_uses,
    "About two per cent only with cryptocurrencies, and of what was consumed": two_per_cent_needs_both,
    "Two scopes, two lines: from 460 to 415 TWh nothing fell": nothing_fell_on_either_line,
    "The printed split is a worse building than the average of today": the_printed_split_is_worse_than_the_average,
}


def _near() -> pd.DataFrame:
    table = work.yardsticks()
    return table[~table["label"].isin(["Germany", "Japan"])]


def _training(values: dict[str, Any], title: str) -> bool:
    return title == LINES and on_the_line_of_its_grid(**values)


def _search(values: dict[str, Any], title: str) -> bool:
    return title == REBOUND and saves_only_while_use_grows_less(**values)


LIVE: dict[str, tuple[Any, LiveProof]] = {
    "train a model on paper": (lambda: widgets.training_widget(work.trainings()), _training),
    "every search a chat": (lambda: widgets.search_widget(_near()), _search),
}
