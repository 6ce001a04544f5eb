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
            from this text with this encoder; if not, it is written, and what it was made from beside it, as
            ``<name>.npy.json``. Of what lies in the cache folder (`dense_file`) a broken file is made anew; elsewhere
            it is refused. None keeps the vectors in memory.
        unit: ``"sentence"``: one vector a sentence, and a passage scores as its best sentence; ``"passage"``: one
            vector a passage.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if ``file`` was made with another encoder or from another text, cannot be read or written, or its
            ``.npy.json`` is a file of another kind.
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
        shape = (len(texts), int(minilm[0].config.hidden_size))
        if path.exists():
            try:
                self.vectors = _open(path, made_from, shape)
                return
            except ValueError:
                if path.parent != cache_folder():
                    raise
        _write(path, embed(texts, minilm), made_from)
        self.vectors = _open(path, made_from, shape)

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


def _beside(path: Path) -> Path:
    """The file that says what the vectors were made from."""
    return path.with_name(f"{path.name}.json")


def _write(path: Path, vectors: np.ndarray, made_from: dict[str, str]) -> None:
    beside = _beside(path)
    if beside.exists() and path.parent != cache_folder() and _told(beside).keys() != made_from.keys():
        raise ValueError(f"file={str(path)!r}: {beside.name} is there and is no part of an index: give another name")
    try:
        with written(beside) as temporary:
            temporary.write_text(json.dumps(made_from), encoding="utf-8")
        with written(path) as temporary, temporary.open("wb") as file:
            np.save(file, vectors)
    except OSError as error:
        raise ValueError(f"file={str(path)!r} cannot be written ({error.strerror or error}): give another") from error


def _told(beside: Path) -> dict[str, Any]:
    try:
        found = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _open(path: Path, made_from: dict[str, str], shape: tuple[int, int]) -> np.ndarray:
    remedy = "delete it, or give another file"
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"file={str(path)!r} cannot be read as an index ({error}): {remedy}") from error
    kinds = {"embedder_sha256": "with another embedder", "corpus_sha256": "from another text", "unit": "of other units"}
    found = _told(_beside(path))
    if not found:
        raise ValueError(f"file={str(path)!r}: {_beside(path).name} does not say what it was made from: {remedy}")
    for key, what in kinds.items():
        if found.get(key) != made_from[key]:
            raise ValueError(f"file={str(path)!r} was made {what}: {remedy}")
    if not isinstance(vectors, np.ndarray) or vectors.shape != shape or vectors.dtype != np.float32:
        held = f"{vectors.dtype} {vectors.shape}" if isinstance(vectors, np.ndarray) else type(vectors).__name__
        raise ValueError(f"file={str(path)!r} holds {held}, not float32 {shape}: {remedy}")
    if not np.isfinite(vectors).all():
        raise ValueError(f"file={str(path)!r} holds a value that is not finite: {remedy}")
    return vectors
