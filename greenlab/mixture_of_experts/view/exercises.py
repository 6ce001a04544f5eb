"""Chapter 3's exercises: the choice, the visits, the size of a token's model, and a balance that sees no collapse."""

from __future__ import annotations

from random import Random
from typing import Any

import torch

from greenlab.lab.exercises import exercise


def _route(logits, top_k):  # type: ignore[no-untyped-def]
    weights, experts = logits.softmax(-1).topk(top_k)
    return experts, weights / weights.sum(-1, keepdim=True)


def _logits(random: Random) -> tuple[torch.Tensor, int]:
    shape = random.choice(((5,), (3, 4), (2, 6), (2, 3)))  # of the tokens
    n_experts = random.randint(7, 12)
    generator = torch.Generator().manual_seed(random.randrange(2**31))
    return 2 * torch.randn(*shape, n_experts, generator=generator), random.randint(2, 4)


@exercise(
    "mixture-of-experts-route",
    reference=_route,
    inputs=_logits,
    tolerance=1e-5,  # of numbers in 32 bits
    difficulty="medium",
    minutes=8,
)
def _(answer: Any) -> str | None:
    """The best experts of each token, the best first, and weights that add up to one, in proportion to the softmax."""
    logits = torch.log(torch.tensor([[0.5, 0.1, 0.3, 0.1], [0.2, 0.6, 0.05, 0.15]]))
    got = answer(logits, 2)
    if not isinstance(got, tuple) or len(got) != 2:
        return "give two tensors: the experts, then their weights"
    experts, weights = (torch.as_tensor(part) for part in got)
    if experts.is_floating_point() and not weights.is_floating_point():
        return "the experts come first, then the weights"
    if tuple(experts.shape) != (2, 2):
        return f"for two tokens and top_k=2 give experts of the shape (2, 2), yours is {tuple(experts.shape)}"
    if experts.tolist() != [[0, 2], [1, 0]]:
        best = "the best two of (0.5, 0.1, 0.3, 0.1) and (0.2, 0.6, 0.05, 0.15) are (0, 2) and (1, 0)"
        return f"{best}, not {experts.tolist()}"
    sums = weights.sum(-1).tolist()
    if abs(sums[0] - 0.8) < 1e-4:
        return "the weights of a token add up to 0.8 and 0.8: divide by their sum, so that they add up to one"
    if max(abs(s - 1) for s in sums) > 1e-4:
        return f"the weights of each token add up to one; yours add up to {sums[0]:.3g} and {sums[1]:.3g}"
    first = float(weights[0, 0])
    if abs(first - 0.625) > 1e-4:
        return f"of the weights 0.5 and 0.3 the first becomes 0.5 / 0.8 = 0.625, yours is {first:.3g}"
    return None


def _visited(n_experts, top_k, n_tokens):  # type: ignore[no-untyped-def]
    left_out = (1 - top_k / n_experts) ** n_tokens
    return n_experts * (1 - left_out)


def _crowd(random: Random) -> tuple[int, int, int]:
    n_experts = random.choice((8, 16, 64, 128, 256))
    return n_experts, random.randint(1, n_experts // 4), random.randint(1, 3 * n_experts // 8)


@exercise(
    "mixture-of-experts-visited",
    reference=_visited,
    inputs=_crowd,
    tolerance=1e-5,  # of numbers in 32 bits
    difficulty="easy",
    minutes=6,
    hints=(
        "A token leaves a given expert out with probability 1 - top_k / n_experts. And n tokens, one after the other?",
    ),
)
def _(answer: Any) -> str | None:
    """One token visits top_k experts, very many tokens visit all, and four tokens of Mixtral visit 5.5 of 8."""
    one, many, four = answer(8, 2, 1), answer(8, 2, 1000), answer(8, 2, 4)
    if abs(one - 2) > 1e-4:
        return f"a single token visits top_k = 2 of 8 experts, yours says {one:.4g}"
    if many > 8 + 1e-4:
        return f"1,000 tokens cannot visit {many:,.0f} of 8 experts: two tokens often go to the same one"
    if abs(four - 8) < 1e-4:
        return "four tokens times two experts are eight visits, but not to eight different experts"
    if abs(four - 5.46875) > 1e-4:
        return f"four tokens visit 8 (1 - 0.75^4) = 5.47 of 8 experts on average, yours says {four:.4g}"
    return None


def _active_billions() -> float:
    expert = 3 * 4096 * 14336
    return (32 * 2 * expert + 1.6e9) / 1e9


@exercise("mixture-of-experts-active", worked=_active_billions, tolerance=0.0025, difficulty="easy", minutes=6)
def _(answer: Any) -> str | None:
    """Two experts in each of 32 layers, and what all tokens share: 12.9 billion, of 46.7 in memory."""
    got = float(answer)
    if got > 1e9:
        return "give billions: divide by 1e9"
    if 46 < got < 47.5:
        return "that is what must be in memory; a token uses two of the eight experts of a layer"
    if 13.9 < got < 14.1:
        return "a name is no count: each expert has 3 x 4,096 x 14,336 weights in each layer"
    if 11.2 < got < 11.35:
        return "attention and embeddings, 1.6 billion, are used by every token as well"
    if 7.2 < got < 7.3:
        return "that is one expert for each token; Mixtral uses two"
    if 8.3 < got < 9.4:
        return "each expert has three matrices: gate, up and down"
    if not 12.8 < got < 12.95:
        return f"{got:g}: 32 layers, two experts each, 3 x 4,096 x 14,336 weights an expert, and 1.6 billion others"
    return None


def _balancing_loss(chosen, scores):  # type: ignore[no-untyped-def]
    product = chosen * scores
    n_layers, n_experts = product.shape
    return n_experts * product.sum() / n_layers


def _balancing_loss_with_bug(chosen, scores):  # type: ignore[no-untyped-def]
    product = chosen.mean(0) * scores.mean(0)
    return len(product) * product.sum()


def _shares(random: Random) -> tuple[torch.Tensor, torch.Tensor]:
    shape = random.randint(2, 5), random.randint(6, 9)
    generator = torch.Generator().manual_seed(random.randrange(2**31))
    chosen, scores = 3 * torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    return chosen.softmax(-1), scores.softmax(-1)


@exercise(
    "mixture-of-experts-find-the-bug",
    reference=_balancing_loss,
    inputs=_shares,
    bug=_balancing_loss_with_bug,
    difficulty="medium",
    minutes=10,
    hints=("Two layers, two experts: layer 0 sends all to expert 0, layer 1 all to expert 1. What should come out?",),
)
def _(answer: Any) -> str | None:
    """Each layer is judged by itself: layers that collapse onto different experts do not make up for each other."""
    even, collapsed = torch.full((2, 2), 0.5), torch.eye(2)
    balanced, broken = float(answer(even, even)), float(answer(collapsed, collapsed))
    if abs(balanced - 2) < 1e-6 and abs(broken - 4) < 1e-6:
        return "the layers' losses are added up; take their mean, so that balance is 1 at any depth"
    if abs(balanced - 1) > 1e-6:
        return f"two layers in perfect balance give 1, yours gives {balanced:.4g}"
    if abs(broken - 1) < 1e-6:
        return (
            "two layers that each use a single expert give 1, as good as balance: the layers are averaged before the "
            "product, and one layer's idle expert is the other's busy one"
        )
    if abs(broken - 2) > 1e-6:
        return f"two layers that each use one of two experts give 2, yours gives {broken:.4g}"
    return None
