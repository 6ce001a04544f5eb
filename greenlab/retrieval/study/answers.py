"""Answers of SmolLM2 to the questions on the book: how many passages, which index, which way, and which layers gone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from greenlab import layer_pruning, retrieval
from greenlab.core import assets
from greenlab.layer_pruning import study as pruning_study
from greenlab.retrieval.answer import one_line
from greenlab.retrieval.generate import start_reading, write_line
from greenlab.retrieval.metrics import exact_match, hit
from greenlab.retrieval.prompt import frame_of, special_ids
from greenlab.retrieval.questions import load_questions, relevant_passages
from greenlab.retrieval.study.search import FUSION, make_indexes

RIGHT = "right passage"  # in place of an index: a passage that answers is given
NO_SEARCH = "none"


@dataclass(frozen=True)
class Setting:
    """One way to answer: index, passages given, method of `retrieval.answer`, layers taken out of SmolLM2."""

    index: str
    n_passages: int
    method: str = "write"
    n_removed: int = 0


def indexes(passage_tokens: int) -> tuple[retrieval.Corpus, dict[str, Any]]:
    """The corpus and its indexes."""
    corpus, found, _ = make_indexes(passage_tokens)
    return corpus, found


@lru_cache(maxsize=4)
def llm(n_removed: int) -> tuple[Any, Any]:
    """SmolLM2 without the block of layers that chapter 6 found to do least."""
    if not n_removed:
        return assets.load_smollm2()
    model, tokenizer = llm(0)
    distances = pruning_study.load("distances")["distances"].query("n == @n_removed")
    start = int(distances.sort_values("distance", kind="stable")["start"].iloc[0])
    return layer_pruning.drop_layers(model, start, n_removed), tokenizer


def settings(passages: tuple[int, ...], others: tuple[str, ...] = (), removed: tuple[int, ...] = ()) -> list[Setting]:
    """What is tried on a question.

    Args:
        passages: numbers of passages from which the model writes.
        others: further indexes, asked for one passage.
        removed: layers taken out.
    """
    written = [Setting(FUSION if n else NO_SEARCH, n) for n in passages]
    chosen = [Setting(index, 1, method) for method in ("extract", "quote") for index in (FUSION, RIGHT)]
    more = [Setting(index, 1) for index in (RIGHT, *others)]
    return written + chosen + more + [Setting(FUSION, 1, n_removed=n) for n in removed]


def answer_questions(
    ids: tuple[str, ...],
    passage_tokens: int,
    n_new_tokens: int,
    passages: tuple[int, ...],
    others: tuple[str, ...] = (),
    removed: tuple[int, ...] = (),
) -> list[dict[str, Any]]:
    """Answer some questions in every setting; settings take turns within a question.

    A setting that gives the model the same passages as one before has the same answer: it is not computed again.

    Returns:
        One row per question and setting: id, half, the setting, text, exact, hit, found (a passage that answers was
        among those given), cited_right (the passage cited is one that answers), n_input_tokens, n_output_tokens,
        complete, cpu_s, time_s (both of the answer, without the search).
    """
    corpus, by_name = indexes(passage_tokens)
    table = {row["id"]: row for row in load_questions().to_dict("records")}
    rows: list[dict[str, Any]] = []
    for name in ids:
        question, half, golds, evidence = (table[name][key] for key in ("question", "half", "answers", "evidence"))
        relevant = relevant_passages(corpus, evidence)
        done: dict[tuple[Any, ...], dict[str, Any]] = {}
        for one in settings(passages, others, removed):
            if one.index == RIGHT:
                given = [min(relevant)]
            elif one.n_passages:
                given = by_name[one.index].search(question, one.n_passages)["passage"].tolist()
            else:
                given = []
            key = (*given, one.n_passages > 0, one.method, one.n_removed)
            if key not in done:
                done[key] = answer_one(question, [corpus[i] for i in given], one, n_new_tokens)
            answer = done[key]
            cited = {given[number - 1] for number in answer["cited"]}
            row = {"id": name, "half": half, "index": one.index, "n_passages": one.n_passages, "method": one.method}
            row |= {"n_removed": one.n_removed, "found": bool(relevant & set(given))}
            row |= {"cited_right": bool(relevant & cited), "exact": exact_match(answer["text"], golds)}
            row |= {"hit": hit(answer["text"], golds)}
            rows.append(row | {key: value for key, value in answer.items() if key != "cited"})
    return rows


@lru_cache(maxsize=8)
def prefix(n_removed: int, with_passages: bool) -> retrieval.Prefix:
    """The instructions, read once for all questions, with or without passages to come."""
    model, tokenizer = llm(n_removed)
    return retrieval.Prefix(model, frame_of(tokenizer, "auto", with_passages=with_passages)[0])


def answer_one(question: str, passages: list[Any], one: Setting, n_new_tokens: int) -> dict[str, Any]:
    """One answer with its tokens and its time; the instructions were read before."""
    model, known = llm(one.n_removed), prefix(one.n_removed, bool(passages))
    cpu_s, time_s = time.process_time(), time.perf_counter()
    if passages:
        found = retrieval.answer_from(
            question, passages, model, method=one.method, n_new_tokens=n_new_tokens, prefix=known
        )
    elif one.n_passages:
        found = retrieval.without_passages()  # nothing was found: no model is asked
    else:
        found = bare_answer(question, model, known, n_new_tokens)
    cpu_s, time_s = time.process_time() - cpu_s, time.perf_counter() - time_s
    return {
        "text": found.text, "cited": list(found.cited), "n_given": len(found.passages),
        "n_input_tokens": found.n_input_tokens, "n_reused_tokens": found.n_reused_tokens,
        "n_output_tokens": found.n_output_tokens, "complete": found.complete, "cpu_s": cpu_s, "time_s": time_s,
    }  # fmt: skip


def bare_answer(question: str, model: tuple[Any, Any], known: retrieval.Prefix, n_new_tokens: int) -> retrieval.Answer:
    """What `retrieval.answer_from` writes without passages, with the instructions read before."""
    prompt = retrieval.build_prompt(question, [], model, n_new_tokens=n_new_tokens)
    reading = start_reading(model[0], prompt.ids, known)
    written, complete = write_line(reading, model[1], n_new_tokens, special_ids(model[1]))
    text = one_line(model[1].decode(written))
    return retrieval.Answer(text, (), (), 0, len(prompt.ids), len(known.ids), len(written), complete)


def prefix_race(ids: tuple[str, ...], passage_tokens: int, n_new_tokens: int) -> list[dict[str, Any]]:
    """Answer with the instructions read anew, and read once for all questions; the two take turns.

    Returns:
        Two rows a question: id, reused, text, n_input_tokens, n_reused_tokens, n_output_tokens, cpu_s, time_s.
    """
    corpus, by_name = indexes(passage_tokens)
    table = {row["id"]: row for row in load_questions().to_dict("records")}
    known, rows = prefix(0, True), []
    for name in ids:
        question = table[name]["question"]
        given = [corpus[i] for i in by_name[FUSION].search(question, 1)["passage"]]
        for reused in (False, True):
            cpu_s, time_s = time.process_time(), time.perf_counter()
            found = retrieval.answer_from(
                question, given, llm(0), n_new_tokens=n_new_tokens, prefix=known if reused else None
            )
            cpu_s, time_s = time.process_time() - cpu_s, time.perf_counter() - time_s
            row = {"id": name, "reused": reused, "text": found.text, "n_input_tokens": found.n_input_tokens}
            row |= {"n_reused_tokens": found.n_reused_tokens, "n_output_tokens": found.n_output_tokens}
            rows.append(row | {"cpu_s": cpu_s, "time_s": time_s})
    return rows
