"""Sentences as vectors, with all-MiniLM-L6-v2: mean pooling over the tokens, then length one.

A model reads at most ``window`` tokens at a time. A longer text is read in windows, whose vectors are averaged by the
number of their tokens: nothing is cut off without a word.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from greenlab.core import checks
from greenlab.retrieval.evaluating import evaluating

WINDOW = 256  # tokens; sentence-transformers sets this limit for all-MiniLM-L6-v2
BATCH_TOKENS = 2048  # in a batch, padding included


def check_embedder(name: str, minilm: Any) -> tuple[Any, Any]:
    """Return the pair of a sentence encoder and its tokenizer, or raise with the name of the argument.

    Raises:
        TypeError: if it is no such pair.
    """
    remedy = "give a pair (model, tokenizer), as greenlab.core.assets.load_minilm() returns it"
    if not isinstance(minilm, tuple) or len(minilm) != 2:
        raise TypeError(f"{name} is {type(minilm).__name__}: {remedy}")
    model, tokenizer = minilm
    if not isinstance(model, torch.nn.Module) or not callable(tokenizer) or not hasattr(tokenizer, "cls_token_id"):
        raise TypeError(f"{name} holds {type(model).__name__} and {type(tokenizer).__name__}: {remedy}")
    if tokenizer.cls_token_id is None or tokenizer.sep_token_id is None:
        raise TypeError(f"{name} holds a tokenizer without [CLS] and [SEP]: {remedy}")
    return model, tokenizer


def mean_pooling(hidden: Tensor, mask: Tensor) -> Tensor:
    """Average the vectors of the real tokens; padding does not count (Reimers and Gurevych, arXiv:1908.10084, sec. 3).

    Args:
        hidden: `(B, S, d)`, the encoder's last hidden states.
        mask: `(B, S)`, 1 for a token and 0 for padding.

    Returns:
        `(B, d)`.

    Raises:
        TypeError: if an argument is no tensor of numbers.
        ValueError: if the shapes do not fit, a value is not finite, or a row has no token.

    >>> mean_pooling(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[1, 1, 0]]))
    tensor([[2.]])
    """
    for name, value in (("hidden", hidden), ("mask", mask)):
        if not isinstance(value, Tensor) or value.dtype == torch.bool or value.is_complex():
            raise TypeError(f"{name}={value!r:.80} is {type(value).__name__}: give a tensor of numbers")
        if not bool(torch.isfinite(value).all()):
            raise ValueError(f"{name} holds a value that is not finite: give finite numbers")
    if hidden.ndim != 3 or not hidden.is_floating_point() or 0 in hidden.shape:
        raise ValueError(f"hidden has the shape {tuple(hidden.shape)} of {hidden.dtype}: give floats (B, S, d)")
    if mask.shape != hidden.shape[:2] or not bool(((mask == 0) | (mask == 1)).all()):
        raise ValueError(f"mask has the shape {tuple(mask.shape)}: give {tuple(hidden.shape[:2])} zeros and ones")
    weight = mask.to(hidden.dtype)[..., None]
    if not bool(weight.sum(1).all()):
        raise ValueError("mask has a row of zeros: give at least one token in each row")
    return (hidden * weight).sum(1) / weight.sum(1)


@torch.inference_mode()
def embed(texts: Sequence[str], minilm: tuple[Any, Any], *, window: int | None = None) -> np.ndarray:
    """Turn texts into vectors of length one; texts of about equal length share a batch, so that little is padded.

    Args:
        texts: what to embed, each with at least one word.
        minilm: the encoder and its tokenizer.
        window: tokens that are read at a time, 8 to the model's limit; None for 256, or that limit if it is less.

    Returns:
        float32 `(n_texts, d)`, the rows in the order of ``texts``.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if there is no text, one is empty, or ``window`` is out of range.
    """
    model, tokenizer = check_embedder("minilm", minilm)
    texts = checks.several("texts", texts)
    for text in texts:
        if not checks.text("texts", text).strip():
            raise ValueError("texts holds an empty text: give texts with at least one word")
    if not texts:
        raise ValueError("texts is empty: give at least one text")
    limit = int(model.config.max_position_embeddings)
    window = min(WINDOW, limit) if window is None else checks.integer("window", window, low=8, high=limit)
    ids = tokenizer(as_words(texts, tokenizer), add_special_tokens=False, verbose=False).input_ids
    room = window - 2  # for [CLS] and [SEP]
    pieces = [(row, part[start : start + room]) for row, part in enumerate(ids) for start in range(0, len(part), room)]
    pieces += [(row, [tokenizer.unk_token_id]) for row, part in enumerate(ids) if not part]
    pieces.sort(key=lambda piece: len(piece[1]))
    total = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
    start = 0
    while start < len(pieces):
        end = start + 1
        while end < len(pieces) and (end + 1 - start) * (len(pieces[end][1]) + 2) <= BATCH_TOKENS:
            end += 1
        batch = pieces[start:end]
        tokens = [torch.tensor([tokenizer.cls_token_id, *part, tokenizer.sep_token_id]) for _, part in batch]
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(one) for one in tokens], batch_first=True)
        padded = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True)  # 0 is [PAD]; the mask hides it
        with evaluating(model):  # in training mode dropout would give another vector each time
            hidden = model(input_ids=padded, attention_mask=mask).last_hidden_state
        pooled = mean_pooling(hidden, mask).float().numpy()
        for (row, part), vector in zip(batch, pooled, strict=True):
            total[row] += vector * (len(part) + 2)
        start = end
    return unit_length(total)


def as_words(texts: Sequence[str], tokenizer: Any) -> list[str]:
    """Texts in which a special token that somebody typed, such as [SEP], is letters and marks and no token.

    Args:
        texts: any texts.
        tokenizer: the encoder's, which splits words at brackets.
    """
    typed = [token for token in tokenizer.all_special_tokens if len(token) > 2]
    found = list(texts)
    for token in typed:
        found = [text.replace(token, f"{token[0]} {token[1:-1]} {token[-1]}") for text in found]
    return found


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """Rows divided by their lengths; a row of zeros stays zero.

    >>> unit_length(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length == 0, 1, length)


def embedder_sha256(minilm: tuple[Any, Any]) -> str:
    """Hash of an encoder's weights and vocabulary: a table or an index of another encoder is told by it.

    Raises:
        TypeError: if ``minilm`` is no pair of an encoder and its tokenizer.
    """
    model, tokenizer = check_embedder("minilm", minilm)
    total = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    total.update(repr(sorted(tokenizer.get_vocab().items())).encode())
    return total.hexdigest()
