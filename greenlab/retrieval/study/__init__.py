"""Chapter 8's long run: what a search of the book finds, what SmolLM2 makes of it, and what each right answer costs.

``python -m greenlab.retrieval.study`` runs it (restartable) and writes data/studies/retrieval; `load` reads the
committed tables. The book is searched and the answers are written for real. Joules are modelled from CPU seconds, which
other programs on the machine do not lengthen as they do a clock's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import torch
from tqdm.auto import tqdm

from greenlab.core import studies
from greenlab.retrieval.questions import load_questions
from greenlab.retrieval.study import answers, hostile, quotes, search
from greenlab.retrieval.study.tables import figures

CHAPTER = "retrieval"
EXAMPLES = (  # questions that the static map shows; none is of the evaluation set
    "Why do memory chips decide how fast a model writes?",
    "Does skipping layers make a model forget?",
    "Is it greener to train at noon?",
    "How much electricity do data centres use?",
    "What is a router good for?",
    "Do ternary weights save energy?",
)
Step = tuple[str, tuple[str, ...], tuple[tuple[Any, ...], ...]]  # of answering: name, questions, settings
QUOTED = (1, 2, 3)  # sentences that are quoted where no model answers


@dataclass(frozen=True)
class Config:
    """Everything that the tables depend on, beside the book's own text."""

    passage_tokens: int = 200
    lengths: tuple[int, ...] = (70, 140, 280, 200)  # of passages, for the search alone
    passages: tuple[int, ...] = (0, 1, 2, 3, 5, 8)  # in the prompt, for every question held back, as are the next two
    others: tuple[str, ...] = (search.BM25, search.STATIC, search.DENSE)  # indexes
    removed: tuple[int, ...] = (4, 6)  # layers
    tune_passages: tuple[int, ...] = (0, 1)  # for the half that chose the settings
    n_new_tokens: int = 32
    search_rounds: int = 3
    chunk: int = 4  # questions of a step
    n_prefix: int = 8
    nearest: int = 5
    examples: tuple[str, ...] = EXAMPLES


def run(config: Config = Config()) -> dict[str, pd.DataFrame]:
    """Run what is not done yet, on one thread, and return the tables.

    Returns:
        made, ranks, leads, queries, table, answers, prefix, hostile, map, map_questions, map_nearest, steps, book,
        quotes, choices, figures.
    """
    torch.set_num_threads(1)
    steps, questions = studies.Steps(CHAPTER, config), load_questions()
    found: dict[str, list[dict[str, Any]]] = {}

    def add(table: str, rows: list[dict[str, Any]], **more: Any) -> None:
        found.setdefault(table, []).extend(more | row for row in rows)

    add("table", [{"cpu_s": steps.run("static_table", search.table_cost)}])
    sha256 = {}
    for length in tqdm(config.lengths, desc="searching"):
        result = steps.run(f"search_{length}", partial(search.search, length, config.search_rounds))
        for name in ("made", "ranks", "leads", "queries"):
            add(name, result[name], passage_tokens=length)
        sha256[length] = result["corpus_sha256"]
    drawn = steps.run("map", partial(search.book_map, config.passage_tokens, config.examples, config.nearest))
    for name, rows in (("map", "passages"), ("map_questions", "questions"), ("map_nearest", "nearest")):
        add(name, drawn[rows])
    for name, chunk, settings in tqdm(plan(questions, config), desc="answering"):
        work = partial(answers.answer_questions, chunk, config.passage_tokens, config.n_new_tokens, *settings)
        add("answers", steps.run(name, work))
    ids = questions.loc[questions["half"] == "held", "id"].tolist()
    quoted = partial(quotes.quote_all, config.passage_tokens, QUOTED)
    add("quotes", steps.run("quotes", quoted))
    race = partial(answers.prefix_race, tuple(ids[: config.n_prefix]), config.passage_tokens, config.n_new_tokens)
    add("prefix", steps.run("prefix", race))
    add("hostile", steps.run("hostile", partial(hostile.attack, config.passage_tokens, config.n_new_tokens)))
    tables = {name: pd.DataFrame(rows) for name, rows in found.items()} | {"steps": steps.receipts()}
    explained = {"explained": drawn["explained"], "corpus_sha256": sha256[config.passage_tokens]}
    tables["book"] = pd.DataFrame([explained])
    tables["choices"] = load("choices")["choices"]  # tried before, on the half for tuning alone
    return tables | {"figures": figures(tables)}


def plan(questions: pd.DataFrame, config: Config) -> list[Step]:
    """The steps of answering: their names, their questions, and what `answers.settings` gets for them.

    Args:
        questions: id and half of each.
        config: every setting is tried on the held half, a few on the other one.
    """
    asked: dict[str, tuple[tuple[Any, ...], ...]] = {
        "held": (config.passages, config.others, config.removed),
        "tune": (config.tune_passages, (), ()),
    }
    steps: list[Step] = []
    for half, settings in asked.items():
        of = questions.loc[questions["half"] == half, "id"].tolist()
        for start in range(0, len(of), config.chunk):
            steps.append((f"answers_{half}_{start // config.chunk}", tuple(of[start : start + config.chunk]), settings))
    return steps


def load(*names: str) -> dict[str, pd.DataFrame]:
    """Return the committed tables by name, or all of them."""
    return studies.load(CHAPTER, *names)


def main() -> None:
    """Run the study and write its tables."""
    config = Config()
    tables = run(config)
    studies.save(CHAPTER, config, tables, tables["steps"])
