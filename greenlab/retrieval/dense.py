"""Dense retrieval: question and passages as vectors of one encoder, compared by their cosine (arXiv:2004.04906)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from greenlab.core import checks
from greenlab.core.assets.definitions import as_path
from greenlab.retrieval.cache import cache_folder, written
from greenlab.retrieval.corpus import Corpus
from greenlab.retrieval.embedder import check_embedder, embed, embedder_sha256
from greenlab.retrieval.index import Index, checked_query


class DenseIndex(Index):
    """Finds passages by the cosine of an encoder's vectors.

    Args:
        corpus: the passages; title and text are embedded. A passage longer than the encoder's window is read in
            windows, so that nothing is cut off.
        minilm: the encoder and its tokenizer, as `greenlab.core.assets.load_minilm` returns them.
        file: a file (``.npy``) for the vectors. If it is there, it is memory-mapped, after a check that it was made
            from this text with this encoder; if not, it is written. None keeps them in memory.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if ``file`` was made with another encoder or from another text, or cannot be read or written.
    """

    def __init__(self, corpus: Corpus, minilm: tuple[Any, Any], *, file: str | Path | None = None) -> None:
        super().__init__(corpus)
        check_embedder("minilm", minilm)
        self.minilm = minilm
        path = None if file is None else as_path("file", file)
        if path is None:
            self.vectors = embed([one.with_title for one in corpus], minilm)
            return
        if path.suffix != ".npy":
            raise ValueError(f"file={str(path)!r}: give a name that ends in .npy")
        made_from = {"corpus_sha256": corpus.sha256, "embedder_sha256": embedder_sha256(minilm)}
        if not path.exists():
            _write(path, embed([one.with_title for one in corpus], minilm), made_from)
        self.vectors = _open(path, made_from, len(corpus))

    def scores(self, query: str) -> np.ndarray:
        """Cosine of each passage with the question, ``(n_passages,)``.

        Raises:
            TypeError: if ``query`` is no text.
            ValueError: if there is no word in it.
        """
        return np.asarray(self.vectors @ embed([checked_query(query)], self.minilm)[0])


def dense_file(corpus: Corpus, minilm: tuple[Any, Any]) -> Path:
    """The file in the cache folder for the vectors of this text with this encoder.

    Raises:
        TypeError: if an argument is of another type.
    """
    checks.instance("corpus", corpus, Corpus, remedy="Corpus.from_book()")
    return cache_folder() / f"dense-{corpus.sha256[:16]}-{embedder_sha256(minilm)[:16]}.npy"


def _write(path: Path, vectors: np.ndarray, made_from: dict[str, str]) -> None:
    try:
        with written(path.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(made_from), encoding="utf-8")
        with written(path) as temporary, temporary.open("wb") as file:
            np.save(file, vectors)
    except OSError as error:
        raise ValueError(f"file={str(path)!r} cannot be written ({error.strerror or error}): give another") from error


def _open(path: Path, made_from: dict[str, str], n_passages: int) -> np.ndarray:
    remedy = "delete it, or give another file"
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        found = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"file={str(path)!r} cannot be read as an index ({error}): {remedy}") from error
    for key, what in (("embedder_sha256", "with another embedder"), ("corpus_sha256", "from another text")):
        if not isinstance(found, dict) or found.get(key) != made_from[key]:
            raise ValueError(f"file={str(path)!r} was made {what}: {remedy}")
    if vectors.ndim != 2 or len(vectors) != n_passages or vectors.dtype != np.float32:
        raise ValueError(f"file={str(path)!r} holds {vectors.dtype} {vectors.shape}, not {n_passages} rows: {remedy}")
    return vectors
