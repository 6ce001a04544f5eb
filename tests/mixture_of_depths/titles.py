"""What proves each title of chapter 5: computed from the tables that its chart draws, or by asking the model anew."""

import re

from greenlab.lab.widgets import Explorer
from greenlab.mixture_of_depths import routing_mode, selection, study
from greenlab.mixture_of_depths import view as see
from greenlab.mixture_of_depths.study import tables as work
from greenlab.mixture_of_depths.view import budget, tokens

LINE = "To be, or not to be, that is the question:"
PAST, ENDING = LINE[:33], LINE[33:]


def models():
    return study.load()["models"]


def line_breaks_enter_one_block_and_not_another():
    table = work.by_block(study.load()["skipped"]).query("kind == 'line break'")
    seeds = [rows["percent"] for _, rows in table.groupby("seed")]
    return len(seeds) == 3 and all(percent.max() > 96 and percent.min() < 0.05 for percent in seeds)


def joules_approach_the_count():
    prompts = work.measured_prompts().sort_values("n_tokens")
    gap = (prompts["share"] - prompts["flops_share"]).tolist()
    return len(gap) == 3 and gap[0] > gap[1] > gap[2] > 0


def fewer_tokens_more_layers():
    """At every stop of the slider, which are whole blocks between those that skip."""
    table = work.budget_table(budget.speed.SHAPE.shape.replace(n_layers=12), 512).sort_values("percent")
    falls = [
        rows["layers"].is_monotonic_decreasing and rows["layers"].nunique() > 1 for _, rows in table.groupby("every")
    ]
    return len(falls) == 3 and all(falls) and table["every"].min() == 2 and bool(table["layers"].max() < 24)


def below_the_dense_line():
    table = work.frontier(models())
    skipping = table[table["family"] != "dense"].set_index("model")
    line = skipping["flops_per_token"].map(lambda flops: work.dense_loss(models(), flops))
    below = skipping["loss"] < line
    return len(below) > 1 and not below["random"] and bool(below.drop("random").all())


def experts_change_little():
    pairs = (("moe", "dense"), ("staged", "mod"), ("integrated", "mod"))
    return all(abs(work.difference(models(), name, base)[0]) <= 0.03 for name, base in pairs)


TITLES = {
    "In each model some block lets in over 96 % of the line breaks, and another none": (
        line_breaks_enter_one_block_and_not_another
    ),
    "The longer the prompt, the closer the joules come to the FLOPs": joules_approach_the_count,
    "The fewer tokens enter, the more layers fit; with whole blocks in between fewer than 24": fewer_tokens_more_layers,
    "In the mean of three seeds, skipping beats dense layers at equal work, unless chance decides": (
        below_the_dense_line
    ),
    "In so short a training experts change the loss by 0.03 nats at most, alone or joined with depths": (
        experts_change_little
    ),
}


# Widgets --------------------------------------------------------------------------------------------------------------


def entering(text, choice):
    """Which tokens of a text enter each block that skips: the positions by block."""
    _, model, tokenizer = study.load_models()
    mode = tokens.CHOICES[choice]
    with routing_mode(model, mode):
        table = selection(model, tokenizer.encode(text)[None])
    column = "selected" if mode == "top_k" else "predicted"
    return {layer: set(rows.loc[rows[column], "position"]) for layer, rows in table.groupby("layer")}


def map_of_the_line() -> Explorer:
    _, model, tokenizer = study.load_models()
    return see.map_explorer(model, tokenizer, LINE)


def as_many_enter(values, title):
    counts = [len(positions) for positions in entering(**values).values()]
    found = re.fullmatch(r"Of 42 characters (?:(\d+) to )?(\d+) enter (?:each|a) block that skips", title)
    return bool(found) and [int(found[1] or found[2]), int(found[2])] == [min(counts), max(counts)]


def leak_of_the_line() -> Explorer:
    _, model, tokenizer = study.load_models()
    explorer = see.leak_explorer(model, tokenizer, PAST, ENDING)
    explorer.controls["other"].value = "HAMLETS!!"  # the ending of the notebook's text cell, so that choices change
    return explorer


def as_many_change(values, title):
    texts = (PAST + ending for ending in (ENDING, values["other"]))
    one, other = (entering(text, values["choice"]) for text in texts)
    past = set(range(len(PAST)))
    n = sum(len((one[layer] ^ other[layer]) & past) for layer in one)
    return title == (
        f"The ending changes {n} choice{'s' * (n != 1)} of the past"
        if n
        else "The ending changes no choice of the past"
    )


def within_the_budget(values, title):
    """Cost by hand: whole blocks at 1, and each block that skips at what it costs, in FLOPs and in time."""
    capacity, every, layers = (values[name] for name in ("capacity", "every", "layers"))
    skip = [i % every == every - 1 for i in range(layers)]
    costs = [
        sum(share[capacity] if skips else 1.0 for skips in skip)
        for share in (budget.block_flops(), budget.block_times())
    ]
    fits = all(cost <= budget.LAYERS * (1 + 1e-12) for cost in costs)
    return title == f"{layers} layers {'fit into' if fits else 'cost more than'} the budget of 12 dense ones"


LIVE = {
    "map": (map_of_the_line, as_many_enter),
    "leak": (leak_of_the_line, as_many_change),
    "budget": (see.budget_widget, within_the_budget),
}
