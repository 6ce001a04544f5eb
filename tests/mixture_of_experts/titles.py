"""What proves each title of chapter 3: computed from the tables that its chart draws."""

import json
import re

from greenlab.core.machine import ROOT
from greenlab.lab.renderer import MIME
from greenlab.lab.widgets import Explorer
from greenlab.mixture_of_experts import load, study
from greenlab.mixture_of_experts import view as see
from greenlab.mixture_of_experts.study import tables as work
from greenlab.mixture_of_experts.study.text import encode
from greenlab.mixture_of_experts.view import route

TOP_TWO = {n: f"{n} experts, top-2" for n in (4, 8, 16, 32)}


def shares():
    """Energy of the experts over that of the dense layer: rows of batches, columns of models."""
    return see.saving_table().pivot(index="batch", columns="model", values="share")


def models():
    return work.by_model(study.load()["models"]).set_index("model")


def first_seed(table, by):
    """Share of each sort of token that goes to each expert: what the heat maps draw, at every layer."""
    rows = study.load()[table].query(f"model == '{work.EIGHT}' and seed == 0")
    return rows.pivot(index=["layer", by], columns="expert", values="share")


def two_work_for_the_token():
    """Counted in the picture as the notebook stores it."""
    cells = json.loads((ROOT / "notebooks" / "03_mixture_of_experts.ipynb").read_text(encoding="utf-8"))["cells"]
    (cell,) = (cell for cell in cells if "see.layer_picture(" in "".join(cell["source"]))
    picture = cell["outputs"][0]["data"][MIME]
    boxes = {row["expert"]: row["state"] for rows in picture["datasets"].values() for row in rows if "state" in row}
    return len(boxes) == 8 and list(boxes.values()).count("at work") == 2


def alone_and_among_thousands():
    saved = 1 - shares()
    return bool((saved.loc[[1, 1024, 4096]] > 0.6).all(axis=None)) and round(100 * saved.loc[64].max()) == 13


def up_with_the_visits_then_down():
    """For each model of the menu: up to the first crowd that visits more than 85 %, and down from there."""
    visits = see.saving_table().pivot(index="batch", columns="model", values="visited_share")
    found = []
    for model, share in shares().items():
        turn = visits.index[visits[model] > 0.85][0]
        found += [share.loc[:turn].is_monotonic_increasing, share.loc[turn:].is_monotonic_decreasing]
        found += [visits.loc[:turn, model].is_monotonic_increasing, len(share.loc[:turn]) > 1]
    return len(found) == 12 and all(found)


def the_token_tells_most():
    right = work.guessed(study.load()["guess"]).set_index("known")["right"]
    return (round(100 * right["the token"]), round(100 * right["the kind of text"])) == (78, 27)


def no_kind_has_its_expert():
    share = first_seed("use", "kind")
    return set(share.index.get_level_values("layer")) == {0, 1, 2} and bool(share.max(axis=None) < 0.36)


def two_take_the_digits():
    share = first_seed("kinds", "token_kind")
    for kind in ("digits", "spaces and lines"):
        by_layer = share.xs(kind, level="token_kind")
        if len(by_layer) != 3 or not all(sum(sorted(row)[-2:]) > 0.7 for row in by_layer.to_numpy()):
            return False
    return True


def three_times_without_balance():
    table = work.balance(study.load()["collapse"]).pivot(index="step", columns="balanced", values="busiest")
    end = table.loc[table.index.max()]
    alone = table.loc[100:, "nothing"]
    return bool(alone.between(2.7, 3.3).all() and end.drop("nothing").max() <= 1.3)


def many_experts_gain_in_every_seed():
    gains = work.gains(study.load()["models"]).set_index("model")["gain_min"]
    return {n for n, name in TOP_TWO.items() if gains[name] > 0} == {16, 32}


def thirty_two_are_best():
    rows = work.cost_points(models().reset_index()).set_index("label")
    faster = 1 - rows.loc["32 experts", "cpu_s"] / rows.loc["large", "cpu_s"]
    return rows["loss"].idxmin() == "32 experts" and round(100 * faster) == 27


def more_seconds_than_flops():
    tables = study.load()
    curves = work.relative_curves(tables["history"], tables["models"], [work.ACTIVE, work.TOTAL, work.MANY])
    end = curves.groupby("model").last()
    more = [round(100 * (end.loc[work.MANY, count] - 1)) for count in ("flops", "cpu_s")]
    return more == [3, 36]


def used_of_all():
    share = see.published_table()["share"]
    return (round(share.min()), round(share.max())) == (3, 28)


TITLES = {
    "Eight experts are in memory, two work for this token": two_work_for_the_token,
    "Alone or among thousands experts save more than 60 %; among 64 tokens 13 % at most": alone_and_among_thousands,
    "The share of the dense joules rises until nearly all experts are visited, then it falls": (
        up_with_the_visits_then_down
    ),
    "Knowing the token one guesses its expert 78 % of the time; knowing the kind of text, 27 %": the_token_tells_most,
    "In no layer does a kind of text send more than 36 % of its tokens to one expert": no_kind_has_its_expert,
    "In every layer two of eight experts get over 70 % of the digits, and two of the spaces": two_take_the_digits,
    "Left alone, the busiest expert gets about three times an equal load; balanced, 1.3 times at most": (
        three_times_without_balance
    ),
    "At equal arithmetic 16 and 32 experts beat the dense model in every seed; 4 and 8 do not": (
        many_experts_gain_in_every_seed
    ),
    "32 experts have the lowest loss, in 27 % less time than the large dense model": thirty_two_are_best,
    "32 experts need 3 % more FLOPs than the small dense model, but 36 % more CPU time": (more_seconds_than_flops),
    "A token uses 3 to 28 % of the parameters that must be in memory": used_of_all,
}


# Widgets --------------------------------------------------------------------------------------------------------------


def visits_are_those_measured(values, title):
    row = see.saving_table().query("model == @values['model'] and batch == @values['batch']").iloc[0]
    asked = "1 token" if values["batch"] == 1 else f"{values['batch']:,} tokens at once"
    return title == f"{values['model']}, {asked}: {row['visited']} of {row['n_experts']} experts are visited"


def router() -> Explorer:
    return see.route_widget(*study.load_models())


def load_is_that_of_the_router(values, title):
    """Counted here from the choices themselves, in a model that is asked anew."""
    made, tokenizer = study.load_models()
    limit = None if values["capacity"] == route.NO_LIMIT else values["capacity"]
    part = see.with_choices(made[values["model"]], values["top_k"], limit)
    loads = load(part, encode(tokenizer, values["text"])[None]).query("layer == @values['layer']")
    if title.startswith("Load of the experts: "):
        lost = loads["dropped"].sum()
        said = f"{lost} of {loads['tokens'].sum()} choices are dropped (pale)" if lost else "nothing is dropped"
        return title.endswith(f": {said}")
    times = float(re.search(r"the busiest expert has ([\d.]+) times an equal load$", title)[1])
    here = title.startswith(f"Layer {values['layer']}, {values['model']}: ")
    return bool(here and abs(times - loads["tokens"].max() / loads["tokens"].mean()) <= 0.05)


LIVE = {
    "crowd": (see.crowd_widget, visits_are_those_measured),
    "route": (router, load_is_that_of_the_router),
}
