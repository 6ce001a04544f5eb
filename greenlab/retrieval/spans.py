"""The likeliest answer among the words of the passages, found with a beam search that can only follow them.

A model that writes freely adds words of its own ("The answer is ..."), and an exact match fails on each of them. Here
it may only choose where in the passages the answer starts and where it ends. The score of a span is what the model
gives to its tokens and to an end behind them: log P(span, end | prompt).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from greenlab.core import checks
from greenlab.retrieval.corpus import Passage, sentences
from greenlab.retrieval.generate import Reading, stop_ids
from greenlab.retrieval.prompt import neutralise, token_ids

MOST_WORDS = 10  # in a span
WIDTH = 8  # beams
# between the likelihood, which prefers one word, and its mean, which prefers whole sentences; chosen on the half for
# tuning (data/studies/retrieval/choices.csv)
LENGTH_POWER = 0.25
END = -1  # in the tree of spans: an answer may end here
_OPENING, _CLOSING = "([{\"'“‘«", ")]}\"'”’»,.;:!?"
Tree = dict[int, Any]


def candidate_spans(text: str, most_words: int = MOST_WORDS) -> Iterator[str]:
    """Every run of at most ``most_words`` words within a sentence, without the marks around it.

    >>> list(candidate_spans("Yes, 3 J."))
    ['Yes', 'Yes, 3', 'Yes, 3 J', '3', '3 J', 'J']

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if ``most_words`` is out of range.
    """
    most_words = checks.integer("most_words", most_words, low=1, high=100)
    for sentence in sentences(text):
        words = sentence.split()
        for start in range(len(words)):
            for end in range(start + 1, min(start + most_words, len(words)) + 1):
                span = " ".join(words[start:end]).lstrip(_OPENING)
                span = span.rstrip(_CLOSING)
                if span.count("(") > span.count(")"):  # "152 (range 1" is no answer, "TPU v5e (2023)" is one
                    span = f"{span})" if words[end - 1].rstrip(".,;:!?").endswith(")") else ""
                if re.search(r"\w", span):
                    yield span


def span_tree(texts: Sequence[str], tokenizer: Any, most_words: int = MOST_WORDS) -> Tree:
    """All candidate spans as a tree of tokens; each span starts with a space, as words behind a colon do."""
    tree: Tree = {}
    for span in dict.fromkeys(span for text in texts for span in candidate_spans(text, most_words)):
        node = tree
        for token in token_ids(tokenizer, f" {span}"):
            node = node.setdefault(token, {})
        node[END] = span
    return tree


@torch.inference_mode()
def choose_span(
    reading: Reading,
    passages: Sequence[Passage],
    tokenizer: Any,
    n_new_tokens: int,
    *,
    width: int = WIDTH,
    length_power: float = LENGTH_POWER,
) -> tuple[str, int]:
    """Return the span that the model finds likeliest, and how many tokens it scored.

    Args:
        reading: the prompt, read to where the answer begins; it is left as it is.
        passages: whose words may be the answer.
        tokenizer: of the model.
        n_new_tokens: the longest span [tokens].
        width: how many beginnings are followed at once.
        length_power: the score is divided by (tokens + 1) to this power: 0 is the likelihood itself, which prefers
            short spans, 1 the mean over the tokens (Wu et al., arXiv:1609.08144, eq. 14, have a power as well).
    """
    tree = span_tree([neutralise(one.text, tokenizer) for one in passages], tokenizer)
    ends = _end_ids(reading.model, tokenizer)
    assert reading.log_probabilities is not None
    best_score, best_span, n_scored = -torch.inf, "", 0
    scores = reading.log_probabilities
    beams = sorted(((float(scores[token]), [token], node) for token, node in tree.items()), key=lambda beam: -beam[0])
    beams = beams[:width]
    if not beams:  # the passages hold no word
        return "", 0
    state = reading.copy()
    state.cache.batch_repeat_interleave(len(beams))
    for _ in range(n_new_tokens):
        tokens = torch.tensor([[beam[1][-1]] for beam in beams]).to(reading.model.device)
        given = {state._name: state.cache}
        output = reading.model(tokens, use_cache=True, logits_to_keep=1, **given)
        state.cache = getattr(output, state._name)
        log_probabilities = output.logits[:, -1].float().log_softmax(-1)
        n_scored += len(beams)
        following: list[tuple[float, list[int], Tree, int]] = []
        for row, (score, written, node) in enumerate(beams):
            for token, child in node.items():
                if token == END:
                    total = score + float(log_probabilities[row, ends].logsumexp(0))
                    total /= (len(written) + 1) ** length_power
                    if total > best_score:
                        best_score, best_span = total, child
                else:
                    following.append((score + float(log_probabilities[row, token]), [*written, token], child, row))
        following = sorted(following, key=lambda beam: -beam[0])[:width]
        if length_power == 0:  # without it a longer span is never likelier
            following = [beam for beam in following if beam[0] > best_score]
        if not following:
            break
        state.cache.reorder_cache(torch.tensor([row for *_, row in following]).to(reading.model.device))
        beams = [(score, written, child) for score, written, child, _ in following]
    return best_span, n_scored


def _end_ids(model: Any, tokenizer: Any) -> torch.Tensor:
    """Tokens behind which no word of the answer comes: the model's own ends, a new line, a full stop."""
    signs = [token_ids(tokenizer, sign) for sign in ("\n", ".", ".\n", "\n\n")]
    return torch.tensor(sorted({*stop_ids(model, tokenizer), *(ids[0] for ids in signs if len(ids) == 1)}))
