"""Chapter 8's charts, the cost of context against what was measured, its widgets at every extreme, its exercises."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from greenlab import retrieval
from greenlab.accelerator.shapes import MODELS
from greenlab.core import assets, studies
from greenlab.core.model.cost import decode_bytes, flops_per_token, prefill_flops
from greenlab.lab.exercises import solutions
from greenlab.lab.widgets import exercise_extremes
from greenlab.retrieval import view
from greenlab.retrieval.view import ask, context
from tests.retrieval import tiny

MODEL = context.MEASURED


@pytest.fixture(scope="module")
def summary():
    rows = studies.load("accelerator", "summary")["summary"]
    return rows[(rows["what"] == MODEL) & rows["layers"].isna()]


# The cost of context --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [512, 2048, 8192])
def test_reading_costs_what_was_measured_at_a_measured_length(summary, tokens):
    row = summary.query("section == 'prompt' and context == @tokens").iloc[0]
    cost = context.context_cost(MODEL, tokens - context.QUESTION, 1, 1)
    assert cost.n_prompt_tokens == tokens
    assert cost.reading["energy_j"] == pytest.approx(row["j_per_unit"] * tokens)
    assert cost.reading["time_s"] == pytest.approx(tokens / row["units_per_s"])


@pytest.mark.parametrize("batch", [1, 8, 64, 256])
def test_writing_costs_what_was_measured_at_512_tokens_of_context(summary, batch):
    """Half of an answer of 24 tokens is written when 512 tokens lie behind it."""
    row = summary.query("section == 'decode' and context == 512 and batch == @batch").iloc[0]
    cost = context.context_cost(MODEL, 500 - context.QUESTION, 24, batch)
    assert cost.writing["energy_j"] == pytest.approx(24 * row["j_per_unit"])
    assert cost.writing["time_s"] == pytest.approx(24 * batch / row["units_per_s"])


@pytest.mark.parametrize("tokens", [2048, 8192])
def test_a_longer_cache_adds_what_was_measured_at_batch_8(summary, tokens):
    row = summary.query("section == 'decode' and context == @tokens and batch == 8").iloc[0]
    cost = context.context_cost(MODEL, tokens - 10 - context.QUESTION, 20, 8)
    assert cost.writing["energy_j"] == pytest.approx(20 * row["j_per_unit"])
    assert cost.writing["time_s"] == pytest.approx(20 * 8 / row["units_per_s"])


@pytest.mark.parametrize("model", list(context.SHAPES))
def test_flops_are_those_of_the_cost_model(model):
    """Summed token by token, as the context grows by one with each token written."""
    cost = context.context_cost(model, 950, 101, 8)
    shape = context.SHAPES[model]
    assert cost.reading["flops"] == prefill_flops(shape, 1000, head="last").total
    assert cost.writing["flops"] == pytest.approx(
        sum(float(flops_per_token(shape, 1000 + i).total) for i in range(101)), rel=1e-9
    )


def test_reading_2000_tokens_takes_6_7_times_the_flops_of_writing_300():
    """The claim's own arithmetic counts the weights alone; with attention and the head the ratio is nearly the same."""
    bare = context.context_cost(context.LARGE, 0, 300, 1)
    with_it = context.context_cost(context.LARGE, 2000, 300, 1)
    ratio = (with_it.reading["flops"] - bare.reading["flops"]) / bare.writing["flops"]
    assert ratio == pytest.approx(2000 / 300, rel=0.02)


def test_joules_follow_the_flops_only_in_company():
    alone, crowd = (context.times_the_bare_answer(MODEL, 2000, 300, batch) for batch in (1, 256))
    assert alone["flops"] == crowd["flops"] > 6
    assert 1.03 < alone["energy_j"] < 1.1
    assert 3 < crowd["energy_j"] < alone["flops"]


def test_the_price_of_the_short_prompt_gives_the_range_of_the_multiple():
    """50 tokens as a prompt of 128 (6.54 J), or at 0.01977 J each; 16.48 J of writing; 72.1 J with passages."""
    low, high = context.joules_range(MODEL, 2000, 300, 128)
    with_it = context.context_cost(MODEL, 2000, 300, 128).total("energy_j")
    assert low == pytest.approx(with_it / (6.540 + 16.479), rel=1e-3)
    assert high == pytest.approx(with_it / (50 * 0.019772 + 16.479), rel=1e-3)
    assert context.joules_range(MODEL, 0, 300, 128) == (1.0, 1.0)


@pytest.mark.parametrize("batch", [1, 32, 256])
def test_more_context_never_costs_less(batch):
    costs = [context.context_cost(MODEL, tokens, 100, batch) for tokens in range(0, 8001, 250)]
    for measure in context.MEASURES:
        totals = [cost.total(measure) for cost in costs]
        assert all(np.diff(totals) >= 0), measure


def test_the_larger_model_is_modelled_from_the_measured_one():
    small, large = (context.context_cost(name, 1000, 100, 1) for name in context.SHAPES)
    assert large.reading["energy_j"] / small.reading["energy_j"] == pytest.approx(
        large.reading["flops"] / small.reading["flops"]
    )
    assert large.writing["energy_j"] / small.writing["energy_j"] == pytest.approx(138 / 16.0, rel=0.1)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        ((MODEL, 0, 1, 3), ValueError, "batch=3: measured were 1, 2, 4"),
        ((MODEL, 8143, 1, 1), ValueError, "n_context_tokens"),
        ((MODEL, -1, 1, 1), ValueError, "n_context_tokens"),
        ((MODEL, 0, 0, 1), ValueError, "n_answer_tokens"),
        ((MODEL, 0, True, 1), TypeError, "n_answer_tokens"),
        ((MODEL, math.nan, 1, 1), (TypeError, ValueError), "n_context_tokens"),
        (("GPT-9", 0, 1, 1), ValueError, "GPT-9"),
    ],
)
def test_costs_that_were_not_measured_are_refused_by_name(call, error, words):
    with pytest.raises(error, match=words):
        context.context_cost(*call)


def test_the_context_widget_holds_at_every_extreme_and_can_reach_its_goal():
    widget = view.context_widget()
    assert "not yet reached" in widget.text
    seen = exercise_extremes(widget)
    assert all("times the FLOPs" in text for _, text in seen)
    assert any("more than one H100 holds" in text for _, text in seen)
    assert "MODELLED" in widget.text_at(model=context.LARGE)
    bare = widget.text_at(n_passages=0)
    assert "1.00 times the FLOPs, 1.00 times the joules, 1.00 times the seconds" in bare
    widget.set(n_passages=10, length=200, answer=300, batch=1)
    assert "a tenth more joules: reached" in widget.text


def test_the_twin_draws_what_the_widget_says():
    table = view.context_table(contexts=(0, 2000))
    assert set(table.query("tokens == 0")["times"]) == {1.0}
    row = table.query("batch == 128 and tokens == 2000 and what == 'joules'")
    assert row["times"].item() == view.times_the_bare_answer(MODEL, 2000, 300, 128)["energy_j"]
    assert table.query("batch == 256")["tokens"].unique().tolist() == [0]  # 95 GB do not fit one H100
    spec = view.context_twin(table, "t").to_dict()
    assert spec["params"][0]["bind"]["max"] == 8


def test_the_rule_for_another_model_is_tried_on_one_that_was_measured():
    """Batch 1: 8.147 ms and 3.112 J of the 8B model, times 2.48 GB over 15.1 GB, beside 1/438 s and 0.671 J."""
    rows = view.scaling_check().set_index("batch")
    assert rows.index.tolist() == [1, 8, 64, 256]
    assert rows.loc[1, "measured_s"] == pytest.approx(1 / 437.982, rel=1e-4)
    assert rows.loc[1, "measured_j"] == pytest.approx(0.671, abs=5e-4)
    weights = {name: MODELS[name].shape for name in (context.TRIED, MODEL)}
    small, large = (decode_bytes(shape, 512, batch=1, bytes_per_weight=2).total for shape in weights.values())
    assert rows.loc[1, "rule_s"] == pytest.approx(small / large / 122.738, rel=1e-4)
    assert rows.loc[1, "rule_j"] == pytest.approx(small / large * 3.11158, rel=1e-4)
    # the chapter says: too few seconds, and by less than a factor of two
    assert ((rows["times_s"] > 0.5) & (rows["times_s"] < 1)).all()


# Charts ---------------------------------------------------------------------------------------------------------------

RUNGS = pd.DataFrame(
    {"index": ["BM25", "MiniLM"], "share": [70.0, 80.0], "low": [60.0, 70.0], "high": [80.0, 90.0], "mj": [3.0, 70.0],
     "n": 53}
)  # fmt: skip
SPOTS = pd.DataFrame({"x": [0.0, 1.0], "y": [1.0, 0.0], "kind": ["prose of a chapter", "row of a fact table"],
                      "title": ["a", "b"]})  # fmt: skip
ASKED = pd.DataFrame({"question": ["q?"], "x": [0.5], "y": [0.5]})
RINGS = pd.DataFrame({"score": [0.7], "x": [1.0], "y": [0.0], "title": ["b"]})
NEAR = pd.DataFrame({"question": ["q?"], "passage": [1], "score": [0.7]})
LONG = pd.DataFrame(
    {"n_passages": [0, 1], "measure": "it is the answer", "percent": [0.0, 50.0], "low": [0.0, 40.0],
     "high": [7.0, 60.0], "n": 27}
)  # fmt: skip
WAYS = pd.DataFrame({"label": ["a", "b"], "percent": [1.0, 2.0], "low": [0.0, 1.0], "high": [2.0, 3.0], "n": 53})
CHARTS = {
    "rungs": lambda: view.rungs_chart(RUNGS, "t"),
    "lengths": lambda: view.lengths_chart(
        pd.DataFrame({"passage_tokens": [70, 140], "index": "BM25", "percent": [60.0, 70], "low": [50.0, 60],
                      "high": [70.0, 80], "n": 53}), "t"),
    "passages": lambda: view.passages_chart(LONG, "t"),
    "ways": lambda: view.ways_chart(WAYS, "t"),
    "joules": lambda: view.joules_chart(
        pd.DataFrame({"label": ["1"], "j_per_hit": [9.0], "low": [8.0], "high": [10.0], "n": 27}), "t"),
    "hostile": lambda: view.hostile_chart(
        pd.DataFrame({"kind": ["a lie"], "n_astray": [3], "n_cited": [4], "n_cited_harmless": [2]}), "t"),
    "map": lambda: view.map_chart(SPOTS, ASKED, RINGS, "t"),
    "twin": lambda: view.map_twin(SPOTS, ASKED, NEAR, "t"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHARTS)
def test_every_chart_is_a_valid_specification_with_words(name):
    spec = CHARTS[name]().to_dict()
    assert spec["description"]
    assert spec["title"]


@pytest.mark.parametrize("name", ["map", "twin"])
def test_passages_of_both_kinds_differ_in_a_shape_that_there_is(name):
    """A colour in the place of a shape draws nothing, and no error says so."""
    points = CHARTS[name]().to_dict()["layer"][0]["encoding"]
    assert points["shape"]["scale"]["range"] == ["circle", "triangle-up"]
    assert all(color.startswith("#") for color in points["color"]["scale"]["range"])


def test_charts_name_the_column_that_is_missing():
    with pytest.raises(ValueError, match="mj"):
        view.rungs_chart(RUNGS.drop(columns="mj"), "t")
    with pytest.raises(ValueError, match="kind"):
        view.map_twin(SPOTS.drop(columns="kind"), ASKED, NEAR, "t")


@pytest.mark.parametrize("name", ["passages", "lengths"])
def test_ticks_stand_where_passages_were_tried(name):
    """Half a passage is none: Vega would write 0.5."""
    axes = [layer["encoding"]["x"]["axis"] for layer in CHARTS[name]().to_dict()["layer"]]
    assert {tuple(axis["values"]) for axis in axes} == {{"passages": (0, 1), "lengths": (70, 140)}[name]}


def test_a_value_stands_at_its_bar_and_not_at_the_end_of_its_interval():
    for name, value in (("joules", "j_per_hit"), ("ways", "percent")):
        layers = CHARTS[name]().to_dict()["layer"]
        words = next(layer for layer in layers if layer["mark"]["type"] == "text")
        assert words["encoding"]["x"]["field"] == words["encoding"]["text"]["field"] == value


def test_a_bar_is_drawn_only_where_its_length_means_something():
    """A logarithmic axis has no zero: the length of a bar on it would depend on where the axis begins."""
    scales = {"joules": ("log", {"rule", "point", "text"}), "ways": (None, {"bar", "rule", "point", "text"})}
    for name, (kind, marks) in scales.items():
        layers = CHARTS[name]().to_dict()["layer"]
        assert {layer["mark"]["type"] for layer in layers} == marks
        assert {layer["encoding"]["x"].get("scale", {}).get("type") for layer in layers} <= {kind, None}
        assert layers[-1]["encoding"]["x"]["scale"].get("type") == kind


# Tables ---------------------------------------------------------------------------------------------------------------

SCORED = pd.DataFrame([
    {"index": "none", "n_passages": 0, "method": "write", "n_removed": 0, "n": 53, "hit": 0.0, "hit_low": 0.0,
     "hit_high": 6.8, "exact": 0.0, "exact_low": 0.0, "exact_high": 6.8, "found": 0.0, "n_read_tokens": 24.6,
     "energy_j": 4.55, "low_j": 1.4, "high_j": 14.0, "j_per_hit": math.inf},
    {"index": "BM25", "n_passages": 2, "method": "extract", "n_removed": 4, "n": 53, "hit": 22.6, "hit_low": 13.2,
     "hit_high": 35.6, "exact": 11.3, "exact_low": 5.2, "exact_high": 22.6, "found": 83.0, "n_read_tokens": 152.4,
     "energy_j": 8.963, "low_j": 2.758, "high_j": 27.58, "j_per_hit": 39.59},
])  # fmt: skip


def test_answers_are_listed_with_their_intervals_and_an_infinite_price_is_a_dash():
    shown = view.answers_table(SCORED, "Answers")
    assert shown.rows == (
        ("no passage", "53", "0 (0 to 7)", "0 (0 to 7)", "0", "25", "4.5 (1.4 to 14)", "–"),
        ("2 passages by BM25, chooses a span, 4 layers fewer", "53", "23 (13 to 36)", "11 (5 to 23)", "83", "152",
         "9.0 (2.8 to 28)", "40"),
    )  # fmt: skip


def test_searches_are_listed_with_both_recalls_in_millijoules():
    first = pd.DataFrame({"index": ["BM25", "static"], "share": [66.0, 47.2], "low": [52.6, 34.4], "high": [77.3, 60.3],
                          "energy_j": [0.00284, 0.00467], "low_j": [0.000874, 0.00144], "high_j": [0.00874, 0.0144],
                          "n": 53})  # fmt: skip
    five = first.assign(share=[86.8, 71.7], low=[75.2, 58.4], high=[93.5, 82.0]).iloc[::-1]
    assert view.search_table(first, five).rows == (
        ("BM25", "66 (53 to 77)", "87 (75 to 94)", "2.8 (0.87 to 8.7)"),
        ("static", "47 (34 to 60)", "72 (58 to 82)", "4.7 (1.4 to 14)"),
    )


def test_tables_name_the_column_that_is_missing():
    with pytest.raises(ValueError, match="j_per_hit"):
        view.answers_table(SCORED.drop(columns="j_per_hit"), "Answers")
    with pytest.raises(ValueError, match="n_form"):
        view.hostile_table(pd.DataFrame({"kind": ["a lie"], "n": [5]}))


# Ask this book --------------------------------------------------------------------------------------------------------


def book():
    return retrieval.Corpus.from_texts({
        "06_layer_pruning.ipynb#cell-id=1": "# 6 Layers\nSmolLM2 has thirty layers. A cut takes the least of them.",
        "02_hardware.ipynb#cell-id=2": "# 2 Hardware\nA chip waits for its memory while it writes a single answer.",
        "../data/facts/README.md#tea": "# Facts\nTea should steep for three minutes, says Grandmother.",
    })  # fmt: skip


def test_links_of_passages_open_and_nothing_else_becomes_a_link():
    text = "[1] 02_hardware.ipynb#cell-id=a-2: see <b>http://evil.example</b> ../data/facts/README.md#tea."
    found = ask._LINK.findall(text)
    assert found == ["02_hardware.ipynb#cell-id=a-2", "../data/facts/README.md#tea."]


@pytest.mark.assets
def test_the_map_lands_on_the_passage_that_answers():
    dense = retrieval.DenseIndex(book(), assets.load_minilm())
    widget = view.map_widget(dense, nearest=2)
    assert widget.text.splitlines()[1].endswith("02_hardware.ipynb#cell-id=2")
    assert '<a href="02_hardware.ipynb#cell-id=2"' in widget.message.value
    widget.set(asked="How long should tea steep?")
    assert widget.text.splitlines()[1].endswith("../data/facts/README.md#tea")
    widget.set(asked="  ?! ")
    assert "the question was empty" in widget.text
    assert "FAILED" not in widget.text
    with pytest.raises(ValueError, match="nearest"):
        view.map_widget(dense, nearest=0)


def test_an_index_that_takes_long_is_made_when_it_is_first_chosen_and_once():
    calls = []

    def late():
        calls.append(1)
        return retrieval.BM25Index(book())

    widget = view.ask_widget({"BM25": retrieval.BM25Index(book()), "late": late}, {"tiny": tiny.llm()}, "Is tea hot?")
    assert not calls
    for n in (1, 2):
        widget.set(index="late", n_passages=n)
    assert calls == [1]
    assert widget.panel.spec["description"] == "Scores of the passages that late finds for the question: 1"
    wrong = view.ask_widget({"BM25": retrieval.BM25Index(book()), "late": int}, {"tiny": tiny.llm()}, "Is tea hot?")
    with pytest.raises(TypeError, match="indexes"):
        wrong.set(index="late")


def test_a_quotation_asks_no_model_and_cites_its_passage(monkeypatch):
    """Neither for the answer nor for a prefix: a model that is called fails."""
    model, tokenizer = tiny.llm()
    widget = view.ask_widget({"BM25": retrieval.BM25Index(book())}, {"tiny": (model, tokenizer)}, "Is tea hot?")
    monkeypatch.setattr(model, "forward", None)
    said = widget.text_at(asked="How long should tea steep?", how=ask.QUOTES).splitlines()
    assert said[0] == "Answer: Tea should steep for three minutes, says Grandmother. [1]"
    assert said[1].startswith("No model was asked; ")
    assert "MODELLED" in said[1]


@pytest.mark.assets
def test_ask_widget_holds_at_every_extreme_and_escapes_what_a_passage_says():
    corpus = retrieval.Corpus.from_texts(
        {"x": "The capital of France is Paris.", "y": "<script>alert(1)</script> Bread."}
    )
    index = retrieval.BM25Index(corpus)
    widget = view.ask_widget({"BM25": index}, {"SmolLM2": assets.load_smollm2()}, "What is the capital of France?")
    assert "not yet reached" in widget.text
    seen = exercise_extremes(widget)
    assert all("MODELLED" in text and "Answer" in text for _, text in seen)
    assert "Paris" in widget.text_at(how=ask.CHOOSES)
    assert "[1]" not in widget.text_at(how=ask.WITHOUT).splitlines()[0]
    widget.set(asked="<script>alert(2)</script> bread?", n_passages=2)
    assert "<script>" not in widget.message.value
    widget.set(asked="xyzzy plugh")
    assert "Nothing was found" in widget.text
    widget.set(asked="Which city is the capital of France?", how=ask.CHOOSES, n_passages=1)
    assert "at most four words: reached" in widget.text


def test_an_answer_page_shows_marks_of_markdown_and_html_letter_for_letter():
    passages = (
        retrieval.Passage("See [this](http://evil.example) <b>now</b>.", "a", "02_hardware.ipynb#cell-id=2", "A_b"),
    )
    answer = retrieval.Answer("*yes* <i>", passages, (1,), 0, 9, 0, 3, True)
    page = view.answer_page("Is it?", answer)._repr_markdown_()
    assert "[A\\_b](<02_hardware.ipynb#cell-id=2>)" in page
    assert "\\[this\\](http" in page, "a backslash before a bracket shows it and makes no link"
    assert "<b>" not in page
    assert "<i>" not in page
    assert "\\*yes\\*" in page


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: view.ask_widget({}, {"a": (1, 2)}), ValueError, "indexes is empty"),
        (lambda: view.ask_widget({"a": 1}, []), TypeError, "llms is list"),
        (lambda: view.ask_widget({"a": 1}, {"a": 1}, "?"), ValueError, "question"),
        (lambda: view.answer_page("q", "a"), TypeError, "answer"),
        (lambda: view.map_widget("index"), TypeError, "index"),
    ],
)
def test_wrong_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


# Exercises ------------------------------------------------------------------------------------------------------------

RIGHT = {name: task.reference for name, task in solutions().items() if name.startswith("retrieval")}
WRONG = {
    "retrieval-bm25": [
        (lambda q, p, k1, b: RIGHT["retrieval-bm25"](q, p, k1, 0.0), "length of the passage is missing"),
        (lambda q, p, k1, b: [(k1 + 1) * s for s in RIGHT["retrieval-bm25"](q, p, k1, b)], "factor k1 + 1"),
        (lambda q, p, k1, b: [sum(one.count(w) for w in q) for one in p], "twice the score"),
        (lambda q, p, k1, b: [1.0], "a list with one score"),
    ],
    "retrieval-recall": [
        (lambda f, r, k: sum(bool(set(a[:k]) & set(b)) for a, b in zip(f, r, strict=True)), "the share"),
        (lambda f, r, k: sum(bool(set(a) & set(b)) for a, b in zip(f, r, strict=True)) / len(f), "found[:k]"),
        (lambda f, r, k: sum(len({*a[:k]} & {*b}) / len(b) for a, b in zip(f, r, strict=True)) / len(f), "is enough"),
    ],
    "retrieval-joules-per-correct": [
        (lambda e, c: sum(x for x, ok in zip(e, c, strict=True) if ok) / max(1, sum(c)), "spent as well"),
        (lambda e, c: sum(e) / len(e), "number of right ones"),
        (lambda e, c: sum(e) / sum(c), "ZeroDivisionError"),
        (lambda e, c: sum(e) / max(1, sum(c)), "give math.inf"),
    ],
    "retrieval-find-the-bug": [
        (lambda h, m: h.mean(1), "multiply with the mask"),
        (lambda h, m: (h * m[..., None]).mean(1), "padding counts as a token"),
        (lambda h, m: (h * m[..., None]).sum(1) / m.sum(), "each has its own count"),
        (lambda h, m: h[:, 0], "first token"),
        (lambda h, m: (h * m[..., None]).sum(1), "the sum of each sentence's tokens"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_each_slip_gets_its_own_hint_and_the_reference_passes(name):
    task = solutions()[name]
    assert task.verdict(task.reference) is None
    for answer, hint in WRONG[name]:
        assert hint in task.verdict(answer)


def test_the_references_are_the_package():
    """BM25 of bm25s, through the book's index, on words that its stemmer leaves alone; pooling of the package."""
    bm25 = solutions()["retrieval-bm25"]
    texts = {"a": "gas gas h100", "b": "h100 solar gas unit", "c": "dram"}
    corpus = retrieval.Corpus.from_texts(texts)
    index = retrieval.BM25Index(corpus, k1=1.2, b=0.5)
    got = bm25.reference(["gas", "h100"], [text.split() for text in texts.values()], 1.2, 0.5)
    np.testing.assert_allclose(index.scores("gas h100"), got, rtol=1e-5)
    hidden, mask = torch.randn(3, 5, 4), torch.tensor([[1, 1, 0, 0, 0], [1] * 5, [1, 0, 0, 0, 0]])
    pooled = solutions()["retrieval-find-the-bug"].reference(hidden, mask)
    torch.testing.assert_close(pooled, retrieval.mean_pooling(hidden, mask))
    joules = solutions()["retrieval-joules-per-correct"]
    assert joules.reference([3.0, 5.0], [True, False]) == retrieval.joules_per_correct(8.0, 1)
    found, relevant = [[4, 7, 1], [2, 3, 9]], [[7], [5]]
    share = np.mean([retrieval.recall_at_k(a, b, 2) for a, b in zip(found, relevant, strict=True)])
    assert solutions()["retrieval-recall"].reference(found, relevant, 2) == share
