"""The models that a service may use, as shapes: their sizes decide what they cost.

The sizes are those of the models' own configuration files; a test compares them with the shapes of chapter 2 and of the
accelerator's study.
"""

from __future__ import annotations

from dataclasses import dataclass

from greenlab.core import checks
from greenlab.core.model.cost import TransformerShape
from greenlab.core.names import unknown

KINDS = ("dense", "distilled", "mixture of experts")


@dataclass(frozen=True)
class Model:
    """A model by name.

    Attributes:
        name: as its makers call it.
        kind: "dense", "distilled" or "mixture of experts".
        shape: its sizes.
        measured: whether its joules were measured on an accelerator in the book's study.
        score: the fact with its accuracy on MMLU, the benchmark that is published for all of them.
        training: the fact with the accelerator hours or the tokens of its training, or "" where none is published.
        remark: what a reader has to know.

    Raises:
        TypeError: if a field is of another kind.
        ValueError: if the kind is unknown.
    """

    name: str
    kind: str
    shape: TransformerShape
    measured: bool
    score: str
    training: str
    remark: str

    def __post_init__(self) -> None:
        for field in ("name", "score", "training", "remark"):
            checks.text(field, getattr(self, field))
        checks.one_of("kind", self.kind, KINDS)
        checks.instance("shape", self.shape, TransformerShape)
        checks.flag("measured", self.measured)


_LLAMA_8B = TransformerShape(32, 4096, 32, 8, 128, 14_336, 128_256)
_LLAMA_1B = TransformerShape(16, 2048, 32, 8, 64, 8192, 128_256, tied_embeddings=True)
_LLAMA_70B = TransformerShape(80, 8192, 64, 8, 128, 28_672, 128_256)
_MINITRON = TransformerShape(32, 3072, 32, 8, 128, 9216, 128_256)
_MIXTRAL = TransformerShape(32, 4096, 32, 8, 128, 14_336, 32_000, n_experts=8, top_k=2)
_QWEN = TransformerShape(48, 2048, 32, 4, 128, 6144, 151_936, qk_norm=True, n_experts=128, top_k=8, d_expert=768)
_SMOLLM2 = TransformerShape(30, 576, 9, 3, 64, 1536, 49_152, tied_embeddings=True)
_DISTILLED = "pruned from the 8B model and taught by it"
_TABLE: tuple[tuple[str, str, TransformerShape, bool, str, str, str], ...] = (
    # name, kind, shape, measured, score, training, remark
    ("Llama-3.1-8B", "dense", _LLAMA_8B, True, "mmlu-llama3p1-8b", "llama3p1-8b-gpu-hours", "measured on an H100"),
    ("Llama-3.1-70B", "dense", _LLAMA_70B, False, "mmlu-llama3p1-70b", "llama3p1-70b-gpu-hours", "the largest here"),
    ("Llama-3.1-Minitron-4B", "distilled", _MINITRON, False, "mmlu-minitron-4b", "minitron-4b-tokens", _DISTILLED),
    ("Llama-3.2-1B", "distilled", _LLAMA_1B, True, "mmlu-llama3p2-1b", "llama3p2-1b-gpu-hours", "measured on an H100"),
    ("Mixtral-8x7B", "mixture of experts", _MIXTRAL, False, "mmlu-mixtral-8x7b", "", "8 experts, 2 for a token"),
    ("Qwen3-30B-A3B", "mixture of experts", _QWEN, False, "mmlu-qwen3-30b-a3b", "qwen3-30b-a3b.training_tokens",
     "128 experts, 8 for a token"),
    ("SmolLM2-135M", "dense", _SMOLLM2, True, "mmlu-smollm2-135m", "smollm2-135m-tokens", "the model of this book"),
)  # fmt: skip
MODELS = {row[0]: Model(*row) for row in _TABLE}


def model(name: str) -> Model:
    """One of the models by its name.

    >>> model("Mixtral-8x7B").kind
    'mixture of experts'

    Raises:
        TypeError: if the name is no text.
        ValueError: if there is no such model; the message lists the nearest names.
    """
    checks.text("name", name)
    if name not in MODELS:
        raise unknown("model name", name, MODELS)
    return MODELS[name]
