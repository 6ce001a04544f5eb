"""The committed study of chapter 5 is whole, its figures follow from its tables, its models are as good as it says."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from greenlab.core import studies
from greenlab.core.model.gpt import GPT
from greenlab.core.model.training import CharTokenizer, evaluate
from greenlab.mixture_of_depths import MoDBlock, mod_layers, routing_mode, selection, study
from greenlab.mixture_of_depths.study import looks, race, speed, text, variants
from greenlab.mixture_of_depths.study import tables as work
from greenlab.mixture_of_experts import MoE

TINY = speed.GPTConfig(vocab_size=32, context_length=64, n_layers=4, d_model=16, n_heads=2, d_ff=32)


@pytest.fixture(scope="module")
def tables():
    return study.load()


def test_the_figures_follow_from_the_tables(tables):
    again, stored = work.figures(tables).set_index("name")["value"], tables["figures"].set_index("name")["value"]
    assert list(again.index) == list(stored.index)
    assert again.is_unique or again.index.is_unique
    assert again.to_list() == pytest.approx(stored.to_list(), rel=1e-3, abs=1e-4)


def test_every_model_of_the_plan_has_every_seed(tables):
    config, models = study.Config(), tables["models"]
    planned = {name for group in study.PLAN for name in group} | {f"{study.CONTROL}_long"}
    assert set(models["model"]) == planned
    assert models.groupby("model")["seed"].apply(set).eq(set(config.seeds)).all()
    assert set(tables["history"]["model"]) == planned


def test_the_mark_of_the_predictor_is_reached_in_the_longest_run(tables):
    """arXiv:2404.02258 reports over 97 % of the choices right."""
    right = work.deciders(tables["models"]).set_index("model")["right"]
    assert right["mod_long"] >= 97
    assert right.drop("auxiliary", errors="ignore").min() > 87.5 + 5, "better than always saying no"


def test_the_router_that_knows_nothing_is_worse_than_the_one_that_learned(tables):
    gap, low, _ = work.difference(tables["models"], "random", "mod")
    assert 0 < low <= gap


@pytest.mark.assets
def test_the_committed_models_are_as_good_as_the_table_says(tables):
    config = study.Config()
    dense, skips, tokenizer = study.load_models()
    *_, held_out = text.texts()
    stored = tables["models"].query("seed == 0").set_index("model")
    for name, model in (("dense", dense), ("mod", skips)):
        loss = evaluate(model, held_out, config.context_length, n_windows=config.eval_windows)
        assert loss == pytest.approx(stored.loc[name, "loss"], abs=2e-3), name
    with routing_mode(skips, "causal"):
        loss = evaluate(skips, held_out, config.context_length, n_windows=config.eval_windows)
    assert loss == pytest.approx(stored.loc["mod", "loss_causal"], abs=2e-3)
    assert tokenizer.vocab_size == skips.config.vocab_size


def test_the_committed_models_are_small_files():
    assert sum(path.stat().st_size for path in studies.folder("mixture_of_depths").glob("*.safetensors")) < 3_000_000


# The text -------------------------------------------------------------------------------------------------------------


def test_the_kinds_of_a_line_by_hand():
    found = text.kinds("HAMLET. I am a man,\nnot 2.")
    words = ["capital"] * 6 + ["punctuation", "space", "capital", "space", "first letter", "last letter", "space"]
    words += ["first letter", "space", "first letter", "inside a word", "last letter", "punctuation", "line break"]
    words += ["first letter", "inside a word", "last letter", "space", "punctuation", "punctuation"]
    assert found == words


@given(st.text(max_size=60))
def test_every_character_has_one_kind(words):
    found = text.kinds(words)
    assert len(found) == len(words)
    assert set(found) <= set(text.KINDS)


@given(st.text(max_size=60), st.integers(1, 40))
def test_what_is_left_of_a_text_can_be_encoded(words, most):
    tokenizer = CharTokenizer("abc XYZ\n")
    kept = text.known(words, tokenizer, most)
    assert len(kept) <= most
    assert tokenizer.decode(tokenizer.encode(kept)) == kept


# The models -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", variants.VARIANTS)
def test_each_variant_is_made_of_what_it_says(name):
    variant = variants.VARIANTS[name]
    model = variants.model(variant, 30, 64, 16, 32)
    skipping = [i for i, block in enumerate(model.blocks) if isinstance(block, MoDBlock)]
    every = variant.every if variant.capacity else variant.n_layers + 1
    assert skipping == list(range(every - 1, variant.n_layers, every))
    experts = [part for part in model.modules() if isinstance(part, MoE)]
    assert len(experts) == (variant.n_layers if variant.n_experts else 0)
    assert all(part.gate.shape == (variant.n_experts, 16, 16) for part in experts), (
        "two experts are as wide as one part"
    )
    ids = torch.randint(30, (2, 33), generator=torch.Generator().manual_seed(0))
    loss = variants.loss(variant)(model, ids[:, :-1], ids[:, 1:])
    loss.backward()
    assert math.isfinite(loss.item())
    if variant.routing == "learned":
        assert all(block.router.weight.grad is not None for i, block in enumerate(model.blocks) if i in skipping)


@pytest.mark.parametrize("name", ["dense", "mod", "mod_every_1", "moe", "staged"])
def test_flops_are_those_of_the_modules(name):
    """Against torch's own counter, with the scores of attention taken away: it counts none for the causal kernel."""
    from torch.utils.flop_counter import FlopCounterMode

    variant, n = variants.VARIANTS[name], 64
    model = variants.model(variant, 30, n, 16, 32).eval()
    ids = torch.randint(30, (1, n), generator=torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(ids)
    counted = counter.get_total_flops()
    scores = 4 * 16 * (n + 1) / 2
    k = n * variant.capacity if variant.capacity else n
    skipping = variant.n_layers // variant.every if variant.capacity else 0
    scores = (variant.n_layers - skipping) * scores + skipping * 4 * 16 * (k + 1) / 2 * k / n
    assert variants.flops_per_token(variant, model.config, n) == pytest.approx(counted / n + scores, rel=1e-3)


def test_choices_that_do_nothing_cost_no_feed_forward_work():
    variant = variants.VARIANTS["integrated"]
    model = variants.model(variant, 30, 64, 16, 32)
    whole, half, none = (variants.flops_per_token(variant, model.config, 64, share) for share in (0.0, 0.5, 1.0))
    assert whole - half == pytest.approx(half - none)
    assert whole - none == pytest.approx(2 * 6 * 3 * 16 * 32)


def test_the_router_that_knows_nothing_draws_anew():
    router, x = variants.NoiseRouter(), torch.zeros(2, 5, 8)
    assert router(x).shape == (2, 5, 1)
    assert not torch.equal(router(x), router(x))


def test_a_decider_is_scored_by_hand(monkeypatch):
    """Eight tokens, two of them wanted, three let in, one in both: five right of eight."""
    table = pd.DataFrame({"selected": [1, 1, 0, 0, 0, 0, 0, 0], "predicted": [1, 0, 1, 1, 0, 0, 0, 0]}).astype(bool)
    monkeypatch.setattr(variants, "selection", lambda model, ids: table)
    scores = variants.decider_scores(None, None)
    assert scores["predictor_accuracy"] == 5 / 8
    assert scores["predictor_recall"] == 1 / 2
    assert scores["predictor_precision"] == 1 / 3
    assert scores["entered_share"] == 3 / 8


def test_tokens_are_counted_by_kind_and_by_surprise():
    tokenizer = CharTokenizer("ab .")
    variant = variants.Variant("small", n_layers=2, capacity=0.25)
    model = variants.model(variant, tokenizer.vocab_size, 64, 16, 32).eval()
    windows = tokenizer.encode("ab ab. a" * 8).view(2, 32)
    kinds = looks.by_kind(model, tokenizer, windows).set_index("kind")
    assert kinds["tokens"].to_dict() == {
        "space": 16, "line break": 0, "punctuation": 8, "capital": 0, "first letter": 18, "inside a word": 6,
        "last letter": 16,
    }  # fmt: skip
    assert (kinds["share"].fillna(0) * kinds["tokens"]).sum() == pytest.approx(2 * 8)
    surprise = looks.by_surprise(model, windows)
    assert surprise["tenth"].tolist() == list(range(10))
    assert surprise["loss"].is_monotonic_increasing
    entering = selection(model, windows).query("position < 31")["selected"].sum()
    assert surprise["share"].mean() == pytest.approx(entering / 62, abs=0.02)


# The tables -----------------------------------------------------------------------------------------------------------


def models_of(rows):
    """A table of the study with two seeds a model: (model, capacity, flops, losses, causal losses)."""
    found = []
    for name, capacity, flops, losses, causal in rows:
        for seed, loss in enumerate(losses):
            found.append({
                "model": name, "words": name, "n_layers": 6, "capacity": capacity, "every": 2, "routing": "learned",
                "longer": 1.0, "n_experts": 0, "n_no_op": 0, "decider": "predictor", "seed": seed, "loss": loss,
                "parameters": 10, "flops_per_token": flops, "steps": 100, "loss_causal": causal[seed] if causal else
                math.nan, "predictor_accuracy": 0.9, "predictor_recall": 0.5, "predictor_precision": 0.6,
                "entered_share": 0.1, "no_op_share": math.nan, "time_s": 1.0, "cpu_s": 1.0, "energy_j": 1.0,
                "low_j": 0.5, "high_j": 2.0, "basis": "modelled",
            })  # fmt: skip
    return pd.DataFrame(found)


MODELS = models_of([
    ("dense", math.nan, 8e5, [2.0, 2.2], None),
    ("dense_3", math.nan, 2e5, [2.4, 2.6], None),
    ("mod", 0.125, 4e5, [2.1, 2.1], [2.1, 2.12]),
    ("poor", 0.125, 1e5, [3.0, 3.2], [3.1, 3.3]),
])  # fmt: skip


def test_losses_are_means_over_seeds_and_differences_are_those_of_pairs():
    table = work.by_model(MODELS).set_index("model")
    assert table.loc["dense", ["loss", "loss_min", "loss_max"]].tolist() == pytest.approx([2.1, 2.0, 2.2])
    assert work.difference(MODELS, "mod", "dense") == pytest.approx((0.0, -0.1, 0.1))


def test_a_dense_model_of_the_same_loss_is_read_between_two():
    """Half-way between 2.1 and 2.5 is the mean of the logarithms of 8e5 and 2e5; more training is not counted."""
    assert work.equal_loss_flops(MODELS, 2.3) == pytest.approx(4e5)
    longer = pd.concat([MODELS, MODELS.query("model == 'dense_3'").assign(model="long", longer=2.0, loss=1.0)])
    assert work.equal_loss_flops(longer, 2.3) == pytest.approx(4e5)
    with pytest.raises(ValueError, match=r"the dense models lie from 2.1 to 2.5"):
        work.equal_loss_flops(MODELS, 1.0)
    worse = models_of([("dense_4", math.nan, 3e5, [2.7, 2.8], None)])
    assert work.equal_loss_flops(pd.concat([MODELS, worse]), 2.3) == pytest.approx(4e5), "dearer and no better"


EQUAL = models_of([
    ("dense", math.nan, 8e5, [2.0, 2.2], None),
    ("dense_3", math.nan, 2e5, [2.4, 2.6], None),
    ("mod", 0.125, 2.5e5, [2.1, 2.5], [2.1, 2.5]),
])  # fmt: skip


def test_each_seed_is_compared_with_the_dense_models_of_its_seed():
    """By hand: seed 0 lies three quarters up, seed 1 one quarter, and the mean (2.3 between 2.5 and 2.1) one half."""
    needed = [2e5 * 4**share for share in (0.5, 0.25, 0.75)]
    saved = work.saving_at_equal_loss(EQUAL)
    assert saved == pytest.approx([1 - 2.5e5 / dense for dense in needed])
    prefill = pd.DataFrame({
        "model": ["dense", work.SKIPS] * 2, "n_tokens": 512, "threads": [1, 1, 2, 2], "energy_j": [10, 3, 10, 9]
    })  # fmt: skip
    joules = work.joules_at_equal_loss(EQUAL, prefill)
    assert joules == pytest.approx([1 - 0.3 * 8e5 / dense for dense in needed])


def test_the_tenths_are_put_together_in_halves():
    tenths = pd.DataFrame({"seed": 0, "layer": 1, "tenth": range(10), "loss": 1.0, "share": [0.1] * 5 + [0.2] * 5})
    (half,) = work.by_half(tenths).to_dict("records")
    assert half == {"seed": 0, "easier": pytest.approx(10), "harder": pytest.approx(20)}


def test_a_ruined_model_is_left_out_of_the_picture():
    """3.1 is more than a fifth above 2.1."""
    table = work.frontier(MODELS).set_index("model")
    families = {"dense": "dense", "dense_3": "dense", "mod": "12.5 % in every 2nd block"}
    assert table["family"].to_dict() == families
    assert table["mflops"].tolist() == pytest.approx([0.8, 0.2, 0.4])


def test_the_dense_loss_between_two_models_is_read_on_the_logarithm_of_the_work():
    assert work.dense_loss(MODELS, 4e5) == pytest.approx((2.1 + 2.5) / 2)
    with pytest.raises(ValueError, match="the dense models lie from 200000 to 800000"):
        work.dense_loss(MODELS, 1e5)


def test_a_saving_counts_only_where_the_loss_as_it_writes_stays_and_the_processor_works_less():
    quick = MODELS.assign(cpu_s=MODELS["model"].map({"dense": 1.0, "dense_3": 0.4, "mod": 0.9, "poor": 0.2}))
    gate = work.quality_gate(quick).set_index("model")
    assert gate["counts"].to_dict() == {"dense": "base", "dense_3": "no", "mod": "yes", "poor": "no"}
    assert gate.loc["mod", ["training FLOPs", "reading FLOPs", "cpu"]].tolist() == [50, 50, 90]
    assert gate.loc["mod", "loss"] == pytest.approx(2.11), "token by token, not with the top-k"
    slow = work.quality_gate(MODELS).set_index("model")
    assert slow.loc["mod", "counts"] == "no", "half the FLOPs in as much processor time"


def test_what_deciders_do_is_in_per_cent():
    (mod, _) = work.deciders(MODELS).to_dict("records")
    assert mod["right"] == pytest.approx(90)
    assert mod["found"] == pytest.approx(50)
    assert mod["worse"] == pytest.approx(100 * (2.11 / 2.1 - 1))


def test_the_ceiling_of_an_eighth_in_every_second_block():
    """arXiv:2404.02258's best variant: 0.5625 of the matrices, (1 + 1/64) / 2 of the scores."""
    shape = speed.SHAPE.shape.replace(n_layers=12, vocab_size=1)
    weights, mean_past = 4 * 256**2 + 3 * 256 * 1024, 513 / 2
    whole = 2 * weights + 4 * 256 * mean_past
    skips = 2 * weights / 8 + 4 * 256 * (65 / 2) / 8 + 2 * 256  # the last is the router
    assert work.block_share(shape, 512, 0.125) == pytest.approx(skips / whole)
    wide = shape.replace(d_model=4096, head_dim=1024, d_ff=16384)
    assert work.flops_share(wide, 16, 0.125, 2) == pytest.approx(0.5625, abs=2e-3)
    assert work.flops_share(shape, 10**6, 0.125, 2) == pytest.approx((1 + 1 / 64) / 2, abs=2e-3)


def test_equal_layers_cost_the_same():
    shape = speed.SHAPE.shape.replace(n_layers=12)
    table = work.budget_table(shape, 512)
    assert set(table["every"]) == {2, 3, 4}
    for row in table.to_dict("records"):
        share = work.block_share(shape, 512, row["capacity"])
        whole = row["layers"] * (row["every"] - 1) / row["every"]
        assert whole + row["layers"] / row["every"] * share == pytest.approx(12)


def test_the_joules_of_prompts_are_those_of_the_accelerator_study():
    table = work.measured_prompts().set_index("n_tokens")
    stored = studies.load("accelerator", "figures")["figures"].set_index("name")["value"]
    for n in work.LENGTHS:
        name = f"prompt-llama-3p1-8b-mixture-of-depths-{n}-over-dense"
        assert table.loc[n, "share"] == pytest.approx(stored[name], rel=1e-3)
        assert table.loc[n, "least"] < table.loc[n, "share"] < table.loc[n, "most"]
    assert table.loc[512, "speed"] < 1 < table.loc[8192, "speed"]
    assert table["flops_share"].between(54, 57).all()


# The races ------------------------------------------------------------------------------------------------------------


def test_a_race_of_prompts_and_of_writing_lists_both_models():
    models = speed.pair(TINY)
    assert isinstance(models["dense"], GPT)
    assert list(mod_layers(models["mixture of depths"])) == [1, 3]
    read = speed.race_prefill(models, 32, rounds=1)
    assert read["model"].tolist() == ["dense", "mixture of depths"]
    assert read["faster"].iloc[0] == 1
    written = speed.race_decode(models, 4, rounds=1)
    assert (written["tokens_per_s"] > 0).all()
    bills = speed.receipts(models, 32, repeats=1)
    assert {name: bill.label for name, bill in bills.items()} == {name: name for name in models}


def test_the_race_by_processor_time_is_on_one_thread_and_leaves_the_threads_as_they_were():
    seen = []

    class Noted(GPT):
        def forward(self, *args, **options):
            seen.append(torch.get_num_threads())
            return super().forward(*args, **options)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        table = race.by_processor_time({"dense": Noted(TINY), "again": GPT(TINY)}, 32, rounds=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 1, 1], "two rounds and one before them"
    assert table["model"].tolist() == ["dense", "again"]
    assert table["faster"].iloc[0] == 1
    assert (table["cpu_s"] > 0).all()
    with pytest.raises(ValueError, match="models is empty"):
        race.by_processor_time({}, 32)


def test_the_deciders_of_random_models_are_set_to_a_share():
    model = speed.pair(TINY)["mixture of depths"]
    speed.let_in(model, 0.25)
    entering = selection(model, speed.prompt(TINY, TINY.context_length)).groupby("layer")["predicted"].mean()
    assert entering.iloc[0] == pytest.approx(0.25, abs=0.03)
    assert entering.between(0.1, 0.4).all()


def test_blocks_are_timed_beside_the_whole_one():
    table = speed.race_blocks(16, d_model=16, capacities=(1.0, 0.5), rounds=1)
    assert table["capacity"].tolist() == [1.0, 0.5]
    assert table["faster"].iloc[0] == 1
    assert np.isfinite(table["time_s"]).all()
