"""The held questions of chapter 8, answered by the models that are combined, with a retrieved passage and without."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from greenlab import retrieval
from greenlab.core import assets
from greenlab.core.model import scoring
from greenlab.green_service.study.healed import merge
from greenlab.green_service.study.matrices import eight_bits
from greenlab.layer_pruning import study as pruning
from greenlab.retrieval.answer import one_line
from greenlab.retrieval.generate import start_reading, write_line
from greenlab.retrieval.prompt import frame_of, special_ids
from greenlab.retrieval.questions import load_questions, relevant_passages

MODELS = ("whole", "whole, 8 bits", "healed", "healed, 8 bits")


@lru_cache(maxsize=len(MODELS))
def llm(name: str, path: Path) -> tuple[Any, Any]:
    """One of `MODELS` and its tokenizer; the healed ones with the corrections of ``path``."""
    if name.endswith(", 8 bits"):
        model, tokenizer = llm(name.removesuffix(", 8 bits"), path)
        return eight_bits(model), tokenizer
    model, tokenizer = assets.load_smollm2()
    return (model, tokenizer) if name == "whole" else (merge(model, path), tokenizer)


@lru_cache(maxsize=1)
def index(passage_tokens: int) -> retrieval.BM25Index:
    """The book's passages, searched by their words."""
    return retrieval.BM25Index(retrieval.Corpus.from_book(passage_tokens=passage_tokens))


def score(name: str, path: Path) -> dict[str, Any]:
    """Loss on the evaluation text [nats per token] and share of cloze items right, as chapter 6 scores a model."""
    model, tokenizer = llm(name, path)
    config = pruning.Config()
    text = scoring.token_windows(tokenizer, scoring.held_out_text("evaluation"), config.evaluation_window)
    right = scoring.cloze(model, tokenizer, scoring.load_cloze())["correct"]
    return {
        "model": name, "loss": scoring.text_loss(model, text[: config.evaluation_windows]),
        "right": int(right.sum()), "n_items": len(right),
    }  # fmt: skip


def held_questions() -> list[str]:
    """The questions that chapter 8 held back, by their ids."""
    questions = load_questions()
    return questions.loc[questions["half"] == "held", "id"].tolist()


def answer_questions(name: str, ids: tuple[str, ...], passage_tokens: int, n_new: int, path: Path) -> list[dict]:
    """Answer some questions without a passage and with the best one; the instructions were read before.

    Returns:
        Two rows a question: id, model, n_passages, found (the passage is one that answers), hit, text, n_input_tokens
        (those of the instructions not counted), n_output_tokens.
    """
    (model, tokenizer), searched = llm(name, path), index(passage_tokens)
    table = {row["id"]: row for row in load_questions().to_dict("records")}
    never = special_ids(tokenizer)
    prefixes = [retrieval.Prefix(model, frame_of(tokenizer, "auto", with_passages=bool(n))[0]) for n in (0, 1)]
    rows = []
    for one in ids:
        question, golds, evidence = (table[one][key] for key in ("question", "answers", "evidence"))
        for n in (0, 1):
            given = searched.search(question, n)["passage"].tolist() if n else []
            passages = [searched.corpus[i] for i in given]
            prompt = retrieval.build_prompt(question, passages, (model, tokenizer), n_new_tokens=n_new)
            written, _ = write_line(start_reading(model, prompt.ids, prefixes[n]), tokenizer, n_new, never)
            text = one_line(tokenizer.decode(written))
            found = bool(relevant_passages(searched.corpus, evidence) & set(given))
            row = {"id": one, "model": name, "n_passages": n, "found": found, "hit": retrieval.hit(text, golds)}
            row |= {"text": text, "n_input_tokens": len(prompt.ids) - len(prefixes[n].ids)}
            rows.append(row | {"n_output_tokens": len(written)})
    return rows
