"""Chapter 3's charts, its widgets at every extreme, and its exercises."""

import copy
import re
from functools import partial

import pandas as pd
import pytest
import torch

from greenlab.accelerator.shapes import EXPERT_LAYERS
from greenlab.core import facts, studies
from greenlab.core.model.gpt import GPT, GPTConfig
from greenlab.lab.exercises import solutions
from greenlab.lab.widgets import exercise_extremes
from greenlab.mixture_of_experts import MoE, routing, study
from greenlab.mixture_of_experts import view as see
from greenlab.mixture_of_experts.router import Routing
from greenlab.mixture_of_experts.study import crowd, text
from greenlab.mixture_of_experts.study import tables as work
from greenlab.mixture_of_experts.view import measured, route

WORDS = "What say you, my lord? def load(self): return self.path\n"


@pytest.fixture(scope="module")
def tokenizer():
    return text.train_tokenizer([WORDS * 5], 300)


@pytest.fixture(scope="module")
def models():
    config = GPTConfig(300, 128, 2, 32, 2, d_ff=16)
    made = {n: GPT(config, feed_forward=partial(MoE, n_experts=n, top_k=2)).eval() for n in (8, 4)}
    for model in made.values():
        for block in model.blocks:
            block.feed_forward.router.weight.data *= 30  # sure of itself, so that loads differ
    return {f"{n} experts": model for n, model in made.items()}


# The measured crowd ---------------------------------------------------------------------------------------------------


def test_the_shares_are_those_of_the_accelerator_study():
    table = see.saving_table().set_index(["model", "batch"])
    found = studies.load("accelerator", "figures")["figures"].set_index("name")["value"]
    assert len(table) == 21
    for (model, batch), row in table.iterrows():
        name = f"layer-{model.lower()}"
        ours, dense = (found[f"{name}-{layer}-batch-{batch}"] for layer in ("experts", "dense-total-size"))
        assert row["share"] == pytest.approx(ours / dense, rel=1e-4)
        assert row["share_low"] <= row["share"] <= row["share_high"]
        assert row["visited"] <= min(batch * EXPERT_LAYERS[model].top_k, EXPERT_LAYERS[model].n_experts)


def test_what_the_chapter_says_of_the_crowd_is_in_the_table():
    """Alone a third, an eighth, a twenty-third; at 64 nothing in two of three; a tenth to three tenths in the end."""
    share = see.saving_table().pivot(index="batch", columns="model", values="share")
    high = see.saving_table().pivot(index="batch", columns="model", values="share_high")
    assert (1 / share.loc[1]).round().to_dict() == {"DeepSeek-V3": 23, "Mixtral-8x7B": 3, "Qwen3-30B-A3B": 8}
    assert set(high.columns[high.loc[64] >= 1]) == {"Mixtral-8x7B", "Qwen3-30B-A3B"}
    assert share.loc[16, "Mixtral-8x7B"] > 1.1
    assert 1 - share.loc[64, "DeepSeek-V3"] == pytest.approx(1 / 8, abs=0.01)
    assert ((share.loc[256] > 0.75) & (share.loc[256] < 0.87)).all()  # a quarter to a seventh is saved
    assert ((share.loc[256] > 0.76) & (share.loc[256] < 0.86)).all()  # 14 to 23 %
    assert share.loc[16].round(2).to_dict() == {"DeepSeek-V3": 0.48, "Mixtral-8x7B": 1.31, "Qwen3-30B-A3B": 0.83}
    assert share.loc[1, "Mixtral-8x7B"] > share.loc[4096, "Mixtral-8x7B"]  # a single user does not always save most
    assert share.loc[1, "Qwen3-30B-A3B"] / (8 / 128) == pytest.approx(2, abs=0.1)
    assert share.loc[4096, "Qwen3-30B-A3B"] / (8 / 128) == pytest.approx(2.7, abs=0.1)
    naive = 8 / 256
    assert 1.2 < share.loc[1, "DeepSeek-V3"] / naive < 1.5
    assert share.loc[64, "DeepSeek-V3"] / naive == pytest.approx(28, abs=0.5)
    assert 3 < share.loc[4096, "DeepSeek-V3"] / naive < 3.5
    assert share.loc[4096].round(1).to_dict() == {"DeepSeek-V3": 0.1, "Mixtral-8x7B": 0.3, "Qwen3-30B-A3B": 0.2}
    assert see.saving_table()["over_active"].max() == pytest.approx(27.3, abs=0.1)
    assert see.saving_table()["over_active"].min() > 1  # experts never beat a layer of the active size


def test_the_widget_of_the_crowd_says_what_was_measured_at_every_setting():
    widget = see.crowd_widget()
    for setting, said in exercise_extremes(widget):
        row, layers = measured._point(**setting)
        assert f"{row['visited']:.0f} of {row['n_experts']:.0f} experts were visited" in said
        assert measured._joules(layers["experts"]["j_per_token"]) in said
        assert said.startswith("MEASURED")
    assert "not yet reached" in widget.text
    assert "saves 96 % of" in widget.text_at(model="DeepSeek-V3", batch=1)


@pytest.mark.parametrize(
    ("model", "batch", "reached"),
    [("Mixtral-8x7B", 16, True), ("Mixtral-8x7B", 64, True), ("Qwen3-30B-A3B", 64, True), ("Qwen3-30B-A3B", 16, False),
     ("DeepSeek-V3", 64, False), ("Mixtral-8x7B", 4096, False)],
)  # fmt: skip
def test_the_goal_is_a_crowd_for_which_nothing_is_saved(model, batch, reached):
    said = see.crowd_widget().text_at(model=model, batch=batch)
    assert said.endswith("reached.")
    assert ("not yet" in said) != reached
    assert ("saves nothing" in said) == reached


def test_a_point_that_was_not_measured_is_refused():
    with pytest.raises(ValueError, match=r"batch=2: measured were 1, 4, 16"):
        measured._point("Mixtral-8x7B", 2)
    with pytest.raises(ValueError, match="GPT-9"):
        measured._point("GPT-9", 1)


# By hand --------------------------------------------------------------------------------------------------------------


def test_the_choices_of_three_tokens_are_written_as_weighted_sums():
    scores = torch.tensor([[0.5, 0.1, 0.3, 0.1], [0.2, 0.6, 0.05, 0.15]])
    weights, chosen = torch.tensor([[0.625, 0.375], [0.75, 0.25]]), torch.tensor([[0, 2], [1, 0]])
    table = see.choice_table(Routing(scores.log(), scores, chosen, weights, torch.ones(2, 2, dtype=torch.bool)))
    assert table["token"].tolist() == [0, 1]
    assert table[[f"score_{e}" for e in range(4)]].to_numpy() == pytest.approx(scores.numpy())
    assert table["output"].tolist() == ["0.62 × expert 0 + 0.38 × expert 2", "0.75 × expert 1 + 0.25 × expert 0"]
    with pytest.raises(TypeError, match="choice"):
        see.choice_table(scores)


def raced(*shares):
    batches = (1, 4, 16)
    rows = {"batch": batches, "layer": "experts", "share": shares, "visited": (0.1, 0.4, 0.9)}
    dense = {"batch": batches, "layer": "dense, total size", "share": 1.0, "visited": float("nan")}
    return pd.concat([pd.DataFrame(rows), pd.DataFrame(dense)], ignore_index=True)


@pytest.mark.parametrize(
    ("shares", "title"),
    [((0.21, 0.35, 0.5), "with one token, experts save 79 % of the time; with 16 at once, where they save least, 50 %"),
     ((0.2, 1.3, 0.5), "with one token, experts save 80 % of the time; with 4 at once, where they save least, nothing"),
     ((0.6, 0.35, 0.5), "experts save least with one token: 40 % of the time")],
)  # fmt: skip
def test_the_readers_own_race_is_told_as_it_went(shares, title):
    assert see.own_chart(raced(*shares)).to_dict()["title"]["text"] == f"Your machine: {title}"
    with pytest.raises(ValueError, match="no row of the layer 'experts'"):
        see.own_chart(raced(*shares).query("layer != 'experts'"))


# Charts ---------------------------------------------------------------------------------------------------------------


def test_every_chart_is_a_valid_specification():
    tables = study.load()
    table = work.by_model(tables["models"])
    guess = work.guessed(tables["guess"])
    use = tables["use"].query("model == '8 experts, top-2' and seed == 0")
    kinds = tables["kinds"].query("model == '8 experts, top-2' and seed == 0")
    race = crowd.race(crowd.layers(n_experts=4, top_k=1, d_model=16, d_expert=8), (1, 4), rounds=1)
    charts = [
        see.layer_picture(8, {2: 0.6, 5: 0.4}, "t"),
        see.saving_chart(see.saving_table(), "t"),
        see.crowd_twin("t"),
        see.own_chart(race, "t"),
        see.experts_chart(table.drop_duplicates("n_experts"), 2.0, "t"),
        see.cost_chart(work.cost_points(table), "t"),
        see.curves_chart(work.relative_curves(tables["history"], tables["models"], [work.ACTIVE, work.EIGHT]), "t"),
        see.balance_chart(work.balance(tables["collapse"]), "t"),
        see.guess_chart(guess, "t"),
        see.use_chart(use.assign(percent=100 * use["share"]), "kind", "t"),
        see.use_chart(kinds.assign(percent=100 * kinds["share"]), "token_kind", "t"),
        see.published_chart(see.published_table(), "t"),
    ]
    for chart in charts:
        spec = chart.to_dict()
        assert spec["description"]
        assert spec["title"]


def test_published_models_are_quoted_from_the_facts_and_the_rumour_is_marked():
    table = see.published_table().set_index("model")
    assert len(table) == 12
    assert table.loc["DeepSeek-V3", "total_b"] * 1e9 == facts.value("deepseek-v3.params_total")
    assert table.index[table["rumour"]].to_list() == ["GPT-4 (RUMOURED)"]
    assert table.loc["OLMoE-1B-7B", "confidence"] == "seen"  # only its tokens are not
    assert table["total_b"].is_monotonic_increasing
    assert (table["active_b"] < table["total_b"]).all()
    secondary = table.index[table["confidence"] == "secondary"].to_list()
    assert secondary == ["Qwen3-30B-A3B", "Mixtral 8x22B"]  # as the chart's subtitle says
    assert "Qwen3-30B and Mixtral 8x22B" in str(see.published_chart(see.published_table(), "t").to_dict()["title"])


def test_the_words_of_the_balance_chart_stand_at_its_left_and_the_curves_name_their_models():
    tables = study.load()
    words = see.balance_chart(work.balance(tables["collapse"]), "t").to_dict()["layer"][-1]
    assert words["mark"]["align"] == "left"
    assert words["encoding"]["x"] == {"value": 0}
    assert words["encoding"]["text"]["field"] == "words"
    curves = work.relative_curves(tables["history"], tables["models"], [work.ACTIVE, work.MANY])
    assert see.curves_chart(curves, "t").to_dict()["description"].endswith("dense, active size; 32 experts, top-2")


# Routing --------------------------------------------------------------------------------------------------------------


def test_tokens_stand_under_the_expert_that_the_router_chose(tokenizer, models):
    model = models["8 experts"]
    tokens = see.token_table(model, tokenizer, WORDS, 1)
    table = routing(model, text.encode(tokenizer, WORDS)[None]).query("layer == 1 and rank == 0")
    assert tokens["expert"].tolist() == table["expert"].tolist()
    assert "".join(tokens["piece"]) == WORDS
    assert (tokens["right"] > tokens["left"]).all()
    assert tokens["right"].max() <= 560
    apart = tokens.groupby("line")[["left", "right"]].agg(list)
    for left, right in apart.itertuples(index=False):
        assert all(a <= b for a, b in zip(right[:-1], left[1:], strict=True))  # nothing overlaps


def test_another_number_of_choices_leaves_the_model_as_it_was(models):
    model = models["8 experts"]
    before = copy.deepcopy(model.state_dict())
    changed = see.with_choices(model, 3, 1.25)
    assert changed.blocks[0].feed_forward.gate is model.blocks[0].feed_forward.gate
    assert (changed.blocks[0].feed_forward.router.top_k, model.blocks[0].feed_forward.router.top_k) == (3, 2)
    ids = torch.randint(0, 300, (1, 20))
    assert routing(changed, ids)["rank"].max() == 2
    assert routing(model, ids)["dropped"].sum() == 0
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("top_k", "capacity"), [(0, None), (9, None), (2, 0), (2, -1.0), (2, float("nan")), (True, None)]
)
def test_choices_out_of_range_are_refused(models, top_k, capacity):
    with pytest.raises((TypeError, ValueError), match=r"top_k|capacity_factor"):
        see.with_choices(models["8 experts"], top_k, capacity)


def test_the_widget_of_the_text_answers_at_every_setting(tokenizer, models):
    widget = see.route_widget(models, tokenizer, WORDS)
    seen = exercise_extremes(widget)
    assert len(seen) > 15
    assert all("times an equal load" in said and "nats a token" in said for _, said in seen)
    assert all("nothing is dropped" in said for setting, said in seen if setting["capacity"] == route.NO_LIMIT)
    assert widget.text_at(top_k=4, model="4 experts").startswith(
        f"{len(text.encode(tokenizer, WORDS))} tokens, 4 experts, 4"
    )
    assert "not yet reached" in widget.text


def test_with_room_for_all_nothing_is_dropped_and_the_goal_is_reached(tokenizer, models):
    widget = see.route_widget(models, tokenizer, WORDS)
    full = widget.text_at(model="4 experts", top_k=4, capacity=1.0)  # each token uses every expert: perfect balance
    assert re.search(r"token: 0 of \d+ choices do not fit\.", full)
    assert full.endswith("dropped: reached.")
    tight = widget.text_at(top_k=1, capacity=0.75)
    assert "not yet reached" in tight
    assert not re.search(r"token: 0 of \d+ choices", tight)


@pytest.mark.parametrize("words", ["", "   ", "\n"])
def test_an_empty_text_is_said_to_be_empty(tokenizer, models, words):
    widget = see.route_widget(models, tokenizer, WORDS)
    widget.set(text=words)
    assert "the text was empty" in widget.text


def test_a_single_letter_and_a_long_text_are_routed(tokenizer, models):
    widget = see.route_widget(models, tokenizer, WORDS)
    widget.set(text="a")
    assert widget.text.startswith("1 token")
    widget.set(text="é漢" * 200)
    assert widget.text.startswith(f"{route.MOST_TOKENS} tokens")


@pytest.mark.parametrize(
    ("call", "words"),
    [(lambda m, t: see.route_widget({}, t), "models is empty"),
     (lambda m, t: see.route_widget(m["8 experts"], t), "models"),
     (lambda m, t: see.token_table(m["8 experts"], t, "a", 7), "layer=7"),
     (lambda m, t: see.token_table(m["8 experts"], t, "", 0), "no token"),
     (lambda m, t: see.layer_picture(1, {}, "t"), "n_experts"),
     (lambda m, t: see.layer_picture(8, {8: 1.0}, "t"), "weights"),
     (lambda m, t: see.saving_chart(pd.DataFrame({"a": [1]}), "t"), "model"),
     (lambda m, t: see.crowd_twin(5), "title")],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused_by_name(tokenizer, models, call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call(models, tokenizer)


# Exercises ------------------------------------------------------------------------------------------------------------

TASKS = {id: task for id, task in solutions().items() if id.startswith("mixture-of-experts")}


def test_every_solution_passes_and_every_stub_does_not():
    assert len(TASKS) == 4
    for id, task in TASKS.items():
        answer = task.worked() if task.worked else task.reference
        assert task.verdict(answer) is None, id
        with pytest.raises(NotImplementedError):
            task.verdict(task.bug if task.bug else ...)


def test_the_visits_may_be_counted_in_32_bits():
    def visited(n_experts, top_k, n_tokens):
        return n_experts * (1 - torch.tensor(1 - top_k / n_experts) ** n_tokens)

    assert TASKS["mixture-of-experts-visited"].verdict(visited) is None


def without_sum(logits, top_k):
    weights, experts = logits.softmax(-1).topk(top_k)
    return experts, weights


def other_way_round(logits, top_k):
    weights, experts = logits.softmax(-1).topk(top_k)
    return weights / weights.sum(-1, keepdim=True), experts


def of_logits(logits, top_k):
    weights, experts = logits.topk(top_k)
    return experts, weights / weights.sum(-1, keepdim=True)


def added_up(chosen, scores):
    return chosen.shape[1] * (chosen * scores).sum()


@pytest.mark.parametrize(
    ("id", "answer", "hint"),
    [
        ("route", without_sum, "divide by their sum"),
        ("route", other_way_round, "experts come first"),
        ("route", of_logits, "0.5 / 0.8"),
        ("visited", lambda n, k, t: k * t, "cannot visit 2,000 of 8"),
        ("visited", lambda n, k, t: min(n, k * t), "not to eight different experts"),
        ("visited", lambda n, k, t: n * (1 - (1 - 1 / n) ** t), "top_k = 2"),
        ("active", 46.7, "must be in memory"),
        ("active", 14.0, "a name is no count"),
        ("active", 11.27, "attention and embeddings"),
        ("active", 12.87e9, "billions"),
        ("find-the-bug", added_up, "take their mean"),
        ("find-the-bug", lambda f, p: 1.0, "one layer's idle expert"),
    ],
)
def test_slips_get_a_hint_of_their_own(id, answer, hint):
    assert hint in TASKS[f"mixture-of-experts-{id}"].verdict(answer)
