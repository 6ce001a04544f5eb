"""Retrieval-augmented generation: look passages up, and let a language model answer from them.

After Lewis et al. (arXiv:2005.11401). Everything here is real: the book is searched, the model reads what was found and
writes the answer. Its citations are numbers of passages that it was given.
"""

from greenlab.retrieval.answer import NOTHING_FOUND, Answer, answer, answer_from, extract, make_prefix, without_passages
from greenlab.retrieval.bm25 import BM25Index
from greenlab.retrieval.corpus import Corpus, Passage
from greenlab.retrieval.dense import DenseIndex, dense_file
from greenlab.retrieval.embedder import embed, embedder_sha256, mean_pooling
from greenlab.retrieval.fusion import Fusion, Ladder
from greenlab.retrieval.generate import Prefix
from greenlab.retrieval.index import Index
from greenlab.retrieval.metrics import exact_match, hit, joules_per_correct, normalise, recall_at_k, wilson_interval
from greenlab.retrieval.nearest import nearest_sentences, quote
from greenlab.retrieval.prompt import Prompt, build_prompt, neutralise
from greenlab.retrieval.questions import load_questions, relevant_passages
from greenlab.retrieval.static import StaticIndex, StaticTable, make_static_table

__all__ = [
    "NOTHING_FOUND", "Answer", "BM25Index", "Corpus", "DenseIndex", "Fusion", "Index", "Ladder", "Passage", "Prefix",
    "Prompt", "StaticIndex", "StaticTable", "answer", "answer_from", "build_prompt", "dense_file", "embed",
    "embedder_sha256", "exact_match", "extract", "hit", "joules_per_correct", "load_questions", "make_prefix",
    "make_static_table", "mean_pooling", "nearest_sentences", "neutralise", "normalise", "quote", "recall_at_k",
    "relevant_passages", "wilson_interval", "without_passages",
]  # fmt: skip
