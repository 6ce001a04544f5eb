"""Retrieval: making each index of the whole book, a question to each, and what a prefix that was read before saves."""

import os
import tempfile
import time

import pandas as pd
import torch

from greenlab import retrieval
from greenlab.core import assets, speed
from greenlab.core.machine import available_cores

QUESTIONS = 8
MARK_S = {  # seconds: (to make the index, to answer a question without generation)
    "BM25": (1.0, 2e-3),
    "static": (1.0, 2e-3),
    "dense": (15.0, 50e-3),
    "BM25 + dense": (None, 50e-3),
}


def indexes() -> tuple[pd.DataFrame, retrieval.Index]:
    """One row an index: seconds to make it (by the clock and of the processor) and to answer, beside the marks."""
    minilm = assets.load_minilm()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        table = retrieval.make_static_table(minilm, file=os.path.join(folder, "static.safetensors"))
        table_s = time.perf_counter() - start
    corpus = retrieval.Corpus.from_book()
    made, took = {}, {}
    for name, make in {
        "BM25": lambda: retrieval.BM25Index(corpus),
        "static": lambda: retrieval.StaticIndex(corpus, table),
        "dense": lambda: retrieval.DenseIndex(corpus, minilm),
    }.items():
        start, busy = time.perf_counter(), time.process_time()
        made[name] = make()
        took[name] = time.perf_counter() - start, time.process_time() - busy
    made["BM25 + dense"] = retrieval.Fusion([made["BM25"], made["dense"]], by="score")
    questions = list(retrieval.load_questions("tune")["question"][:QUESTIONS])
    works = {name: lambda index=index: [index.search(one) for one in questions] for name, index in made.items()}
    query_s = speed.interleave(works, rounds=5).groupby("work")["time_s"].min() / len(questions)
    rows = []
    for name in made:
        make_s, make_cpu_s = took.get(name, (float("nan"), float("nan")))
        most_make_s, most_query_s = MARK_S[name]
        rows.append(
            {
                "index": name, "passages": len(corpus), "make_s": make_s, "make_cpu_s": make_cpu_s,
                "query_ms": 1e3 * query_s[name],
                "within_mark": query_s[name] <= most_query_s and (most_make_s is None or make_s <= most_make_s),
            }
        )  # fmt: skip
    rows.append({"index": "table of static vectors, once", "make_s": table_s})
    return pd.DataFrame(rows), made["BM25"]


def prefix(index: retrieval.Index, rounds: int = 5) -> pd.DataFrame:
    """The time to an answer's first token with the instructions read anew and read once, beside the share of tokens."""
    llm = assets.load_smollm2()
    kept = retrieval.make_prefix(llm)
    question = retrieval.load_questions("tune")["question"][0]
    works = {
        "read anew": lambda: retrieval.answer(question, index, llm, n_new_tokens=1),
        "prefix kept": lambda: retrieval.answer(question, index, llm, n_new_tokens=1, prefix=kept),
    }
    times = speed.interleave(works, rounds=rounds)
    faster, given = speed.ratios(times, "read anew"), works["prefix kept"]()
    left = 1 - given.n_reused_tokens / given.n_input_tokens
    return pd.DataFrame(
        [
            {
                "work": name, "time_s": times[times["work"] == name]["time_s"].median(), "faster": faster[name],
                "tokens_read": given.n_input_tokens - given.n_reused_tokens * (name == "prefix kept"),
                "faster_by_tokens": 1 / left if name == "prefix kept" else 1.0,
            }
            for name in works
        ]
    )  # fmt: skip


def run() -> list[pd.DataFrame]:
    """Return the table of the indexes and that of the prefix."""
    torch.set_num_threads(available_cores())
    table, bm25 = indexes()
    return [table, prefix(bm25)]


if __name__ == "__main__":
    for shown in run():
        print(shown.to_string(index=False), "\n")
