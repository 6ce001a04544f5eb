"""The shapes that are measured: whole models as `GPTConfig`, mixture-of-experts layers as four numbers."""

from __future__ import annotations

from dataclasses import dataclass

from greenlab.core import checks
from greenlab.core.model.gpt import GPTConfig

BYTES_PER_VALUE = 2  # bfloat16

# From each model's config.json; data/facts/models.csv holds the same numbers with their sources.
MODELS = {
    "Llama-3.1-8B": GPTConfig(
        vocab_size=128_256,
        context_length=32_768,
        n_layers=32,
        d_model=4096,
        n_heads=32,
        n_kv_heads=8,
        d_ff=14_336,
        tied_embeddings=False,
        rope_theta=500_000.0,
    ),
    "Llama-3.2-1B": GPTConfig(
        vocab_size=128_256,
        context_length=32_768,
        n_layers=16,
        d_model=2048,
        n_heads=32,
        n_kv_heads=8,
        d_ff=8192,
        rope_theta=500_000.0,
    ),
    "SmolLM2-135M": GPTConfig(
        vocab_size=49_152,
        context_length=8192,
        n_layers=30,
        d_model=576,
        n_heads=9,
        n_kv_heads=3,
        d_ff=1536,
        rope_theta=100_000.0,
    ),
}


@dataclass(frozen=True)
class ExpertLayer:
    """One mixture-of-experts layer: ``n_experts`` SwiGLU experts of width ``d_ff``, and a token visits ``top_k``.

    Attributes:
        d_model: values that stand for a token.
        d_ff: width of each expert.
        n_experts: experts of the layer.
        top_k: experts that a token visits.

    Raises:
        TypeError: if one of them is no whole number.
        ValueError: if one is below 1, or a token visits more experts than there are.
    """

    d_model: int
    d_ff: int
    n_experts: int
    top_k: int

    def __post_init__(self) -> None:
        for name in ("d_model", "d_ff", "n_experts"):
            checks.integer(name, getattr(self, name), low=1)
        checks.integer("top_k", self.top_k, low=1, high=self.n_experts, remedy="at most n_experts")

    @property
    def weight_bytes(self) -> int:
        """Memory of all experts in bfloat16 [B].

        >>> ExpertLayer(4096, 14336, 8, 2).weight_bytes / 1e9
        2.818572288
        """
        return 3 * self.n_experts * self.d_model * self.d_ff * BYTES_PER_VALUE


# Mixtral: arXiv:2401.04088, table 1. Qwen3: arXiv:2505.09388 and its config.json.
# DeepSeek-V3: arXiv:2412.19437, sec. 4.2.
EXPERT_LAYERS = {
    "Mixtral-8x7B": ExpertLayer(4096, 14_336, 8, 2),
    "Qwen3-30B-A3B": ExpertLayer(2048, 768, 128, 8),
    "DeepSeek-V3": ExpertLayer(7168, 2048, 256, 8),
}


def weight_bytes(config: GPTConfig) -> int:
    """Memory of a model's weights in bfloat16 [B].

    >>> round(weight_bytes(MODELS["Llama-3.1-8B"]) / 1e9, 1)
    16.1
    """
    from greenlab.core.model import cost

    return cost.parameters(config.shape).total * BYTES_PER_VALUE


def cache_bytes(config: GPTConfig, batch: int, context: int) -> int:
    """Memory of a key-value cache in bfloat16 [B], for ``batch`` sequences of ``context`` tokens.

    >>> cache_bytes(MODELS["Llama-3.1-8B"], 8, 32_768) / 1e9
    34.359738368
    """
    shape = config.shape
    return 2 * shape.n_layers * batch * shape.n_kv_heads * context * shape.head_dim * BYTES_PER_VALUE
