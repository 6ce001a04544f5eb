"""What proves the titles of chapter 6's charts, computed from the committed tables and from the real model."""

import re
from functools import lru_cache

import numpy as np

from greenlab import layer_pruning
from greenlab.core import assets
from greenlab.core.model import scoring
from greenlab.layer_pruning import study, view


@lru_cache(maxsize=1)
def tables():
    return study.load("curve", "distances", "speed")


def six_go_and_the_others_keep_their_order():
    return stack_is_what_drop_layers_does(6, 13)


def stack_is_what_drop_layers_does(n, start):
    """The layers that stay are the model's own, in its order, and as many as the picture shows."""
    whole = [layer.mlp.up_proj.weight.data_ptr() for layer in smollm2()[0].model.layers]
    cut = layer_pruning.drop_layers(smollm2()[0], start, n)
    stays = [layer.mlp.up_proj.weight.data_ptr() for layer in cut.model.layers]
    drawn = view.stack_picture(len(whole), list(range(start, start + n))).to_dict()
    states = next(rows for rows in drawn["datasets"].values() if len(rows) == len(whole))
    kept = [whole[row["layer"]] for row in states if row["state"] == "kept"]
    return stays == kept and len(stays) == len(whole) - n


def the_best_blocks_lie_between_layers_9_and_18():
    grid = tables()["distances"].pivot(index="n", columns="start", values="distance")
    starts = {n: int(grid.loc[n].idxmin()) for n in range(3, 11)}
    return min(starts.values()) == 9 and max(start + n - 1 for n, start in starts.items()) == 18


def the_best_block_touches_neither_end():
    """At every stop of the twin's slider."""
    data = view.distance_twin(tables()["distances"]).to_dict()
    rows = next(rows for rows in data["datasets"].values() if "distance" in rows[0])
    lengths = sorted({row["n"] for row in rows})
    best = {n: min((row for row in rows if row["n"] == n), key=lambda row: row["distance"])["start"] for n in lengths}
    return lengths == list(range(1, 13)) and all(start > 0 and start + n < 30 for n, start in best.items())


def only_cut(method, n, column):
    curve = tables()["curve"]
    rows = curve[(curve["method"] == method) & (curve["n_removed"] == n) & (curve["healing"] == "none")]
    return float(rows[column].mean())


def two_of_the_deepest_cost_more_than_twelve():
    twelve = [only_cut(method, 12, "loss") for method in ("angular", "block_influence")]
    return only_cut("deepest", 2, "loss") > max(twelve)


def six_leave_84_and_eight_46():
    six, eight = (100 * only_cut("angular", n, "accuracy") for n in (6, 8))
    return round(six) == 84 and round(eight) == 46


def speed_ups_lie_within_four_per_cent():
    timing = tables()["speed"]
    off = np.abs(timing["speedup"] / timing["predicted"] - 1)
    return bool(off.max() < 0.04 and len(off) == 14)


def healing_gives_back(n):
    curve = tables()["curve"].query("method == 'angular' and n_removed == @n").set_index("healing")["loss"]
    return round(100 * (curve["none"] - curve["teacher"]) / (curve["none"] - only_cut("none", 0, "loss")))


def healing_gives_back_55_and_78():
    return healing_gives_back(6) == 55 and healing_gives_back(8) == 78


TITLES = {
    "6 of 30 layers go; the other 24 keep their order": six_go_and_the_others_keep_their_order,
    "The blocks of 3 to 10 layers that change least all lie within layers 9 to 18": (
        the_best_blocks_lie_between_layers_9_and_18
    ),
    "Two of the deepest layers cost more loss than twelve that change least": two_of_the_deepest_cost_more_than_twelve,
    "Without the best block of six 84 % stay right, without that of eight 46 %": six_leave_84_and_eight_46,
    "Measured speed-ups lie within 4 % of the prediction": speed_ups_lie_within_four_per_cent,
    "Healing gives back 55 % of the lost loss at six layers, 78 % at eight": healing_gives_back_55_and_78,
    "At every length, the block that changes least touches neither end": the_best_block_touches_neither_end,
}


@lru_cache(maxsize=1)
def smollm2():
    return assets.load_smollm2()


@lru_cache(maxsize=1)
def distances():
    ids = scoring.token_windows(smollm2()[1], scoring.held_out_text("calibration"), 64)[:2]
    return layer_pruning.block_distances(smollm2()[0], ids)


def explorer():
    return view.cut_explorer(*smollm2(), distances(), "Bread rises because yeast", "The capital of France is")


def what_goes_and_how_many_blocks_change_less(values, title):
    n = values["n"]
    start = min(values["start"], 30 - n)
    if match := re.fullmatch(r"(\d+) of 30 layers go; the other (\d+) keep their order", title):
        return [int(part) for part in match.groups()] == [n, 30 - n] and stack_is_what_drop_layers_does(n, start)
    match = re.fullmatch(r"(\d+) of the (\d+) other blocks of this length changes? less than yours", title)
    row = distances()[:, n].numpy()[: 31 - n]
    rank = int(np.argsort(np.argsort(row))[start])  # 0 for the least
    return [int(part) for part in match.groups()] == [rank, 30 - n]


LIVE = {"cut_explorer": (explorer, what_goes_and_how_many_blocks_change_less)}
