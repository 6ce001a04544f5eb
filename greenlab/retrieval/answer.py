"""Answers from passages: the model writes freely, or chooses among their words, or the book is quoted; each cites.

The citation is not written by the model as text, since a passage could make it write any. When the answer stands, the
model is asked which of the numbers [1] to [n] comes next, and the likeliest is taken.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from greenlab.core import checks
from greenlab.retrieval.corpus import Passage
from greenlab.retrieval.evaluating import evaluating
from greenlab.retrieval.generate import Prefix, Reading, start_reading, write_line
from greenlab.retrieval.index import Index, checked_query_as
from greenlab.retrieval.nearest import MOST_SENTENCES, N_NEAREST, nearest_sentences, quote
from greenlab.retrieval.prompt import (
    BEFORE_NUMBER,
    MOST_CITED,
    build_prompt,
    check_llm,
    frame_of,
    neutralise,
    special_ids,
    token_ids,
)
from greenlab.retrieval.spans import choose_span

N_NEW_TOKENS = 48
METHODS = ("write", "extract", "quote")
# sentences of each passage that count; a choice among the words of two is right more often than among those of ten
N_SENTENCES = {"write": MOST_SENTENCES, "extract": N_NEAREST, "quote": N_NEAREST}
NOTHING_FOUND = "Nothing was found for this question."
_CITED = re.compile(r"\[\s*[1-9](?:\s*[,;]\s*[1-9])*\s*\]")


@dataclass(frozen=True)
class Answer:
    """An answer with what it rests on and what it took.

    Args:
        text: the answer, one line; empty if the model had nothing to say, `NOTHING_FOUND` if ``nothing_found``.
        passages: what the model was given, [1] first.
        cited: numbers of the passages that it cites, from 1; empty if it was given none.
        n_dropped: passages that did not fit the context and were left out.
        n_input_tokens: tokens of the prompt, those of a prefix included.
        n_reused_tokens: of these, tokens of a prefix that had been read before.
        n_output_tokens: tokens that were written, or scored one by one for a choice.
        complete: whether the answer came to its end before ``n_new_tokens``.
        nothing_found: whether the search gave no passage; the model was not asked then.
    """

    text: str
    passages: tuple[Passage, ...]
    cited: tuple[int, ...]
    n_dropped: int
    n_input_tokens: int
    n_reused_tokens: int
    n_output_tokens: int
    complete: bool
    nothing_found: bool = False

    @property
    def sources(self) -> tuple[str, ...]:
        """Links to the cited passages."""
        return tuple(self.passages[number - 1].link for number in self.cited)

    @property
    def with_citation(self) -> str:
        """The answer with its citation behind it.

        >>> Answer("485 TWh", (Passage("x", "a"),), (1,), 0, 9, 0, 3, True).with_citation
        '485 TWh [1]'
        """
        return " ".join([self.text, *(f"[{number}]" for number in self.cited)]).strip()


def make_prefix(llm: tuple[Any, Any], *, template: str = "auto") -> Prefix:
    """Read the instructions once; `answer` then reads only the passages and the question.

    Args:
        llm: the language model and its tokenizer.
        template: as in `answer`.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if ``template`` is unknown, or it is ``"chat"`` and the tokenizer has no chat template.
    """
    model, tokenizer = check_llm("llm", llm)
    with evaluating(model):
        return Prefix(model, frame_of(tokenizer, template)[0])


def answer(
    question: str,
    index: Index,
    llm: tuple[Any, Any],
    n_passages: int = 1,
    *,
    method: str = "write",
    n_sentences: int | None = None,
    n_new_tokens: int = N_NEW_TOKENS,
    template: str = "auto",
    context_length: int | None = None,
    prefix: Prefix | None = None,
) -> Answer:
    """Look passages up and answer from them; if none is found, say so and do not ask the model.

    Args:
        question: what to answer.
        index: where to look.
        llm: a causal language model and its tokenizer: `greenlab.core.assets.load_smollm2`, a pruned one, or any of
            `greenlab.core.assets.load_llm`.
        n_passages: how many passages to give to the model, 0 (none is looked up) to 9.
        method: ``"write"``: the model writes freely; ``"extract"``: it chooses among the words of the passages;
            ``"quote"``: the sentences of a passage that are nearest to the question, and no model is asked.
        n_sentences: how many sentences of each passage count, the nearest to the question, 1 to 1,000; None for 2, and
            for whole passages where the model writes freely.
        n_new_tokens: longest answer [tokens].
        template: ``"chat"`` for the tokenizer's chat template, ``"plain"`` for a text without roles, ``"auto"`` for
            the first if the tokenizer has one.
        context_length: tokens that the model may see; None for its own limit. The last passages are left out if they
            do not fit, and `Answer.n_dropped` says how many.
        prefix: of `make_prefix`, to read the instructions only once.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if the question has no word in it, a number is out of range, the first passage does not fit the
            context, there is no chat template though one is asked for, or another method than ``"write"`` has no
            passage.
    """
    checks.instance("index", index, Index, remedy="an index such as BM25Index(corpus)")
    n_passages = checks.integer("n_passages", n_passages, low=0, high=MOST_CITED)
    checked_query_as("question", question)
    found = [int(number) for number in index.search(question, n_passages)["passage"]] if n_passages else []
    passages = [index.corpus[number] for number in found]
    if n_passages and not passages:
        method = checks.one_of("method", method, METHODS)
        _checked_sentences(n_sentences, method)
        build_prompt(question, [], llm, n_new_tokens=n_new_tokens, template=template, context_length=context_length)
        if prefix is not None:
            checks.instance("prefix", prefix, Prefix, remedy="make_prefix(llm)")
        return without_passages()
    return answer_from(
        question, passages, llm, method=method, n_sentences=n_sentences, n_new_tokens=n_new_tokens, template=template,
        context_length=context_length, prefix=prefix,
    )  # fmt: skip


def without_passages() -> Answer:
    """The answer to a question for which a search has found nothing: it says so, cites nothing, and costs no token.

    >>> without_passages().with_citation
    'Nothing was found for this question.'
    """
    return Answer(NOTHING_FOUND, (), (), 0, 0, 0, 0, complete=True, nothing_found=True)


def answer_from(
    question: str,
    passages: Sequence[Passage],
    llm: tuple[Any, Any],
    *,
    method: str = "write",
    n_sentences: int | None = None,
    n_new_tokens: int = N_NEW_TOKENS,
    template: str = "auto",
    context_length: int | None = None,
    prefix: Prefix | None = None,
) -> Answer:
    """Answer from passages that are given, the best first; the arguments are those of `answer`.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: as `answer`; also if there are more than 9 passages.
    """
    method = checks.one_of("method", method, METHODS)
    model, tokenizer = check_llm("llm", llm)
    n_sentences = _checked_sentences(n_sentences, method)
    held = checks.several("passages", passages)
    read = nearest_sentences(question, held, n_sentences) if held and n_sentences < MOST_SENTENCES else held
    prompt = build_prompt(
        question, read, llm, n_new_tokens=n_new_tokens, template=template, context_length=context_length
    )
    if method != "write" and not prompt.passages:
        raise ValueError(f"passages is empty: method={method!r} takes its words from them: give at least one")
    kept = tuple(held[: len(prompt.passages)])  # whole, also where the model read a part
    if method == "quote":
        if prefix is not None:
            checks.instance("prefix", prefix, Prefix, remedy="make_prefix(llm)")
        text, number = quote(question, kept, n_sentences)
        return Answer(neutralise(text, tokenizer), kept, (number,), prompt.n_dropped, 0, 0, 0, complete=True)
    cited: tuple[int, ...] = ()
    with evaluating(model):
        reading = start_reading(model, prompt.ids, prefix if prompt.passages else None)
        if method == "extract":
            text, n_output = choose_span(reading, prompt.passages, tokenizer, n_new_tokens)
            complete = bool(text)  # no span ends within so few tokens: nothing was chosen, so nothing is cited
            if complete:
                reading.read(token_ids(tokenizer, f" {text}"))
        else:
            written, complete = write_line(reading, tokenizer, n_new_tokens, special_ids(tokenizer))
            text, n_output = one_line(tokenizer.decode(written)), len(written)
        if prompt.passages and (text or method == "write"):
            cited = (_likeliest_number(reading, tokenizer, len(prompt.passages)),)
    return Answer(
        text=text,
        passages=kept,
        cited=cited,
        n_dropped=prompt.n_dropped,
        n_input_tokens=len(prompt.ids),
        n_reused_tokens=len(prefix.ids) if prefix is not None and prompt.passages else 0,
        n_output_tokens=n_output,
        complete=complete,
    )


def _checked_sentences(n_sentences: int | None, method: str) -> int:
    if n_sentences is None:
        return N_SENTENCES[method]
    remedy = f"None for the usual number, {MOST_SENTENCES} for whole passages"
    return checks.integer("n_sentences", n_sentences, low=1, high=MOST_SENTENCES, remedy=remedy)


def extract(
    question: str, passages: Sequence[Passage], llm: tuple[Any, Any], *, n_new_tokens: int = N_NEW_TOKENS
) -> Answer:
    """Let the model choose the likeliest span of the passages: `answer_from` with ``method="extract"``.

    If no span of the passages ends within ``n_new_tokens``, the text is empty and ``complete`` is False: give more.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: as `answer_from`.
    """
    return answer_from(question, passages, llm, method="extract", n_new_tokens=n_new_tokens)


def one_line(text: str) -> str:
    r"""What a model wrote as one line, without [1] to [9] or lists of them: citations are set by the program.

    >>> one_line(" 485 TWh [3]\n"), one_line("The [2024] report: [1.5 GB]")
    ('485 TWh', 'The [2024] report: [1.5 GB]')
    """
    return " ".join(_CITED.sub(" ", text).split())


def _likeliest_number(reading: Reading, tokenizer: Any, n: int) -> int:
    """Of [1] to [n] the number that the model finds likeliest behind its answer."""
    if n == 1:
        return 1
    reading.read(token_ids(tokenizer, BEFORE_NUMBER))
    assert reading.log_probabilities is not None
    scores = reading.log_probabilities
    return max(range(1, n + 1), key=lambda number: float(scores[token_ids(tokenizer, str(number))[-1]]))
