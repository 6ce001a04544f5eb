"""Chapter 5's charts, its widgets at every extreme and on strange texts, and its exercises with their hints."""

import ast
import json

import pandas as pd
import pytest
import torch

from greenlab.core.machine import ROOT
from greenlab.core.model.training import CharTokenizer
from greenlab.lab.exercises import solutions
from greenlab.lab.widgets import exercise_extremes
from greenlab.mixture_of_depths import study
from greenlab.mixture_of_depths import view as see
from greenlab.mixture_of_depths.study import tables as work
from greenlab.mixture_of_depths.study import variants
from greenlab.mixture_of_depths.view import budget

TEXT = "To be, or not to be"


@pytest.fixture(scope="module")
def small():
    """A model of random weights that skips in its 2nd and 4th block, and its tokenizer."""
    tokenizer = CharTokenizer("To be, or nothing? abcdfjklmpqsuvwxyz.\n")
    variant = variants.Variant("small", n_layers=4, capacity=0.25)
    return variants.model(variant, tokenizer.vocab_size, 128, 16, 32).eval(), tokenizer


def test_every_chart_is_a_valid_specification_of_the_committed_tables():
    tables = study.load()
    shape = budget.speed.SHAPE.shape.replace(n_layers=12)
    charts = [
        see.kind_chart(work.by_block(tables["skipped"]), "t"),
        see.prompt_chart(work.measured_prompts(), work.popular_share(), "t"),
        see.frontier_chart(work.frontier(tables["models"]), "t"),
        see.mode_chart(work.modes(tables["models"]), "t"),
        see.layers_twin(work.budget_table(shape, 512), 12, "t"),
    ]
    for chart in charts:
        spec = chart.to_dict()
        assert spec["description"]
        assert spec["title"]


def test_the_map_shows_what_the_routers_chose(small):
    """Five of nineteen enter each block that skips, all enter the whole ones, and the best scores are those that do."""
    model, tokenizer = small
    table = see.map_table(model, tokenizer, TEXT)
    entering = table.groupby("block")["state"].apply(lambda states: (states == "enters").sum())
    assert entering.to_dict() == {1: 0, 2: 4, 3: 0, 4: 4}
    assert set(table[table["block"].isin([1, 3])]["state"]) == {"whole block: all enter"}
    for _, rows in table[table["block"].isin([2, 4])].groupby("block"):
        best = rows.nlargest(4, "score")
        assert set(best["state"]) == {"enters"}
    assert "".join(table[table["block"] == 1].sort_values("position")["character"]) == TEXT
    spec = see.token_map(table).to_dict()
    assert spec["description"]
    assert spec["title"]["text"] == "Of 19 characters 4 enter each block that skips"
    table.loc[(table["block"] == 4) & (table["state"] == "enters"), "state"] = "passes by"
    assert see.token_map(table).to_dict()["title"]["text"] == "Of 19 characters 0 to 4 enter a block that skips"
    assert see.token_map(table, "t").to_dict()["title"]["text"] == "t"


def test_the_past_depends_on_the_ending_with_the_top_k_and_not_token_by_token(small):
    """With scores that rise with the letter, an ending of high letters pushes low ones of the past out."""
    model, tokenizer = small
    past, endings = "abcdefgh", ("aaaaaaaa", "zzzzzzzz")
    with torch.no_grad():
        for layer in (1, 3):
            model.blocks[layer].router.weight.zero_()
            model.blocks[layer].router.weight[0, 0] = 1.0
        model.embedding.weight[:, 0] = torch.arange(float(tokenizer.vocab_size))
    table = see.leak_table(model, tokenizer, past, endings, "top_k")
    assert table["changed"].any()
    assert see.past_change(model, tokenizer, past, endings, "top_k") > 0
    assert not see.leak_table(model, tokenizer, past, endings, "causal")["changed"].any()
    assert see.past_change(model, tokenizer, past, endings, "causal") == 0
    changed = table[table["changed"]]
    assert changed.groupby(["block", "position"])["state"].nunique().eq(2).all()
    assert see.leak_chart(table, "t").to_dict()["description"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda model, tokenizer: see.map_table(model, tokenizer, ""), ValueError, "text is empty"),
        (lambda model, tokenizer: see.map_table(model, tokenizer, 5), TypeError, "text=5"),
        (lambda model, tokenizer: see.map_table(model, tokenizer, "€"), ValueError, "characters without a token"),
        (lambda model, tokenizer: see.map_table(model, tokenizer, "a", "magic"), ValueError, "mode"),
        (
            lambda model, tokenizer: see.leak_table(model, tokenizer, "a", ("bc", "d"), "top_k"),
            ValueError,
            "two of one length",
        ),
    ],
)
def test_what_cannot_be_mapped_is_refused(small, call, error, message):
    with pytest.raises(error, match=message):
        call(*small)


def test_the_map_widget_reads_any_text(small):
    widget = see.map_explorer(*small, TEXT)
    for values, text in exercise_extremes(widget):
        assert "Entering block 2: " in text, values
    for typed, said in (
        ("", "knows none"), ("€€", "knows none"), ("a€b", "2 characters (read are the first 64"), ("x", "1 character."),
        ("a" * 300, "64 characters (read"), ("a\nb", "3 characters."),
    ):  # fmt: skip
        widget.set(text=typed)
        assert said in widget.text
        assert widget.panel.chart.to_dict()["description"]


def test_the_goal_of_the_map_is_reached_where_spaces_are_shut_out(small):
    """Seven of 29 may enter, and there are fourteen spaces: at least seven stay out."""
    model, tokenizer = small
    widget = see.map_explorer(model, tokenizer, TEXT)
    assert "not yet reached" in widget.text
    widget.set(text=" ".join("abcdefghijklmno"))
    assert widget.text.endswith(": reached.") == ("␣␣␣␣␣␣␣␣" not in widget.text)
    widget.set(choice="each token for itself")
    assert "not yet reached" in widget.text


def test_the_leak_widget_fits_any_ending_to_the_length(small):
    widget = see.leak_explorer(*small, "To be, or ", "nothing")
    assert "0 choices of the past change, and no logit of the past moves" in widget.text
    for _, text in exercise_extremes(widget):
        assert "of the past" in text
    for typed, shown in (("", "␣␣␣␣␣␣␣"), ("abcdefghij", "abcdefg"), ("a\n", "a↵␣␣␣␣␣"), ("€", "␣␣␣␣␣␣␣")):
        widget.set(other=typed)
        assert f"With “{shown}” for “nothing”" in widget.text
    widget.set(other="zzzzzzz", choice="each token for itself")
    assert "no logit of the past moves" in widget.text


def test_the_budget_widget_counts_what_blocks_cost(monkeypatch):
    """By hand: 20 layers, ten of them at an eighth (and a little for the router), over twelve whole ones."""
    monkeypatch.setattr(budget, "block_times", lambda: dict.fromkeys(budget.CAPACITIES, 0.2) | {1.0: 1.0})
    widget = see.budget_widget()
    for values, text in exercise_extremes(widget):
        assert "of the FLOPs of 12 dense layers" in text, values
    widget.set(capacity=0.125, every=2, layers=20)
    assert widget.text.startswith("20 layers, 12.5 % of the tokens in every 2nd block: 93 % of the FLOPs")
    assert "100 % of their time" in widget.text
    assert widget.text.endswith(": reached.")
    widget.set(every=1)
    assert "not yet reached" in widget.text, "whole blocks have to stay in between"
    monkeypatch.setattr(budget, "block_times", lambda: dict.fromkeys(budget.CAPACITIES, 0.5) | {1.0: 1.0})
    slow = see.budget_widget()
    slow.set(capacity=0.125, layers=20)
    assert "not yet reached" in slow.text, "the time is over budget"


def test_blocks_are_timed_once_for_all_capacities(monkeypatch):
    calls = []

    def race(n_tokens, capacities, rounds):
        calls.append(n_tokens)
        return pd.DataFrame({"capacity": capacities, "faster": [1.0, *[1 / c for c in capacities[1:]]]})

    monkeypatch.setattr(budget.speed, "race_blocks", race)
    budget.block_times.cache_clear()
    try:
        assert budget.block_times() == {c: pytest.approx(c) for c in budget.CAPACITIES}
        assert budget.block_times() is budget.block_times()
        assert calls == [512]
    finally:
        budget.block_times.cache_clear()


def _strict(x, scores, k, block):
    chosen = (scores > scores.sort().values[-k]).nonzero().flatten()
    return x.index_add(0, chosen, scores[chosen, None] * (block(x[chosen], chosen) - x[chosen]))


def _renumbered(x, scores, k, block):
    chosen = scores.topk(k).indices.sort().values
    return x.index_add(0, chosen, scores[chosen, None] * (block(x[chosen], torch.arange(k)) - x[chosen]))


def _doubled(x, scores, k, block):
    chosen = scores.topk(k).indices.sort().values
    return x.index_add(0, chosen, scores[chosen, None] * block(x[chosen], chosen))


def _unweighted(x, scores, k, block):
    chosen = scores.topk(k).indices.sort().values
    return x.index_copy(0, chosen, block(x[chosen], chosen))


def _lost(x, scores, k, block):
    """The residual is missing: what leaves is the score times the block's output."""
    chosen = scores.topk(k).indices.sort().values
    return x.index_copy(0, chosen, scores[chosen, None] * block(x[chosen], chosen))


def _masked(x, scores, k, block):
    """Computes everything: tokens attend to those that did not enter."""
    inside = (scores >= scores.sort().values[-k])[:, None]
    return x + scores[:, None] * inside * (block(x, torch.arange(len(x))) - x)


WRONG = {
    "mixture-of-depths-speedup": [
        (lambda c, e, s: 1 / c, "only every second block skips"),
        (lambda c, e, s: (e - 1 + c) / e, "one over it"),
        (lambda c, e, s: e / (e - 1 + c), "capacity times capacity"),
        (lambda c, e, s: e, "1.125 of 2"),
        (lambda c, e, s: 3.0, "1.125 of 2"),
    ],
    "mixture-of-depths-lazy-predictor": [
        (80, "from 0 to 1"),
        (0.875, "one of five"),
        (0.2, "how often it is wrong"),
        (0.5, "a coin"),
        (7, "is no share"),
        (0.97, "is not the answer"),
    ],
    "mixture-of-depths-find-the-bug": [
        (_strict, "the last of the k is left out"),
        (_renumbered, "keep their places in the text"),
        (_doubled, "counted twice"),
        (_lost, "were is lost"),
        (_unweighted, "multiplies the update"),
        (_masked, "told the positions [0, 1, 2, 3, 4, 5]"),
        (lambda x, scores, k, block: x, "yours changes []"),
        (lambda x, scores, k, block: x[:k], "six tokens go in"),
    ],
}


@pytest.mark.parametrize("name", WRONG)
def test_each_slip_gets_its_own_hint_and_the_reference_passes(name):
    task = solutions()[name]
    assert task.verdict(task.reference) is None
    for answer, hint in WRONG[name]:
        assert hint in task.verdict(answer)


def test_the_function_with_bugs_is_untried_in_the_notebook():
    """IPython compiles the statements of a cell one by one, so the test does too."""
    notebook = json.loads((ROOT / "notebooks" / "05_mixture_of_depths.ipynb").read_text(encoding="utf-8"))
    name = "mixture-of-depths-find-the-bug"
    (cell,) = ("".join(c["source"]) for c in notebook["cells"] if f'check("{name}"' in "".join(c["source"]))
    scope = {"check": lambda _, function: function}
    for statement in ast.parse(cell).body:
        exec(compile(ast.Module([statement], []), "cell", "exec"), scope)
    with pytest.raises(NotImplementedError, match=name):
        solutions()[name].verdict(scope["skip"])


def test_another_right_way_to_write_it_passes():
    def skip(x, scores, k, block):
        chosen = scores.topk(k).indices.sort().values
        after = x.clone()
        after[chosen] = torch.lerp(x[chosen], block(x[chosen], chosen), scores[chosen, None])
        return after

    assert solutions()["mixture-of-depths-find-the-bug"].verdict(skip) is None


def test_the_speed_up_of_the_exercise_is_what_the_cost_model_counts():
    """On shapes whose share of scores is counted, too; router, head and the diagonal of the mask are little there."""
    from greenlab.core.model import cost

    task = solutions()["mixture-of-depths-speedup"]
    for d_model, n_tokens in ((1024, 4096), (512, 32768)):
        shape = cost.TransformerShape(12, d_model, 8, 8, d_model // 8, 4 * d_model, vocab_size=1)
        flops = cost.prefill_flops(shape, n_tokens)
        scores = flops.attention_scores / (flops.total - flops.output_head)
        for capacity, every in ((0.125, 2), (0.5, 3), (0.25, 1)):
            counted = 1 / work.flops_share(shape, n_tokens, capacity, every)
            assert task.reference(capacity, every, scores) == pytest.approx(counted, rel=3e-3)
