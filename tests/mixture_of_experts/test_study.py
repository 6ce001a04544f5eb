"""The study of chapter 3: its texts, what it says of experts, its tables, and what is committed of it."""

from functools import partial

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from greenlab.core.model.cost import expected_experts
from greenlab.core.model.gpt import GPT, GPTConfig
from greenlab.core.studies import config_json
from greenlab.mixture_of_experts import MoE, balance, study
from greenlab.mixture_of_experts.study import crowd, experts, text
from greenlab.mixture_of_experts.study import tables as work
from greenlab.mixture_of_experts.view.route import with_choices

SENTENCES = [
    "What say you, my lord?\n",
    "def load(self, path):\n    return path\n",
    "Of Mans First Disobedience\n",
] * 20


@pytest.fixture(scope="module")
def tokenizer():
    return text.train_tokenizer(SENTENCES, 300)


# Texts ----------------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(words=st.text(max_size=80))
def test_a_text_is_what_its_tokens_are(tokenizer, words):
    ids = text.encode(tokenizer, words)
    assert ids.dtype == torch.int64
    assert tokenizer.decode(ids.tolist()) == words


def test_the_tokenizer_has_the_size_that_was_asked_for_and_learned_words(tokenizer):
    assert tokenizer.get_vocab_size() <= 300
    ids = text.encode(tokenizer, "return path")
    assert len(ids) < len("return path") / 2
    assert "".join(text.pieces(tokenizer, ids)) == "return path"


@pytest.mark.parametrize(
    ("piece", "kind"),
    [(" the", "start of a word"), ("Milton", "start of a word"), ("ing", "rest of a word"), (" 12", "digits"),
     ("'", "punctuation"), ("\n\n", "spaces and lines"), ("", "spaces and lines"), ("x1", "rest of a word")],
)  # fmt: skip
def test_kinds_of_token(piece, kind):
    assert text.token_kind(piece) == kind
    assert kind in text.TOKEN_KINDS


def test_another_text_than_the_study_s_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setattr(text, "source", lambda kind: "x" * text.N_CHARACTERS)
    with pytest.raises(ValueError, match=r"kind='Python docs'.*not the study's.*run it there, or read its committed"):
        text.load("Python docs")


@pytest.mark.parametrize("kind", ["Python code", pytest.param("Milton", marks=pytest.mark.assets)])
def test_a_text_is_cut_in_two_without_a_gap(kind):
    found = text.load(kind)
    assert (found.train + found.held_out) == text.source(kind)[: text.N_CHARACTERS]
    assert len(found.held_out) == text.N_HELD_OUT


@pytest.mark.parametrize("bad", [None, 5, "Chaucer", ""])
def test_a_kind_that_is_not_there_is_named(bad):
    with pytest.raises((TypeError, ValueError), match="kind"):
        text.source(bad)


# What experts have in common ------------------------------------------------------------------------------------------


def routes(rows):
    """A table as `experts.routed` gives it, from (kind, token, expert) in one window and layer."""
    table = pd.DataFrame(rows, columns=["kind", "token", "expert"])
    before = [-1, *table["token"][:-1]]
    return table.assign(window=0, position=range(len(table)), layer=0, before=before, token_kind="digits")


def test_experts_that_follow_the_token_are_guessed_from_it_and_not_from_the_topic():
    learned = routes([("verse", 1, 0), ("verse", 2, 1), ("verse", 2, 1), ("code", 1, 0), ("code", 2, 1)])
    asked = routes([("verse", 2, 1), ("code", 1, 0), ("code", 2, 1), ("verse", 1, 0)])
    right = experts.guesses(learned, asked).set_index("known")["right"]
    assert right["the token"] == 1
    assert right["nothing"] == right["the kind of token"] == 0.5  # expert 1 is the most frequent
    assert right["the kind of text"] == 0.5  # verse: 1, code: 0 or 1 alike, then the first
    assert list(right.index) == list(experts.KNOWN)


def test_a_token_that_was_never_seen_is_guessed_like_any_other():
    learned = routes([("verse", 1, 0), ("verse", 1, 0), ("verse", 2, 1)])
    right = experts.guesses(learned, routes([("verse", 9, 0)])).set_index("known")["right"]
    assert right["the token"] == 1


def test_neighbours_that_share_their_expert_are_counted_within_a_window():
    table = routes([("verse", 1, 0), ("verse", 2, 0), ("verse", 3, 1), ("verse", 4, 1)])
    table["window"] = [0, 0, 1, 1]
    (row,) = experts.repeats(table).to_dict("records")
    assert row == {"layer": 0, "kind": "verse", "same": 1.0, "chance": 0.5}


def test_what_was_routed_is_every_token_of_every_layer_once(tokenizer):
    config = GPTConfig(300, 16, 2, 16, 2, d_ff=16)
    model = GPT(config, feed_forward=partial(MoE, n_experts=4, top_k=2))
    ids = {"verse": torch.randint(0, 300, (40,)), "code": torch.randint(0, 300, (16,))}
    table = experts.routed(model, tokenizer, ids, 16)
    assert len(table) == 2 * (32 + 16)
    assert table.groupby(["layer", "kind"]).size().to_dict() == {
        (0, "verse"): 32,
        (0, "code"): 16,
        (1, "verse"): 32,
        (1, "code"): 16,
    }
    verse = table[(table["layer"] == 0) & (table["kind"] == "verse")].sort_values(["window", "position"])
    assert verse["token"].tolist() == ids["verse"][:32].tolist()
    assert verse["before"].tolist()[:3] == [-1, *ids["verse"][:2].tolist()]
    assert verse["before"].tolist()[16] == -1
    share = experts.shares(table, "kind").groupby(["layer", "kind"])["share"].sum()
    assert share.to_list() == pytest.approx([1.0] * 4)


@pytest.mark.parametrize(
    "call", [lambda t: experts.shares(t, "kind"), experts.repeats, lambda t: experts.guesses(t, t)]
)
def test_a_table_without_the_column_is_refused(call):
    with pytest.raises(ValueError, match="table lacks the column"):
        call(pd.DataFrame({"layer": [0]}))
    with pytest.raises(TypeError, match="table is list"):
        call([])


# Models ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", study.Config().variants, ids=lambda one: one.name)
def test_the_cost_model_counts_every_weight_of_every_variant(one):
    config = study.Config()
    model, sizes = study.make(config, one, 0), study.sizes(config, one)
    assert sizes["total_parameters"] == sum(p.numel() for p in model.parameters())
    idle = (one.n_experts - one.top_k) * 3 * config.d_model * one.width * config.n_layers
    assert sizes["active_parameters"] == sizes["total_parameters"] - idle


def test_models_with_experts_compute_what_the_dense_one_of_the_active_size_does():
    config = study.Config()
    flops = {one.name: study.sizes(config, one)["flops_per_token"] for one in config.variants}
    base = flops[work.ACTIVE]
    with_experts = [name for name in flops if "experts" in name]
    assert len(with_experts) == 7
    for name in with_experts:
        assert 1 <= flops[name] / base < 1.03, name  # the router's product is all that is added
    total = {one.name: study.sizes(config, one)["total_parameters"] for one in config.variants}
    assert total[work.TOTAL] == pytest.approx(total[work.EIGHT], rel=0.01)


def test_a_variant_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="9 experts"):
        study.variant(study.Config(), "9 experts, top-2")


# The crowd ------------------------------------------------------------------------------------------------------------


def test_the_layers_of_the_race_have_the_weights_that_they_stand_for():
    made = crowd.layers(n_experts=6, top_k=2, d_model=32, d_expert=16)
    count = {name: sum(p.numel() for p in layer.parameters()) for name, layer in made.items()}
    router = 6 * 32
    assert count == {
        crowd.EXPERTS: 6 * 3 * 32 * 16 + router,
        crowd.TOTAL: 6 * 3 * 32 * 16,
        crowd.ACTIVE: 2 * 3 * 32 * 16,
    }
    x = torch.randn(1, 5, 32)
    assert all(layer(x).shape == (1, 5, 32) for layer in made.values())


def test_turns_give_other_tokens_each_time_and_start_again():
    turns = crowd.Turns(lambda x: x, 8, crowd.POOL // 2)
    first, second, third = turns(), turns(), turns()
    assert not torch.equal(first, second)
    assert torch.equal(first, third)


def test_a_random_router_visits_as_many_experts_as_the_formula_says():
    made = crowd.layers(n_experts=16, top_k=2, d_model=64, d_expert=8)
    for batch in (1, 4, 16):
        found = crowd.visited(made[crowd.EXPERTS], crowd.Turns(made[crowd.EXPERTS], 64, batch), n_turns=200)
        assert found == pytest.approx(expected_experts(16, 2, batch), rel=0.06), batch


def test_the_race_compares_every_layer_with_the_large_dense_one():
    threads = torch.get_num_threads()
    race = crowd.race(crowd.layers(n_experts=4, top_k=1, d_model=16, d_expert=8), (1, 4), rounds=1)
    assert torch.get_num_threads() == threads
    assert race.groupby("batch").size().to_dict() == {1: 3, 4: 3}
    assert set(race.loc[race["layer"] == crowd.TOTAL, "share"]) == {1.0}
    assert (race["us_per_token"] > 0).all()
    ours = race[race["layer"] == crowd.EXPERTS].set_index("batch")["visited"]
    assert ours[1] == 0.25
    assert race.loc[race["layer"] != crowd.EXPERTS, "visited"].isna().all()


def test_the_receipts_are_of_one_token_each():
    made = crowd.layers(n_experts=4, top_k=1, d_model=16, d_expert=8)
    found = crowd.receipts(made, (1, 4))
    assert [one.label for one in found] == [f"{n}, {b} at once" for b in (1, 4) for n in (crowd.EXPERTS, crowd.TOTAL)]
    assert all(0 < one.low_j <= one.energy_j <= one.high_j for one in found)


@pytest.mark.parametrize(
    ("call", "words"),
    [(lambda: crowd.layers(n_experts=0), "n_experts"), (lambda: crowd.layers(top_k=17), "top_k"),
     (lambda: crowd.layers(d_model=2**16, d_expert=2**16), "more than 2"), (lambda: crowd.race({}), "three layers"),
     (lambda: crowd.race(crowd.layers(2, 1, 8, 8), ()), "batches is empty"),
     (lambda: crowd.race(crowd.layers(2, 1, 8, 8), (0,)), "batches"),
     (lambda: crowd.layers(n_experts=True), "n_experts"),
     (lambda: crowd.Turns(None, 8, 1), "layer"), (lambda: crowd.Turns(len, 8, 10**9), "batch")],
)  # fmt: skip
def test_sizes_out_of_range_are_refused_by_name(call, words):
    with pytest.raises((ValueError, TypeError), match=words):
        call()


# Tables ---------------------------------------------------------------------------------------------------------------


def test_gains_are_those_of_pairs_with_one_seed():
    rows = [("a", 0, 2.0), ("a", 1, 3.0), ("b", 0, 1.5), ("b", 1, 2.9)]
    gain = work.gains(pd.DataFrame(rows, columns=["model", "seed", "loss"]), "a").set_index("model")
    assert gain.loc["b"].to_list() == pytest.approx([0.3, 0.1, 0.5])
    assert gain.loc["a"].to_list() == [0, 0, 0]
    with pytest.raises(ValueError, match="base='c'"):
        work.gains(pd.DataFrame(rows, columns=["model", "seed", "loss"]), "c")


def test_balance_is_the_busiest_expert_over_an_equal_load():
    shares = [0.5, 0.5, 0.0, 0.0]
    rows = [
        {"model": work.EIGHT, "seed": 0, "step": 1, "layer": 0, "expert": e, "share": s} for e, s in enumerate(shares)
    ]
    (row,) = work.balance(pd.DataFrame(rows)).to_dict("records")
    assert (row["busiest"], row["idle"], row["balanced"]) == (2.0, 2.0, "balancing loss")


def test_the_chart_of_costs_shows_models_that_differ_in_size_only():
    config = study.Config()
    rows = [{"model": one.name, "n_experts": one.n_experts, "cpu_s": 1.0, "loss": 2.0} for one in config.variants]
    table = work.cost_points(pd.DataFrame(rows)).set_index("label")
    assert table["kind"].value_counts().to_dict() == {"experts": 4, "dense": 3}
    assert table.loc["large", "kind"] == "dense"


def test_curves_are_multiples_of_the_small_dense_model_s_training():
    history = pd.DataFrame(
        [(work.ACTIVE, 0, 5, 50.0, 3.0), (work.ACTIVE, 0, 10, 100.0, 2.0), ("x", 0, 10, 100.0, 1.0)],
        columns=["model", "seed", "step", "flops", "val_loss"],
    )
    models = pd.DataFrame([(work.ACTIVE, 20.0, 10), ("x", 30.0, 10)], columns=["model", "cpu_s", "steps"])
    table = work.relative_curves(history, models, [work.ACTIVE, "x"])
    assert table["flops"].to_list() == [0.5, 1.0, 1.0]
    assert table["cpu_s"].to_list() == [0.5, 1.0, 1.5]
    with pytest.raises(ValueError, match="names holds 'y'"):
        work.relative_curves(history, models, ["y"])


# What is committed ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tables():
    return study.load()


def test_the_figures_follow_from_the_tables(tables):
    again, stored = work.figures(tables).set_index("name")["value"], tables["figures"].set_index("name")["value"]
    assert list(again.index) == list(stored.index)
    assert again.to_list() == pytest.approx(stored.to_list(), rel=1e-4, abs=2e-5)
    assert stored.index.is_unique


def test_every_model_and_seed_is_there(tables):
    config = study.Config()
    wanted = {(one.name, seed) for one in config.variants for seed in config.seeds}
    assert {(row.model, row.seed) for row in tables["models"].itertuples()} == wanted
    for name in ("use", "kinds", "guess", "repeat", "collapse"):
        with_experts = {(m, s) for m, s in wanted if "experts" in m}
        assert {(row.model, row.seed) for row in tables[name].itertuples()} == with_experts, name
    parts = tables["use"].groupby(["model", "seed", "layer", "kind"])["share"].sum()
    assert parts.to_list() == pytest.approx([1.0] * len(parts), abs=1e-5)  # six digits of each share are stored
    assert config_json(config)["steps"] == tables["history"].query("model == '8 experts, top-2'")["step"].max()


def test_what_the_chapter_says_of_the_losses_holds(tables):
    """Sixteen and 32 experts beat a longer training in every seed; 32 beat the large dense model in the mean only."""
    loss = tables["models"].pivot(index="seed", columns="model", values="loss")
    against_large = loss[work.TOTAL] - loss[work.MANY]
    assert 0.015 < against_large.mean() < 0.025
    assert abs(against_large.loc[1]) < 0.001  # level in this seed: not resolved by three seeds
    assert (loss[work.MANY] < loss[work.LONGER]).all()
    assert (loss["16 experts, top-2"] < loss[work.LONGER]).all()
    assert (loss[work.EIGHT] > loss[work.LONGER]).all()
    assert (loss["8 experts, top-1"] > loss[work.ACTIVE]).all()
    assert (loss[work.EIGHT] < loss[work.ACTIVE]).sum() == 2
    balanced = loss[list(work.BALANCED)]
    assert balanced.mean().max() - balanced.mean().min() < (balanced.max() - balanced.min()).min()
    speed = tables["speed"].set_index("model")["step_ms"]
    assert speed["32 experts, top-2"] < speed[work.TOTAL]


def test_a_straight_line_through_the_two_dense_trainings_says_when_the_small_one_would_catch_up(tables):
    table = pd.DataFrame({"model": [work.ACTIVE, work.LONGER], "cpu_s": [40.0, 50.0], "loss": [2.3, 2.2]})
    assert work.catch_up(table, 2.3) == pytest.approx(40)
    assert work.catch_up(table, 2.15) == pytest.approx(55)
    with pytest.raises(ValueError, match="loss"):
        work.catch_up(table, 0)
    with pytest.raises(ValueError, match="longer"):
        work.catch_up(table[:1], 2.0)
    ours = work.by_model(tables["models"])
    many = ours.set_index("model").loc[work.MANY]
    assert 1 - many["cpu_s"] / work.catch_up(ours, many["loss"]) < 0.1  # why the ledger books no saving
    assert many["cpu_s"] > ours.set_index("model").loc[work.LONGER, "cpu_s"]


def test_digits_and_spaces_go_mostly_to_one_or_two_experts_in_every_layer(tables):
    kinds = tables["kinds"].query("model == @work.EIGHT and seed == 0")
    two = kinds.groupby(["layer", "token_kind"])["share"].apply(lambda shares: shares.nlargest(2).sum()).unstack()
    assert (two[["digits", "spaces and lines"]] > 0.7).all(axis=None)
    assert (two[["punctuation", "rest of a word", "start of a word"]] < 0.7).all(axis=None)


def test_the_load_is_most_uneven_early_and_then_evens_out_slowly(tables):
    busiest = work.balance(tables["collapse"]).query("balanced == 'nothing'").set_index("step")["busiest"]
    assert busiest.index[:2].to_list() == [1, 100]
    assert busiest.idxmax() == 100
    assert 1 < busiest.loc[1] < 1.5 < 2.5 < busiest.iloc[-1] < busiest.loc[100]
    last = tables["collapse"].query("model == '8 experts, top-2, nothing' and seed == 0")
    last = last[last["step"] == last["step"].max()].pivot(index="layer", columns="expert", values="share")
    assert (2 * last.max(axis=1) > 0.5).all()  # one expert is among the two of most tokens
    assert (last < 0.2 / 8).sum(axis=1).to_list() == [0, 2, 1]  # almost nothing


def test_the_token_tells_the_expert_and_the_topic_hardly_does(tables):
    right = work.guessed(tables["guess"]).set_index("known")
    assert right.index.to_list() == ["nothing", "the kind of text", "the kind of token", "the token"]
    assert (right["least"].iloc[1:].to_numpy() > right["most"].iloc[:-1].to_numpy()).all()
    assert right.loc["the token", "least"] > 2 * right.loc["the kind of text", "most"]
    last = tables["guess"].query("model == @work.EIGHT and layer == 2").groupby("known")["right"].mean()
    assert last["the kind of token"] - last["the kind of text"] < 0.02  # alike in the last layer
    again = work.repeated(tables["repeat"])
    assert (again["same"] > again["chance"]).all()


def test_the_committed_models_write_the_texts_that_they_were_trained_on(tables):
    models, tokenizer = study.load_models()
    assert set(models) == set(study.KEPT)
    for sample in tables["samples"].to_dict("records"):
        ids = text.encode(tokenizer, sample["text"])[None, :128]
        for name, model in models.items():
            with torch.no_grad():
                loss = torch.nn.functional.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
            assert loss < 5, (sample["kind"], name)  # guessing gives ln 1024 = 6.9


def test_two_experts_for_each_token_are_best_as_in_training(tables):
    models, tokenizer = study.load_models()
    ids = text.encode(tokenizer, "".join(tables["samples"]["text"]))[: 5 * 128].view(-1, 128)
    losses = []
    for top_k in (1, 2, 3, 4):
        model = with_choices(models["8 experts"], top_k, None)
        with torch.no_grad():
            losses.append(
                torch.nn.functional.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()).item()
            )
    one, two, three, four = losses
    assert two < three < four
    assert one > two + 0.1


def test_the_model_that_nothing_balanced_is_the_uneven_one(tables):
    models, tokenizer = study.load_models()
    ids = text.encode(tokenizer, "".join(tables["samples"]["text"]))[: 3 * 128].view(-1, 128)
    uneven = {name: balance(model, ids)["max_over_mean"].mean() for name, model in models.items()}
    assert uneven["8 experts, never balanced"] > uneven["8 experts"]


def test_modelled_joules_follow_the_race_and_measured_ones_stay():
    modelled = {"time_s": 400.0, "cpu_s": 70.0, "energy_j": 1.0, "low_j": 0.5, "high_j": 2.0, "basis": "modelled"}
    found = study.on_one_core(modelled, 60.0)
    assert found["energy_j"] == 6 * 60 + 0.5 * 2 * 60  # a busy core, and two that are on
    assert found["low_j"] < found["energy_j"] < found["high_j"]
    assert (found["cpu_s"], found["raw_cpu_s"], found["time_s"]) == (60, 70, 400)
    assert study.on_one_core(modelled | {"basis": "measured"}, 60.0)["energy_j"] == 1


def test_the_race_of_steps_trains_every_variant():
    config = study.Config(
        vocab_size=300, d_model=16, n_layers=1, n_heads=2, active_width=16, batch_size=2, context_length=8
    )
    race = study.race_steps(config, rounds=1)
    assert [row["model"] for row in race] == [one.name for one in config.variants]
    assert all(row["step_ms"] > 0 for row in race)
