"""Dense retrieval: question and passages as vectors of one encoder, compared by their cosine (arXiv:2004.04906)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from greenlab.core import checks
from greenlab.core.assets.definitions import as_path
from greenlab.retrieval.cache import cache_folder, written
from greenlab.retrieval.corpus import UNITS, Corpus, units_of
from greenlab.retrieval.embedder import check_embedder, embed, embedder_sha256
from greenlab.retrieval.index import Index, checked_query


class DenseIndex(Index):
    """Finds passages by the cosine of an encoder's vectors.

    Args:
        corpus: the passages; title and text are embedded. What is longer than the window is read in windows, so
            that nothing is cut off.
        minilm: the encoder and its tokenizer, as `greenlab.core.assets.load_minilm` returns them.
        file: a file (``.npy``) for the vectors. If it is there, it is memory-mapped, after a check that it was made
            from this text with this encoder; if not, it is written. None keeps them in memory.
        unit: ``"sentence"``: one vector a sentence, and a passage scores as its best sentence; ``"passage"``: one
            vector a passage.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if ``file`` was made with another encoder or from another text, or cannot be read or written.
    """

    def __init__(
        self, corpus: Corpus, minilm: tuple[Any, Any], *, file: str | Path | None = None, unit: str = "sentence"
    ) -> None:
        super().__init__(corpus)
        check_embedder("minilm", minilm)
        texts, self.starts = units_of(corpus, unit)
        self.minilm = minilm
        path = None if file is None else as_path("file", file)
        if path is None:
            self.vectors = embed(texts, minilm)
            return
        if path.suffix != ".npy":
            raise ValueError(f"file={str(path)!r}: give a name that ends in .npy")
        made_from = {"corpus_sha256": corpus.sha256, "embedder_sha256": embedder_sha256(minilm), "unit": unit}
        if not path.exists():
            _write(path, embed(texts, minilm), made_from)
        self.vectors = _open(path, made_from, len(texts))

    def scores(self, query: str) -> np.ndarray:
        """Cosine of each passage with the question, ``(n_passages,)``.

        Raises:
            TypeError: if ``query`` is no text.
            ValueError: if there is no word in it.
        """
        cosines = np.asarray(self.vectors @ embed([checked_query(query)], self.minilm)[0])
        return np.maximum.reduceat(cosines, self.starts)


def dense_file(corpus: Corpus, minilm: tuple[Any, Any], *, unit: str = "sentence") -> Path:
    """The file in the cache folder for the vectors of this text with this encoder.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if ``unit`` is neither ``"sentence"`` nor ``"passage"``.
    """
    checks.instance("corpus", corpus, Corpus, remedy="Corpus.from_book()")
    unit = checks.one_of("unit", unit, UNITS)
    return cache_folder() / f"dense-{corpus.sha256[:16]}-{embedder_sha256(minilm)[:16]}-{unit}.npy"


def _write(path: Path, vectors: np.ndarray, made_from: dict[str, str]) -> None:
    try:
        with written(path.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(made_from), encoding="utf-8")
        with written(path) as temporary, temporary.open("wb") as file:
            np.save(file, vectors)
    except OSError as error:
        raise ValueError(f"file={str(path)!r} cannot be written ({error.strerror or error}): give another") from error


def _open(path: Path, made_from: dict[str, str], n_units: int) -> np.ndarray:
    remedy = "delete it, or give another file"
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        found = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"file={str(path)!r} cannot be read as an index ({error}): {remedy}") from error
    kinds = {"embedder_sha256": "with another embedder", "corpus_sha256": "from another text", "unit": "of other units"}
    for key, what in kinds.items():
        if not isinstance(found, dict) or found.get(key) != made_from[key]:
            raise ValueError(f"file={str(path)!r} was made {what}: {remedy}")
    if vectors.ndim != 2 or len(vectors) != n_units or vectors.dtype != np.float32:
        raise ValueError(f"file={str(path)!r} holds {vectors.dtype} {vectors.shape}, not {n_units} rows: {remedy}")
    return vectors
