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
    """At each question of the menu: the nearest passage by 384 numbers is on the subject, and another by the plane."""
    tables = study.load("map", "map_questions", "map_nearest")
    spots, first = tables["map"], tables["map_nearest"].query("rank == 1").set_index("question")["passage"]
    asked = tables["map_questions"].set_index("question")[["x", "y"]]
    on_plane = {
        question: int(np.hypot(spots["x"] - row["x"], spots["y"] - row["y"]).argmin())
        for question, row in asked.iterrows()
    }
    return set(asked.index) == set(SUBJECTS) and all(
        subject in spots["title"][first[question]] and on_plane[question] != first[question]
        for question, subject in SUBJECTS.items()
    )


def rungs() -> bool:
    """BM25 takes the least joules; no index that is drawn finds so many more that chance would seldom do it."""
    tables, size = study.load(), study.Config().passage_tokens
    costs = work.rungs(tables, size).set_index("index")["mj"]
    margin = work.choose_margin(tables["ranks"], tables["leads"], size)
    ranks = work.with_ladder(tables["ranks"], tables["leads"], margin)
    others = [name for name in costs.index if name != search.BM25]
    found = [work.compared(ranks, name, search.BM25, size) for name in others]
    none_better = all(gained <= lost or scoring.mcnemar(lost, gained) > ONE_IN_TWENTY for gained, lost in found)
    return len(others) == 7 and none_better and costs.idxmin() == search.BM25


def lengths() -> bool:
    """For each of the three indexes that are drawn."""
    found = work.recall(study.load()["ranks"], "held").query("k == 1")
    wide = found.pivot(index="index", columns="passage_tokens", values="share").loc[
        [search.BM25, search.DENSE, search.FUSION]
    ]
    return bool((wide[280] > wide[70]).all())


def same() -> Any:
    """What every setting made of the questions on which all were tried."""
    return work.searched(study.load(), study.Config().passage_tokens, every=True)


def passages() -> bool:
    """Both measures at no passage, and hits (never fewer than exact matches) at each other number."""
    right = work.by_passages(same())
    bare, read = right[right["n_passages"] == 0], right[right["n_passages"] > 0]
    hits = read[read["measure"] == work.HIT]["percent"]
    return len(bare) == 2 and not bare["percent"].any() and len(hits) > 1 and bool(((hits > 0) & (hits < 50)).all())


def ways() -> bool:
    """With the passage found and with the right one; with the one found more often than chance does."""
    tables = study.load()
    shares = work.ways(work.searched(tables, study.Config().passage_tokens), answers.RIGHT, "exact").set_index("label")
    more = [
        shares["percent"][f"chooses a span, {passage}"] > shares["percent"][f"writes freely, {passage}"]
        for passage in ("the passage found", "the right passage")
    ]
    return all(more) and scoring.mcnemar(*work.changed(tables["answers"], search.FUSION, "exact")) < ONE_IN_TWENTY


def joules() -> bool:
    """Five and eight passages against one, two and three."""
    rows = same()
    price = {n: work.pick(rows, search.FUSION, n)["j_per_hit"] for n in (1, 2, 3, 5, 8)}
    return bool(min(price[5], price[8]) > max(price[1], price[2], price[3]))


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
    return len(rows) == 6 and not rows["n_astray"].any() and bool((2 * rows["n_cited"] > rows["n"]).all())


TITLES = {
    "The nearest passage is on the question's subject, but not the nearest on the plane": map_twin,
    "No index is shown to find more at the first place than BM25, the cheapest": rungs,
    "Passages of 280 words were found more often than those of 70": lengths,
    "Without a passage no answer is right; with passages, fewer than half": passages,
    "Choosing a span makes more answers exact than writing freely does": ways,
    "With five passages or eight, a right answer takes more joules than with one to three": joules,
    "FLOPs rise alike at every batch; joules rise faster the more are written at once": context_twin,
    "No answer says what a hostile passage wants, but most cite it": hostile,
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
    said = re.fullmatch(r"BM25 finds (\d) passages?; (?:the answer cites \[(\d)\]|the model is given (none))", title)
    assert said, title
    given = values["how"] != ask.WITHOUT
    return int(said[1]) == n_found and (said[3] is None) == given and (not given or 1 <= int(said[2]) <= n_found)


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
