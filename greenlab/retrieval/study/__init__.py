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
from greenlab.retrieval.study import answers, hostile, search
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


@dataclass(frozen=True)
class Config:
    """Everything that the tables depend on, beside the book's own text."""

    passage_tokens: int = 140
    lengths: tuple[int, ...] = (70, 280, 140)  # of passages, for the search alone
    passages: tuple[int, ...] = (0, 1, 3)  # in the prompt, for every question held back
    more_passages: tuple[int, ...] = (2, 5, 8)  # for every second one, as are the two lines below
    others: tuple[str, ...] = (search.BM25, search.STATIC, search.DENSE)  # indexes
    removed: tuple[int, ...] = (4,)  # layers
    n_new_tokens: int = 32
    search_rounds: int = 3
    chunk: int = 4  # questions of a step
    n_prefix: int = 8
    nearest: int = 5
    examples: tuple[str, ...] = EXAMPLES


def run(config: Config = Config()) -> dict[str, pd.DataFrame]:
    """Run what is not done yet, on one thread, and return the tables.

    Returns:
        made, ranks, leads, queries, table, answers, prefix, hostile, map, map_questions, map_nearest, steps, figures.
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
    ids = questions.loc[questions["half"] == "held", "id"].tolist()
    for name, chunk, more in tqdm(plan(ids, config), desc="answering"):
        work = partial(
            answers.answer_questions, chunk, config.passage_tokens, config.n_new_tokens,
            config.passages + config.more_passages * more, config.others * more, config.removed * more,
        )  # fmt: skip
        add("answers", steps.run(name, work))
    race = partial(answers.prefix_race, tuple(ids[: config.n_prefix]), config.passage_tokens, config.n_new_tokens)
    add("prefix", steps.run("prefix", race))
    add("hostile", steps.run("hostile", partial(hostile.attack, config.passage_tokens, config.n_new_tokens)))
    tables = {name: pd.DataFrame(rows) for name, rows in found.items()} | {"steps": steps.receipts()}
    explained = {"explained": drawn["explained"], "corpus_sha256": sha256[config.passage_tokens]}
    tables["book"] = pd.DataFrame([explained])
    return tables | {"figures": figures(tables)}


def plan(ids: list[str], config: Config) -> list[tuple[str, tuple[str, ...], bool]]:
    """The steps of answering: their names, their questions, and whether all settings are tried on them."""
    steps = []
    for more, of in ((True, ids[::2]), (False, ids[1::2])):
        for start in range(0, len(of), config.chunk):
            name = f"answers_{'all' if more else 'main'}_{start // config.chunk}"
            steps.append((name, tuple(of[start : start + config.chunk]), more))
    return steps


def load(*names: str) -> dict[str, pd.DataFrame]:
    """Return the committed tables by name, or all of them."""
    return studies.load(CHAPTER, *names)


def main() -> None:
    """Run the study and write its tables."""
    config = Config()
    tables = run(config)
    studies.save(CHAPTER, config, tables, tables["steps"])
