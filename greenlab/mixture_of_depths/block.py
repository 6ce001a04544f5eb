"""Mixture of depths (arXiv:2404.02258, sec. 3): a block that only some tokens of a text enter; the others pass by.

Real, not masked: the chosen tokens are gathered, the block computes them and nothing else, and the results are put back
where the tokens came from. Shapes in the comments: B batch, S tokens, k chosen tokens, C = d_model, D head_dim.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from greenlab.core import checks
from greenlab.core.model.gpt import (
    LARGEST_SIZE,
    Block,
    BlockPart,
    FeedForwardPart,
    GPTConfig,
    LayerCache,
    LinearPart,
    NormPart,
    RMSNorm,
)
from greenlab.mixture_of_depths.causal import Growing, pass_token_by_token

HIDDEN = 32  # width of the predictor
DECIDERS = ("predictor", "router")
WEIGHTINGS = ("score", "sigmoid")


def n_selected(capacity: float, n_tokens: int) -> int:
    """How many of ``n_tokens`` enter: ``capacity * n_tokens`` rounded down, but at least one.

    >>> [n_selected(0.125, n) for n in (512, 100, 1)], n_selected(0.29, 100)
    ([64, 12, 1], 29)

    Args:
        capacity: share of the tokens, above 0 and at most 1.
        n_tokens: 1 or more.

    Raises:
        TypeError: if an argument is no number of its kind.
        ValueError: if it is out of range.
    """
    capacity = checks.number("capacity", capacity, above=0, high=1)
    n_tokens = checks.integer("n_tokens", n_tokens, low=1, high=LARGEST_SIZE)
    return max(1, int(capacity * n_tokens + 1e-6))  # 0.29 * 100 is 28.999999999999996 in floating point


def top_k(scores: Tensor, capacity: float) -> Tensor:
    """Positions of the highest ``scores`` ``(B, S)`` of each text, in the order of the text, ``(B, k)``.

    Exactly `n_selected` of them, also where scores are equal.

    >>> top_k(torch.tensor([[0.1, 0.9, 0.3, 0.5]]), 0.5)
    tensor([[1, 3]])
    """
    k = n_selected(capacity, scores.shape[1])
    return scores.topk(k, dim=1).indices.sort(dim=1).values


@dataclass(frozen=True, eq=False)
class Routing:
    """What a `MoDBlock` makes of the tokens that reach it.

    Attributes:
        scores: the router's, ``(B, S)``; the highest of a text enter.
        selected: whether a token is among them, bool ``(B, S)``.
        logits: of the choice token by token, ``(B, S)``; a token enters where they are above 0.
    """

    scores: Tensor
    selected: Tensor
    logits: Tensor


class MoDBlock(nn.Module):
    """Let the tokens with the highest scores of a text enter ``block``: ``x = x + weight * (block(x) - x)``.

    The other tokens keep their values. The block adds its own residual, so its change is ``block(x) - x`` (eq. 1: the
    router's weight multiplies the change, which is how the router gets a gradient). Tokens keep their positions and
    attend, causally, to those that entered before them.

    A top-k over the text looks at later tokens. Where ``causal`` is set, or there is a cache, each token decides by
    itself instead (sec. 3.5), and more or fewer than ``capacity`` may enter.

    Args:
        block: a layer with its residual, called with ``(x, rotation, cache)``.
        d_model: width of a token.
        capacity: share of the tokens that enter, above 0 and at most 1.
        decider: what decides token by token: ``"predictor"``, a small network that is trained beside the model, or
            ``"router"``, the sign of the score, after an auxiliary loss. Then the router has a bias, since the scores
            of an eighth of the tokens must be above 0 and the others below.
        weighting: the router's weight is the ``"score"`` itself, as in the paper, or its ``"sigmoid"``.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if it is out of range, or the block holds experts with a capacity factor.
    """

    def __init__(
        self, block: nn.Module, d_model: int, capacity: float = 0.125, *, decider: str = "predictor",
        weighting: str = "score",
    ) -> None:  # fmt: skip
        super().__init__()
        self.block = checks.instance("block", block, nn.Module)
        # where each token decides, others of weight 0 fill the last chunk and would take the places of real ones
        if any(getattr(part, "capacity_factor", None) is not None for part in block.modules()):
            raise ValueError(
                "block holds experts with a capacity_factor: leave it out, as the tokens that enter share a call with "
                "others of weight 0"
            )
        self.d_model = checks.integer("d_model", d_model, low=1, high=LARGEST_SIZE)
        self.capacity = checks.number("capacity", capacity, above=0, high=1)
        self.weighting = checks.one_of("weighting", weighting, WEIGHTINGS)
        self.router = nn.Linear(d_model, 1, bias=checks.one_of("decider", decider, DECIDERS) == "router")
        self.predictor = _predictor(d_model) if decider == "predictor" else None
        self.causal = False

    def forward(self, x: Tensor, rotation: Tensor, cache: LayerCache | None = None) -> Tensor:
        """``(B, S, C)`` to ``(B, S, C)``, with the ``rotation`` ``(S, D / 2, 2)`` of each token's position.

        Raises:
            TypeError: if ``x`` is no tensor of floats.
            ValueError: if it has another shape.
        """
        _check_tokens(x, self.d_model)
        if self.causal or cache is not None:
            return pass_token_by_token(self, x, rotation, cache)
        scores = self.router(x).squeeze(-1)  # (B, S)
        return self.enter(x, rotation, top_k(scores, self.capacity), self.weights(scores), None)

    def routing(self, x: Tensor) -> Routing:
        """Scores and choices for tokens ``(B, S, C)``. The predictor sends no gradient into the model.

        Raises:
            TypeError: if ``x`` is no tensor of floats.
            ValueError: if it has another shape.
        """
        _check_tokens(x, self.d_model)
        scores = self.router(x).squeeze(-1)
        selected = torch.zeros_like(scores, dtype=torch.bool).scatter(1, top_k(scores, self.capacity), True)
        return Routing(scores, selected, self.logits(x))

    def logits(self, x: Tensor) -> Tensor:
        """Of the choice token by token, ``(B, S)``: where they are above 0 a token enters."""
        return (self.router(x) if self.predictor is None else self.predictor(x.detach())).squeeze(-1)

    def weights(self, scores: Tensor) -> Tensor:
        """What multiplies the block's change of each token, ``(B, S)``."""
        return scores.sigmoid() if self.weighting == "sigmoid" else scores

    def enter(
        self, x: Tensor, rotation: Tensor, chosen: Tensor, weights: Tensor, cache: LayerCache | Growing | None
    ) -> Tensor:
        """``x`` with the ``chosen`` tokens ``(B, k)`` changed by the block, each as much as its weight ``(B, S)``."""
        places = chosen[..., None].expand(-1, -1, x.shape[-1])  # (B, k, C)
        entering = x.gather(1, places)
        passed = self.block(entering, rotation[chosen], cache)
        weight = weights.gather(1, chosen)[..., None].to(passed.dtype)
        return x.scatter(1, places, torch.lerp(entering, passed, weight))  # entering + weight * (passed - entering)


def mod_blocks(
    capacity: float = 0.125, every: int = 2, *, block: BlockPart = Block, decider: str = "predictor",
    weighting: str = "score",
) -> BlockPart:  # fmt: skip
    """A ``block=`` part for `core.model.gpt.GPT`: every ``every``-th layer lets tokens pass by, the others are whole.

    The paper's best: an eighth of the tokens in every second block (sec. 4.1).

    >>> from greenlab.core.model.gpt import GPT
    >>> config = GPTConfig(vocab_size=10, n_layers=4, d_model=8, n_heads=2, d_ff=16)
    >>> [type(block).__name__ for block in GPT(config, block=mod_blocks()).blocks]
    ['Block', 'MoDBlock', 'Block', 'MoDBlock']

    Args:
        capacity: share of the tokens that enter, above 0 and at most 1.
        every: 1 for each layer, 2 for the second, fourth, and so on.
        block: makes the layers.
        decider: see `MoDBlock`.
        weighting: see `MoDBlock`.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if it is out of range.
    """
    capacity = checks.number("capacity", capacity, above=0, high=1)
    every = checks.integer("every", every, low=1, high=LARGEST_SIZE)
    checks.function("block", block)
    checks.one_of("decider", decider, DECIDERS)
    checks.one_of("weighting", weighting, WEIGHTINGS)

    def make(
        config: GPTConfig, layer: int, /, *, linear: LinearPart, feed_forward: FeedForwardPart, norm: NormPart
    ) -> nn.Module:
        whole = block(config, layer, linear=linear, feed_forward=feed_forward, norm=norm)
        if layer % every != every - 1:
            return whole
        return MoDBlock(whole, config.d_model, capacity, decider=decider, weighting=weighting)

    return make


def _predictor(d_model: int) -> nn.Module:
    """Guess from a token alone whether it is among the top-k.

    Normed, since the residual stream grows while it is trained, and narrow, since every token pays for it.
    """
    return nn.Sequential(RMSNorm(d_model), nn.Linear(d_model, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, 1))


def _check_tokens(x: Tensor, d_model: int) -> None:
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"x is {kind}: give a tensor of floats (B, S, {d_model})")
    if x.ndim != 3 or x.shape[-1] != d_model or 0 in x.shape:
        raise ValueError(
            f"x has the shape {tuple(x.shape)}: give (B, S, {d_model}), as d_model is {d_model}, not empty"
        )
