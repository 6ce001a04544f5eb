"""The titles of chapter 8's charts, each with the computation that proves it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from greenlab import retrieval
from greenlab.core.model import scoring
from greenlab.retrieval import study, view
from greenlab.retrieval.study import answers, search
from greenlab.retrieval.study import tables as work
from greenlab.retrieval.view import ask, context
from tests.retrieval import tiny

SUBJECTS = {  # what the title of the nearest passage says, by question of the static map
    "Why do memory chips decide how fast a model writes?": "Hardware",
    "Does skipping layers make a model forget?": "Layer pruning",
    "Is it greener to train at noon?": "Load shifting",
    "How much electricity do data centres use?": "numbers of the literature",
    "What is a router good for?": "Mixture of experts",
    "Do ternary weights save energy?": "Ternary",
}
ONE_IN_TWENTY = 0.05  # how seldom chance may do what is called a difference


def map_twin() -> bool:
    """At each question the nearest passage by 384 numbers is on the subject; the five of the plane are others."""
    tables = study.load("map", "map_questions", "map_nearest")
    spots, nearest = tables["map"], tables["map_nearest"].sort_values("rank").groupby("question")["passage"].agg(list)
    asked = tables["map_questions"].set_index("question")[["x", "y"]]
    on_plane = {
        question: np.hypot(spots["x"] - row["x"], spots["y"] - row["y"]).nsmallest(5).index
        for question, row in asked.iterrows()
    }
    return set(asked.index) == set(SUBJECTS) and all(
        subject in spots["title"][nearest[question][0]]
        and len(nearest[question]) == 5
        and set(on_plane[question]) != set(nearest[question])
        for question, subject in SUBJECTS.items()
    )


def rungs() -> bool:
    """BM25 takes the least joules, and finds more than each other index; the ladder, which is not drawn, is BM25."""
    tables, size = study.load(), study.Config().passage_tokens
    table = work.rungs(tables, size).set_index("index")
    never_asks = work.choose_margin(tables["ranks"], tables["leads"], size) == 0
    table = table.drop(index=work.LADDER)
    others = table.drop(index=search.BM25)["share"]
    most = bool((others < table["share"][search.BM25]).all())
    return len(others) == 6 and most and never_asks and table["mj"].idxmin() == search.BM25


def lengths() -> bool:
    """For each of the three indexes that are drawn."""
    found = work.recall(study.load()["ranks"], "held").query("k == 1")
    wide = found.pivot(index="index", columns="passage_tokens", values="share").loc[
        [search.BM25, search.DENSE, search.FUSION]
    ]
    return bool((wide[280] > wide[70]).all())


def scored() -> Any:
    """What every setting made of the questions held back."""
    return work.searched(study.load(), study.Config().passage_tokens)


def passages() -> bool:
    """Both measures at no passage; hits fall from one passage on, and exact matches do not rise."""
    right = work.by_passages(scored()).set_index("n_passages")
    hits, exact = (right[right["measure"] == name]["percent"] for name in (work.HIT, work.EXACT))
    falling, not_rising = (np.diff(of[of.index > 0]) for of in (hits, exact))
    bare = hits[0] == exact[0] == 0
    return bare and len(falling) == len(not_rising) == 4 and bool((falling < 0).all() and (not_rising <= 0).all())


def ways() -> bool:
    """With the passage found and with the right one; with the one found more often than chance does."""
    shares = work.ways(scored(), answers.RIGHT, "hit").set_index("label")["percent"]
    ordered = [
        shares[f"{work.WORDS['quote']}, {passage}"]
        > shares[f"{work.WORDS['extract']}, {passage}"]
        > shares[f"{work.WORDS['write']}, {passage}"]
        for passage in ("the passage found", "the right passage")
    ]
    rows = study.load("answers")["answers"].query("half == 'held' and n_passages == 1 and n_removed == 0")
    hits = rows[rows["index"] == search.FUSION].pivot(index="id", columns="method", values="hit").astype(bool)
    pairs = [(hits["extract"], hits["write"]), (hits["quote"], hits["extract"]), (hits["quote"], hits["write"])]
    chances = [scoring.mcnemar(int((less & ~more).sum()), int((more & ~less).sum())) for more, less in pairs]
    return len(hits) == 53 and all(ordered) and max(chances) < ONE_IN_TWENTY


def joules() -> bool:
    """Against every other bar of the chart: the model writes from one to eight passages, or chooses a span."""
    rows = scored()
    price = [work.pick(rows, search.FUSION, n)["j_per_hit"] for n in (1, 2, 3, 5, 8)]
    price.append(work.pick(rows, search.FUSION, 1, "extract")["j_per_hit"])
    return bool(100 * work.pick(rows, search.FUSION, 1, "quote")["j_per_hit"] < min(price))


def context_twin() -> bool:
    """At each stop of the slider the line of FLOPs is the same; that of joules lies higher from each stop to the next.

    Where nothing is retrieved, and where a batch does not fit, there is nothing to compare.
    """
    table = view.context_table()
    wide = table[table["tokens"] > 0].pivot(index=["what", "tokens"], columns="batch", values="times")
    steps = np.diff(wide.to_numpy(), axis=1)
    flops = wide.index.get_level_values("what") == "FLOPs"
    fits = ~np.isnan(steps)
    rising = bool((steps[~flops][fits[~flops]] > 0).all())
    return rising and bool(np.allclose(steps[flops][fits[flops]], 0) and fits.sum() > 50)


def hostile() -> bool:
    """For each of the six kinds."""
    rows = work.attacks(study.load()["hostile"]).query("kind != 'all'")
    no_more = bool((rows["n_cited"] <= rows["n_cited_harmless"]).all())
    return len(rows) == 6 and not rows["n_astray"].any() and no_more


TITLES = {
    "The nearest passage is on the question's subject; the five nearest are not those of the plane": map_twin,
    "BM25, the cheapest index, finds the most at the first place": rungs,
    "Passages of 280 words were found more often than those of 70": lengths,
    "No answer is right without a passage, and fewer are with each one beyond the first": passages,
    "The answer stands most often in a quotation, and least often in what the model writes": ways,
    "A quotation takes less than a hundredth of the joules for each answer that stands in it": joules,
    "FLOPs rise alike at every batch; joules rise faster the more are written at once": context_twin,
    "No answer says what a hostile passage wants; a harmless one is cited no less often": hostile,
}


# Widgets: over a book of three passages and models of random weights; what their titles say is computed anew ----------


def book() -> retrieval.Corpus:
    """Three passages on three subjects."""
    return retrieval.Corpus.from_texts({"tea": "# Tea\nBoil the water. Wait.", "coal": "# Coal\nCoal is dirty.",
                                        "wind": "# Wind\nWind is clean, and water is wet."})  # fmt: skip


def map_title(values: dict[str, Any], title: str) -> bool:
    """The passage whose best sentence has the greatest cosine with the question, and that cosine."""
    corpus = book()
    cosines = retrieval.DenseIndex(corpus, tiny.encoder()).scores(values["asked"])
    said = re.fullmatch(r"Nearest, with a cosine of (-?\d\.\d\d): (.*)", title)
    assert said, title
    return said[2] == corpus[int(cosines.argmax())].title and bool(abs(float(said[1]) - cosines.max()) <= 0.005)


def ask_title(values: dict[str, Any], title: str) -> bool:
    """As many passages as were asked for and have a word of the question; cited is one that was given, if any was."""
    words = set(re.findall(r"\w+", values["asked"].lower()))
    having = sum(bool(words & set(re.findall(r"\w+", one.text.lower()))) for one in book())
    n_found = min(values["n_passages"], having)
    said = re.fullmatch(r"BM25 finds (\d) passages?; (.*)", title)
    assert said, title
    if values["how"] == ask.WITHOUT:
        return int(said[1]) == n_found and said[2] == "the model is given none"
    cited = re.fullmatch(
        r"\[(\d)\] is quoted" if values["how"] == ask.QUOTES else r"the answer cites \[(\d)\]", said[2]
    )
    return int(said[1]) == n_found and cited is not None and 1 <= int(cited[1]) <= n_found


def context_title(values: dict[str, Any], title: str) -> bool:
    """The multiples, and the room in 80 GB, from the parts of the sum."""
    given = (values["answer"], values["batch"])
    with_it = context.context_cost(values["model"], values["n_passages"] * values["length"], *given)
    bare = context.context_cost(values["model"], 0, *given)
    if not values["n_passages"]:
        return title == "No passage, nothing added"
    said = re.search(
        r"it ([\d.]+) times the FLOPs and ([\d.]+) times the joules(; but one H100 cannot hold it)?", title
    )
    assert said, title
    wanted = [
        (with_it.reading[name] + with_it.writing[name]) / (bare.reading[name] + bare.writing[name])
        for name in ("flops", "energy_j")
    ]
    close = all(abs(float(written) - exact) <= 0.0501 for written, exact in zip(said.groups()[:2], wanted, strict=True))
    return close and bool(said[3]) == (with_it.weights_b + with_it.cache_b > 80e9)


LIVE = {
    "map": (lambda: view.map_widget(retrieval.DenseIndex(book(), tiny.encoder()), "Is coal clean?", 2), map_title),
    "ask": (
        lambda: view.ask_widget({"BM25": retrieval.BM25Index(book())}, {"tiny": tiny.llm()}, "Is coal dirty water?"),
        ask_title,
    ),
    "context": (view.context_widget, context_title),
}
