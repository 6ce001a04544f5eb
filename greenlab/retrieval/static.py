"""Static vectors: one vector for each token of the vocabulary, made once from MiniLM, and no model at all afterwards.

After Model2Vec (Tulkens and van Dongen, 2024, github.com/MinishLab/model2vec): every token passes the encoder alone, as
[CLS] token [SEP]; the first principal components of the outputs are kept; frequent tokens count less. The vocabulary
is sorted by frequency, so a token's number stands for its rank: a vector is multiplied with ln(2 + rank). A text is the
mean of its tokens' vectors, which costs a table look-up for each token.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from greenlab.core import checks
from greenlab.core.assets.definitions import as_path
from greenlab.retrieval.cache import cache_folder, written
from greenlab.retrieval.corpus import Corpus, units_of
from greenlab.retrieval.embedder import as_words, check_embedder, embedder_sha256, mean_pooling, unit_length
from greenlab.retrieval.evaluating import evaluating
from greenlab.retrieval.index import Index, checked_query

DIMENSIONS = 256
BATCH = 1024


@dataclass(frozen=True)
class StaticTable:
    """One vector for each token.

    Args:
        vectors: float32 `(vocab_size, d)`.
        tokenizer: the encoder's tokenizer.
        embedder_sha256: hash of the encoder that it was made from.

    Raises:
        TypeError: if ``vectors`` is no array of numbers, ``tokenizer`` cannot be called or the hash is no text.
        ValueError: if the vectors are not finite, or not as many as the tokenizer has tokens.
    """

    vectors: np.ndarray
    tokenizer: Any
    embedder_sha256: str

    def __post_init__(self) -> None:
        values = checks.numbers("vectors", self.vectors, ndim=2).astype(np.float32)
        checks.function("tokenizer", self.tokenizer, remedy="the encoder's tokenizer")
        checks.text("embedder_sha256", self.embedder_sha256, remedy="embedder_sha256(minilm)")
        size = len(self.tokenizer)
        if len(values) != size:
            raise ValueError(f"vectors has {len(values)} rows and the tokenizer {size} tokens: give one row a token")
        object.__setattr__(self, "vectors", values)

    def embed(self, texts: list[str]) -> np.ndarray:
        """Texts as vectors of length one, float32 `(n_texts, d)`; a text without a token is a row of zeros.

        Raises:
            TypeError: if ``texts`` is no list of texts.
            ValueError: if it is empty.
        """
        texts = [checks.text("texts", text) for text in checks.several("texts", texts)]
        if not texts:
            raise ValueError("texts is empty: give at least one text")
        ids = self.tokenizer(as_words(texts, self.tokenizer), add_special_tokens=False, verbose=False).input_ids
        return unit_length(np.stack([self.vectors[row].sum(0) if row else self._nothing() for row in ids]))

    def _nothing(self) -> np.ndarray:
        return np.zeros(self.vectors.shape[1], dtype=np.float32)


@torch.inference_mode()
def token_outputs(minilm: tuple[Any, Any]) -> np.ndarray:
    """What the encoder gives for every token of its vocabulary alone: mean over [CLS] token [SEP], `(vocab_size, d)`.

    Raises:
        TypeError: if ``minilm`` is no pair of an encoder and its tokenizer.
    """
    model, tokenizer = check_embedder("minilm", minilm)
    ids = torch.arange(len(tokenizer))
    rows = torch.stack(
        [torch.full_like(ids, tokenizer.cls_token_id), ids, torch.full_like(ids, tokenizer.sep_token_id)]
    )
    outputs = []
    for batch in rows.T.contiguous().split(BATCH):
        mask = torch.ones_like(batch)
        with evaluating(model):
            hidden = model(input_ids=batch, attention_mask=mask).last_hidden_state
        outputs.append(mean_pooling(hidden, mask).float().numpy())
    return np.concatenate(outputs)


def principal_components(vectors: np.ndarray, n: int) -> np.ndarray:
    """Rows seen along the ``n`` directions in which they vary most; each row's mean over all rows is taken off first.

    Args:
        vectors: `(rows, d)`.
        n: at most d.

    Returns:
        float32 `(rows, n)`; the sign of a column is such that its largest entry in the direction is positive.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if a value is not finite or a number out of range.

    >>> principal_components(np.array([[0.0, 3.0], [1.0, 3.0], [2.0, 3.0]]), 1).round(1).tolist()
    [[-1.0], [0.0], [1.0]]
    """
    values = checks.numbers("vectors", vectors, ndim=2, remedy="one row a token")
    n = checks.integer("n", n, low=1, high=values.shape[1])
    centred = values - values.mean(0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    directions = directions[:, ::-1][:, :n]
    largest = np.abs(directions).argmax(0)
    directions = directions * np.sign(directions[largest, np.arange(n)])
    return (centred @ directions).astype(np.float32)


def make_static_table(
    minilm: tuple[Any, Any], *, dimensions: int = DIMENSIONS, file: str | Path | None = None, again: bool = False
) -> StaticTable:
    """Return the table of an encoder; it is made once, in about 20 s on one core, and then read from disk.

    Args:
        minilm: the encoder and its tokenizer.
        dimensions: principal components to keep, at most the encoder's own.
        file: where it is kept; None for the cache folder, under the hash of the encoder.
        again: make it anew, also if it is there.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if ``dimensions`` is out of range, or ``file`` holds the table of another encoder.
    """
    model, tokenizer = check_embedder("minilm", minilm)
    dimensions = checks.integer("dimensions", dimensions, low=1, high=int(model.config.hidden_size))
    again = checks.flag("again", again)
    made_from = embedder_sha256(minilm)
    path = (
        cache_folder() / f"static-{made_from[:16]}-{dimensions}.safetensors" if file is None else as_path("file", file)
    )
    if path.is_file() and not again:
        return StaticTable(_read(path, made_from, dimensions, own=file is None), tokenizer, made_from)
    rank = np.arange(len(tokenizer), dtype=np.float32)
    vectors = principal_components(token_outputs(minilm), dimensions) * np.log(2 + rank)[:, None]
    try:
        with written(path) as temporary:
            save_file({"vectors": vectors}, temporary, {"embedder_sha256": made_from, "format": "1"})
    except OSError as error:
        if file is not None:
            raise ValueError(f"file={str(path)!r} cannot be written ({error.strerror or error})") from error
    return StaticTable(vectors, tokenizer, made_from)


def _read(path: Path, made_from: str, dimensions: int, *, own: bool) -> np.ndarray:
    remedy = "delete it" if own else "delete it, give another file or again=True"
    try:
        with safe_open(path, framework="np") as file:
            found = (file.metadata() or {}).get("embedder_sha256")
            vectors = file.get_tensor("vectors")
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"file={str(path)!r} cannot be read as a table of vectors ({error}): {remedy}") from error
    if found != made_from:
        raise ValueError(f"file={str(path)!r} was made with another embedder ({str(found)[:12]}): {remedy}")
    if vectors.shape[1] != dimensions:
        raise ValueError(f"file={str(path)!r} holds {vectors.shape[1]} dimensions, dimensions={dimensions}: {remedy}")
    return vectors


class StaticIndex(Index):
    """Finds passages by the cosine of summed token vectors: no model runs.

    Args:
        corpus: the passages; title and text are embedded.
        table: from `make_static_table`.
        unit: ``"sentence"``: one vector a sentence, and a passage scores as its best sentence; ``"passage"``: one
            vector a passage.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if ``unit`` is another word.
    """

    def __init__(self, corpus: Corpus, table: StaticTable, *, unit: str = "sentence") -> None:
        super().__init__(corpus)
        self.table = checks.instance("table", table, StaticTable, remedy="make_static_table(minilm)")
        texts, self.starts = units_of(corpus, unit)
        self.vectors = table.embed(texts)

    def scores(self, query: str) -> np.ndarray:
        """Cosine of each passage with the question, ``(n_passages,)``.

        Raises:
            TypeError: if ``query`` is no text.
            ValueError: if there is no word in it.
        """
        return np.maximum.reduceat(self.vectors @ self.table.embed([checked_query(query)])[0], self.starts)
