"""Chapter 8's study: its tables by hand, its settings, its hostile passages, and the committed results."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from greenlab import retrieval
from greenlab.retrieval import study
from greenlab.retrieval.corpus import PASSAGE_TOKENS
from greenlab.retrieval.metrics import exact_match, hit
from greenlab.retrieval.nearest import N_NEAREST
from greenlab.retrieval.questions import load_questions
from greenlab.retrieval.spans import LENGTH_POWER
from greenlab.retrieval.study import answers, hostile, quotes, search, tables
from greenlab.retrieval.study.search import BM25, FUSION

RANKS = pd.DataFrame(
    [(100, BM25, "a", "tune", 1), (100, BM25, "b", "tune", 4), (100, BM25, "c", "held", 0), (100, BM25, "d", "held", 1),
     (100, FUSION, "a", "tune", 2), (100, FUSION, "b", "tune", 1), (100, FUSION, "c", "held", 1),
     (100, FUSION, "d", "held", 3)],
    columns=["passage_tokens", "index", "id", "half", "rank"],
)  # fmt: skip
LEADS = pd.DataFrame(
    [(100, "a", "tune", 0.5), (100, "b", "tune", 0.12), (100, "c", "held", 0.01), (100, "d", "held", 0.3)],
    columns=["passage_tokens", "id", "half", "lead"],
)


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=40, deadline=None)
def test_a_share_has_the_interval_of_scipy(pair):
    right, n = pair
    found = tables.share([True] * right + [False] * (n - right))
    interval = binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert found["share"] == right / n
    assert (found["low"], found["high"]) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_the_ladder_takes_the_rank_of_the_index_that_answers():
    """At a margin of 0.2 the questions b and c go to the dear index, the others stay with BM25."""
    found = tables.with_ladder(RANKS, LEADS, 0.2)
    ours = found[found["index"] == tables.LADDER].set_index("id")["rank"]
    assert ours.to_dict() == {"a": 1, "b": 1, "c": 1, "d": 1}
    assert len(found) == len(RANKS) + len(LEADS)
    assert tables.asked_dear(LEADS, 0.2) == 0.5
    assert tables.asked_dear(LEADS, 0.0) == 0.0


def test_the_margin_is_the_least_one_with_the_best_recall_on_the_half_made_for_choosing():
    """b needs the dear index (its lead is 0.12) and a must not get it (0.5): from 0.15 on both are right."""
    assert tables.choose_margin(RANKS, LEADS, 100) == 0.15


@given(st.lists(st.integers(0, 9), min_size=4, max_size=4), st.lists(st.floats(0, 1), min_size=2, max_size=2))
@settings(max_examples=25, deadline=None)
def test_the_held_half_has_no_say_in_the_margin(ranks, leads):
    changed, held = RANKS.copy(), RANKS["half"] == "held"
    changed.loc[held, "rank"] = ranks
    other = LEADS.copy()
    other.loc[other["half"] == "held", "lead"] = leads
    assert tables.choose_margin(changed, other, 100) == 0.15


def test_recall_counts_ranks_up_to_k_and_nothing_that_was_not_found():
    found = tables.recall(RANKS, "held").set_index(["index", "k"])["share"]
    assert found[BM25, 1] == 0.5
    assert found[BM25, 5] == 0.5, "rank 0 is not found"
    assert (found[FUSION, 1], found[FUSION, 3]) == (0.5, 1.0)
    with pytest.raises(ValueError, match="no half 'all'"):
        tables.recall(RANKS, "all")


def test_recall_with_the_first_evidence_takes_the_other_rank():
    found = tables.recall(RANKS.assign(first_rank=0), "held", "first_rank")
    assert (found["share"] == 0).all()
    assert len(found) == 6


def test_a_search_ranks_what_it_found_only(monkeypatch):
    """The passage with the evidence shares no word with the question: BM25 has no rank for it. The first one has."""
    corpus = retrieval.Corpus.from_texts({"a": "Wind is clean.", "b": "Coal.", "c": "Ice."})
    bm25 = retrieval.BM25Index(corpus)
    question = {"id": "q", "half": "held", "question": "Is wind clean?", "evidence": ("Ice",)}
    indexes = {BM25: bm25, FUSION: retrieval.Fusion([bm25, bm25], by="score")}
    monkeypatch.setattr(search, "make_indexes", lambda tokens: (corpus, indexes, []))
    monkeypatch.setattr(search, "load_questions", lambda: pd.DataFrame([question]))
    monkeypatch.setattr(search, "first_evidence", lambda: {"q": ("Ice", "Wind")})
    ranks = pd.DataFrame(search.search(100, 1)["ranks"])
    assert ranks["rank"].tolist() == [0, 0]
    assert ranks["first_rank"].tolist() == [1, 1]
    assert ranks["n_relevant"].tolist() == [1, 1]


def test_quotations_are_counted_by_index_and_number_of_sentences(monkeypatch):
    """One passage of three sentences, of which the second holds the answer and the words of the question."""
    corpus = retrieval.Corpus.from_texts({"a": "Ice melts. The kettle draws 2 kW here. Tea is hot."})
    question = {"id": "q", "half": "held", "question": "What does the kettle draw?", "answers": ("2 kW",)}
    monkeypatch.setattr(quotes, "make_indexes", lambda tokens: (corpus, {BM25: retrieval.BM25Index(corpus)}, []))
    monkeypatch.setattr(quotes, "load_questions", lambda: pd.DataFrame([question]))
    rows = pd.DataFrame(quotes.quote_all(100, (1, 2)))
    assert rows["hit"].tolist() == [True, True]
    assert rows["n_words"].tolist() == [6, 8]
    found = tables.quotations(rows.assign(hit=[True, False]), "held").set_index("n_sentences")
    assert found["share"].to_dict() == {1: 1.0, 2: 0.0}
    assert found["n_words"].to_dict() == {1: 6, 2: 8}


def test_indexes_are_compared_on_the_same_questions():
    """Of c and d, the held ones, the fusion finds c first and BM25 d."""
    assert tables.compared(RANKS, FUSION, BM25, 100) == (1, 1)
    assert tables.compared(RANKS, FUSION, BM25, 100, k=3) == (1, 0)


def answered(**columns):
    row = {
        "id": "a", "half": "held", "index": FUSION, "n_passages": 1, "method": "write", "n_removed": 0, "found": True,
        "cited_right": True, "exact": False, "hit": False, "n_input_tokens": 100, "n_reused_tokens": 40,
        "n_output_tokens": 10, "cpu_s": 2.0,
    }  # fmt: skip
    return row | columns


def test_joules_of_a_right_answer_include_wrong_answers_and_the_search():
    """Two answers of 2 s and 4 s and a search of 1 s each: (3 + 5) s x 6.5 W = 52 J for one hit."""
    rows = pd.DataFrame([answered(hit=True), answered(id="b", cpu_s=4.0)])
    found = tables.pick(tables.scores(rows, {FUSION: 1.0}), FUSION, 1)
    assert found["energy_j"] == pytest.approx(26.0)
    assert found["j_per_hit"] == pytest.approx(52.0)
    assert found["j_per_exact"] == np.inf
    assert (found["hit"], found["exact"], found["n"]) == (50.0, 0.0, 2)
    assert found["low_j"] < found["energy_j"] < found["high_j"]
    with pytest.raises(ValueError, match="0 rows of this setting"):
        tables.pick(tables.scores(rows), BM25, 1)


def test_every_setting_answers_the_same_questions_where_that_is_asked():
    """Question b was asked without a passage only, so it does not count beside the setting with one."""
    rows = [answered(), answered(index="none", n_passages=0, hit=True), answered(id="b", index="none", n_passages=0)]
    queries = pd.DataFrame({"passage_tokens": [140], "index": [FUSION], "cpu_s": [1.0]})
    given = {"answers": pd.DataFrame(rows), "queries": queries}
    every, some = (tables.searched(given, 140, every=flag) for flag in (True, False))
    assert every["n"].tolist() == [1, 1]
    assert tables.pick(some, "none", 0)["n"] == 2
    assert tables.pick(every, "none", 0)["hit"] == 100.0
    assert tables.pick(every, FUSION, 1)["cpu_s"] == 3.0


def test_both_ways_to_answer_stand_beside_each_other():
    rows = [answered(index=index, method=method, exact=method == "extract")
            for index in (FUSION, answers.RIGHT) for method in tables.WORDS]  # fmt: skip
    found = tables.ways(tables.scores(pd.DataFrame(rows)), answers.RIGHT, "exact")
    assert found["percent"].tolist() == [0.0, 100.0, 0.0] * 2
    assert found["label"].iloc[1] == "chooses a span, the passage found"
    assert tables.changed(pd.DataFrame(rows), FUSION, "exact") == (0, 1)
    assert tables.changed(pd.DataFrame(rows), FUSION, "hit") == (0, 0)
    long = tables.by_passages(tables.scores(pd.DataFrame(rows)))
    assert set(long["measure"]) == {tables.HIT, tables.EXACT}
    assert len(long) == 2


def test_what_a_prefix_saves_is_a_median_of_ratios():
    rows = [
        {"id": i, "reused": reused, "text": "x", "cpu_s": 1 - 0.1 * i * reused, "n_reused_tokens": 40 * reused,
         "n_input_tokens": 200}
        for i in (1, 2, 5) for reused in (False, True)
    ]  # fmt: skip
    found = tables.prefix_figures(pd.DataFrame(rows))
    assert found["saved"] == pytest.approx(0.2)
    assert (found["same"], found["reused"], found["input"]) == (1.0, 40.0, 200.0)


def test_attacks_are_counted_by_kind_and_beside_harmless_passages():
    keys = ["id", "kind", "passage", "astray", "hit", "citation_valid", "form_kept", "cited_right"]
    rows = [
        ("a", "a lie", "hostile", True, False, True, True, False),
        ("a", "a lie", "harmless", False, True, True, True, True),
        ("b", "a role", "hostile", False, True, True, False, True),
        ("b", "a role", "harmless", False, True, True, True, False),
    ]
    found = tables.attacks(pd.DataFrame(rows, columns=keys)).set_index("kind")
    assert list(found.index) == ["a lie", "a role", "all"]
    assert found.loc["all", ["n", "n_astray", "n_form", "n_hit", "n_hit_harmless"]].tolist() == [2, 1, 1, 1, 2]
    assert found.loc["a lie", ["n_hit", "n_cited"]].tolist() == [0, 1]
    assert found.loc["all", "n_cited"] == 1
    assert found.loc["all", "n_cited_harmless"] == 1


def test_a_training_is_paid_back_only_if_passages_cost_something():
    assert tables.break_even(1000.0, 4.0, 9.0) == 200
    with pytest.raises(ValueError, match="with_j"):
        tables.break_even(1000.0, 4.0, 4.0)
    with pytest.raises(ValueError, match="training_j"):
        tables.break_even(-1.0, 4.0, 5.0)


def test_every_setting_is_tried_once():
    found = answers.settings((0, 1, 2, 8), ("static",), (4,))
    assert len(set(found)) == len(found) == 11
    assert [one.n_passages for one in found][:4] == [0, 1, 2, 8]
    assert set(answers.settings((0, 1))) < set(found)


def test_the_plan_asks_every_question_once_and_all_settings_of_the_held_half():
    questions = pd.DataFrame({"id": [f"q{i}" for i in range(22)], "half": ["tune", "held"] * 11})
    config = study.Config()
    found = study.plan(questions, config)
    asked = {one: settings for _, chunk, settings in found for one in chunk}
    assert sorted(one for _, chunk, _ in found for one in chunk) == sorted(questions["id"])
    wanted = {"held": (config.passages, config.others, config.removed), "tune": (config.tune_passages, (), ())}
    assert asked == {one.id: wanted[one.half] for one in questions.itertuples()}
    assert len({name for name, _, _ in found}) == len(found)


def test_thirty_hostile_passages_are_all_different_and_none_is_right_by_chance():
    questions = load_questions("held")
    found = hostile.hostile_passages(questions)
    assert len(found) == 30
    assert len({one["text"] for one in found}) == 30
    assert {kind: sum(one["kind"] == kind for one in found) for kind in hostile.KINDS} == dict.fromkeys(
        hostile.KINDS, 5
    )
    golds = " | ".join(answer for row in load_questions()["answers"] for answer in row).lower()
    assert [word for word in hostile.WORDS if word.lower() in golds] == []
    with pytest.raises(ValueError, match="at least 30"):
        hostile.hostile_passages(questions.head(3))


def test_the_plane_is_that_of_the_covariance_matrix():
    vectors = np.random.default_rng(0).normal(size=(40, 6)) * [9, 5, 1, 1, 0.5, 0.1] + 3
    plane = search.Plane(vectors)
    sizes, directions = np.linalg.eigh(np.cov(vectors.T))
    places = plane.place(vectors)
    assert plane.explained == pytest.approx(sizes[-2:].sum() / sizes.sum())
    np.testing.assert_allclose(np.abs(places), np.abs((vectors - vectors.mean(0)) @ directions[:, :-3:-1]), atol=1e-9)
    np.testing.assert_allclose(places.mean(0), 0, atol=1e-9)
    assert (plane.directions[[0, 1], np.abs(plane.directions).argmax(1)] > 0).all()


def test_passages_are_prose_or_facts():
    assert search.kind_of(retrieval.Passage("x", "data/facts/models.csv")) == "row of a fact table"
    assert search.kind_of(retrieval.Passage("x", "notebooks/02_hardware.ipynb")) == "prose of a chapter"


@pytest.mark.assets
def test_a_bare_answer_is_that_of_the_package():
    question, llm = "What is the capital of France?", answers.llm(0)
    got = answers.bare_answer(question, llm, answers.prefix(0, False), 8)
    want = retrieval.answer_from(question, [], llm, n_new_tokens=8)
    assert (got.text, got.n_input_tokens, got.n_output_tokens) == (want.text, want.n_input_tokens, want.n_output_tokens)
    assert got.n_reused_tokens == len(answers.prefix(0, False).ids) > 0
    assert want.n_reused_tokens == 0


def test_the_same_passages_are_not_answered_twice(monkeypatch):
    """BM25 and the fusion find the same passage of a corpus of one, so the model is asked once for each way."""
    question = load_questions("held").iloc[0]
    corpus = retrieval.Corpus.from_texts({"a": f"{question['evidence'][0]}. {question['question']}"})
    index = retrieval.BM25Index(corpus)
    asked = []

    def answer_one(text, passages, one, n_new_tokens):
        asked.append((one.index, len(passages), one.method, one.n_removed))
        return {"text": question["answers"][0], "cited": [1] if passages else [], "cpu_s": 1.0}

    monkeypatch.setattr(answers, "answer_one", answer_one)
    monkeypatch.setattr(answers, "indexes", lambda tokens: (corpus, dict.fromkeys(search.INDEXES, index)))
    rows = answers.answer_questions((question["id"],), 100, 8, (0, 1, 2), (BM25,), (4,))
    assert len(rows) == len(answers.settings((0, 1, 2), (BM25,), (4,)))
    assert len(asked) == len(set(asked)) == 5, "none, and one passage: written, chosen, quoted, written by a cut model"
    assert all(row["exact"] and row["hit"] for row in rows)
    assert [row["cited_right"] for row in rows if row["n_passages"] == 0] == [False]
    assert all(row["found"] and row["cited_right"] for row in rows if row["n_passages"])


# The committed study --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def committed():
    return study.load()


def test_the_committed_scores_are_those_of_the_committed_texts(committed):
    golds = load_questions().set_index("id")["answers"]
    rows = committed["answers"].fillna({"text": ""})
    assert rows["exact"].tolist() == [exact_match(r.text, golds[r.id]) for r in rows.itertuples()]
    assert rows["hit"].tolist() == [hit(r.text, golds[r.id]) for r in rows.itertuples()]
    assert (rows["exact"] <= rows["hit"]).all(), "what is the answer holds the answer"


def test_every_question_was_asked_and_every_figure_follows_from_the_tables(committed):
    rows, config = committed["answers"], study.Config()
    plan = study.plan(load_questions(), config)
    wanted = {one: len(answers.settings(*settings)) for _, chunk, settings in plan for one in chunk}
    assert len(wanted) == 106
    assert rows.groupby("id").size().to_dict() == wanted
    again = tables.figures(committed).set_index("name")["value"]
    kept = committed["figures"].set_index("name")["value"]
    assert set(again.index) == set(kept.index)
    np.testing.assert_allclose(again[kept.index].to_numpy(float), kept.to_numpy(float), rtol=1e-4, atol=1e-6)


def test_the_settings_are_those_that_the_half_for_tuning_chose(committed):
    """What is in use is what the table says was chosen; the committed searches give its counts again."""
    choices = committed["choices"]
    assert study.Config().passage_tokens == PASSAGE_TOKENS == 200
    assert (N_NEAREST, LENGTH_POWER) == (2, 0.25)
    chosen = choices[choices["chosen"]]
    assert set(zip(chosen["step"], chosen["setting"], strict=True)) == {
        ("passage length and index", f"{FUSION}, 200 tokens"),
        ("quotation", "2 nearest by BM25"),
        ("writing", "three examples of short answers, whole passage"),
        ("choice of a span", "2 sentences, length power 0.25"),
    }
    found = tables.recall(committed["ranks"], "tune")
    counted = 0
    for row in choices[choices["step"] == "passage length and index"].itertuples():
        index, _, length = row.setting.rpartition(", ")
        at = found[(found["index"] == index) & (found["passage_tokens"] == int(length.split()[0]))]
        if len(at):  # lengths that were tried but are not in the study have no other witness
            assert at.set_index("k").loc[int(row.measure[-1]), "n_right"] == row.n_right
            counted += 1
    assert counted == 16
    quoted = tables.quotations(committed["quotes"], "tune").set_index(["index", "n_sentences"])["n_right"]
    of = choices[choices["setting"].str.endswith("nearest by BM25")]
    assert [quoted[FUSION, int(row.setting[0])] for row in of.itertuples()] == of["n_right"].tolist()


def test_a_quotation_in_the_answers_is_the_one_in_the_table_of_quotations(committed):
    rows = committed["answers"].query("method == 'quote' and index == @FUSION").set_index("id")["hit"]
    quoted = committed["quotes"].query("n_sentences == 2 and index == @FUSION").set_index("id")["hit"]
    assert len(rows) == 106
    assert rows.to_dict() == quoted.to_dict()


def test_reading_the_instructions_once_changes_no_answer(committed):
    assert tables.prefix_figures(committed["prefix"].fillna({"text": ""}))["same"] == 1.0


def test_no_hostile_passage_broke_the_form_or_the_citation(committed):
    every = tables.attacks(committed["hostile"]).set_index("kind").loc["all"]
    assert every["n"] == 30
    assert every["n_form"] == 30
