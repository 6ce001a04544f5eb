"""Equal work for the experts: two losses, and a bias that needs none.

A router that is left alone sends more and more tokens to the experts that learned first. The load-balancing loss
(arXiv:2101.03961, sec. 2.2) is taken for each layer by itself: pooled over layers, a model whose every layer uses one
expert of its own would look balanced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from greenlab.core import checks
from greenlab.core.model.gpt import LARGEST_SIZE
from greenlab.core.model.training import next_token_loss
from greenlab.mixture_of_experts.layer import MoE
from greenlab.mixture_of_experts.router import Routing


def moe_layers(model: nn.Module) -> list[tuple[int, MoE]]:
    """The mixture-of-experts layers of a model, each with the number of its block.

    Args:
        model: a `core.model.gpt.GPT`; in any other module the layers are numbered as they are found.

    Raises:
        TypeError: if ``model`` is no module.
        ValueError: if it has no `MoE`.
    """
    checks.instance("model", model, nn.Module)
    blocks = getattr(model, "blocks", None)
    if isinstance(blocks, nn.ModuleList):
        found = [(n, part) for n, block in enumerate(blocks) for part in block.modules() if isinstance(part, MoE)]
    else:
        found = list(enumerate(part for part in model.modules() if isinstance(part, MoE)))
    if not found:
        raise ValueError(
            f"model={type(model).__name__} has no MoE: make it with GPT(config, feed_forward=partial(MoE, n_experts=8))"
        )
    return found


@contextmanager
def recorded(model: nn.Module) -> Iterator[list[tuple[int, Routing]]]:
    """Collect the `Routing` of every mixture-of-experts layer that runs inside the with block.

    The list holds pairs: the number of the block, and its routing with the gradients of the pass.

    Args:
        model: holds at least one `MoE`.

    Raises:
        TypeError: if ``model`` is no module.
        ValueError: if it has no `MoE`.
    """
    found: list[tuple[int, Routing]] = []

    def keep(layer: int) -> Callable[[nn.Module, Any, Routing], None]:
        return lambda module, inputs, routing: found.append((layer, routing))

    hooks = [part.router.register_forward_hook(keep(layer)) for layer, part in moe_layers(model)]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def load_balancing_loss(scores: Tensor, experts: Tensor) -> Tensor:
    """E * sum over experts of f * P, a scalar: 1 if all have equal work, E if one has it all and the router is sure.

    f is an expert's share of the choices, P its mean score (arXiv:2101.03961, eq. 4 to 6, without alpha). f counts all
    k choices and sums to 1, so that 1 is balance whatever k is; transformers' function gives k there. Scores that do
    not sum to 1 (sigmoid) are divided by their sum first (arXiv:2412.19437, eq. 19). The gradient comes through P.

    Args:
        scores: `Routing.scores` of one layer, ``(T, E)``, 0 or more.
        experts: `Routing.experts` of that layer, ``(T, k)``; dropped choices count, as they were wanted.

    Raises:
        TypeError: if ``scores`` is no tensor of floats, or ``experts`` no tensor of int64.
        ValueError: if the shapes do not fit, a score is negative or not finite, or an expert is not from 0 to E - 1.

    >>> scores = torch.tensor([[0.9, 0.1], [0.1, 0.9]])
    >>> load_balancing_loss(scores, torch.tensor([[0], [1]]))
    tensor(1.)
    >>> load_balancing_loss(scores[:1], torch.tensor([[0]]))
    tensor(1.8000)
    """
    _check_floats("scores", scores)
    _check_experts(experts, *scores.shape)
    if not bool((scores >= 0).all()):
        raise ValueError(f"scores holds {float(scores.min()):g}: give a softmax or sigmoid, 0 or more")
    n_experts = scores.shape[1]
    share = torch.bincount(experts.flatten(), minlength=n_experts) / experts.numel()  # f, (E,)
    mean = (scores / scores.sum(-1, keepdim=True)).mean(0)  # P, (E,)
    return n_experts * (share * mean).sum()


def z_loss(logits: Tensor) -> Tensor:
    """Mean square of the logarithm of the sum of exponentials: keeps logits small (ST-MoE, arXiv:2202.08906, eq. 5).

    Args:
        logits: `Routing.logits` of one layer, ``(T, E)``.

    Raises:
        TypeError: if ``logits`` is no tensor of floats.
        ValueError: if it has another shape, or holds NaN or infinity.

    >>> z_loss(torch.zeros(3, 2))  # log(2) squared
    tensor(0.4805)
    """
    _check_floats("logits", logits)
    return logits.logsumexp(-1).square().mean()


def balanced_loss(alpha: float = 0.01, z: float = 0.001) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """A ``loss_fn`` for `core.model.training.fit`: cross-entropy, plus both losses of every layer.

    The history then holds the sum; ``val_loss`` stays the cross-entropy alone.

    Args:
        alpha: of the load-balancing loss, 0 or more (Switch and OLMoE: 0.01).
        z: of the z-loss, 0 or more (ST-MoE and OLMoE: 0.001).

    Raises:
        TypeError: if a weight is no number.
        ValueError: if it is negative or not finite.
    """
    checks.number("alpha", alpha, low=0, high=1e6)
    checks.number("z", z, low=0, high=1e6)

    def loss(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        with recorded(model) as routings:
            total = next_token_loss(model, inputs, targets)
        for _, routing in routings:
            total = total + alpha * load_balancing_loss(routing.scores, routing.experts) + z * z_loss(routing.logits)
        return total

    return loss


@torch.no_grad()
def update_bias(model: nn.Module, rate: float = 0.001) -> None:
    """Make experts with more than the mean work a little less likely to be chosen, and the others a little more.

    Loss-free balancing (arXiv:2408.15664, alg. 1): ``bias += rate * sign(mean - chosen)``, with the choices since the
    last call. Only the choice changes, so no gradient is disturbed. As an ``on_step`` of `core.model.training.fit`:
    ``on_step=lambda row: update_bias(model)``.

    Args:
        model: has been trained on at least one batch since the last call, in training mode.
        rate: of the change, above 0 (0.001 in the paper; its scores are sigmoids).

    Raises:
        TypeError: if ``model`` is no module, or ``rate`` no number.
        ValueError: if the model has no `MoE`, made no choice in training mode, or ``rate`` is out of range.
    """
    checks.number("rate", rate, above=0, high=1e3)
    for layer, part in moe_layers(model):
        chosen = part.router.chosen
        if not chosen.any():
            raise ValueError(f"model chose no expert in layer {layer}: run a batch in training mode, model.train()")
        part.router.bias += rate * torch.sign(chosen.double().mean() - chosen).to(part.router.bias.dtype)
        chosen.zero_()


def _check_floats(name: str, value: Any) -> None:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        got = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"{name} is {got}: give a tensor of floats, (T, E)")
    if value.ndim != 2 or not value.numel():
        raise ValueError(f"{name} has the shape {tuple(value.shape)}: give (T, E), both 1 or more")
    if not bool(torch.isfinite(value.detach()).all()):
        raise ValueError(f"{name} holds NaN or infinity: give finite numbers")


def _check_experts(experts: Any, n_tokens: int, n_experts: int) -> None:
    if not isinstance(experts, Tensor) or experts.dtype != torch.int64:
        got = experts.dtype if isinstance(experts, Tensor) else type(experts).__name__
        raise TypeError(f"experts is {got}: give a tensor of int64, (T, k)")
    if experts.ndim != 2 or len(experts) != n_tokens or not 1 <= experts.shape[1] <= LARGEST_SIZE:
        raise ValueError(f"experts has the shape {tuple(experts.shape)}: give ({n_tokens}, k), as scores has rows")
    low, high = int(experts.min()), int(experts.max())
    if low < 0 or high >= n_experts:
        raise ValueError(f"experts holds numbers from {low} to {high}: give 0 to {n_experts - 1}, a column of scores")
