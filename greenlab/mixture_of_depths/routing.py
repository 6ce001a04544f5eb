"""How a model with `MoDBlock` layers is trained to decide token by token, and what its routers chose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from greenlab.core import checks
from greenlab.core.model.gpt import at_least_float32
from greenlab.core.model.training import logits_of, mode, next_token_loss
from greenlab.mixture_of_depths.block import MoDBlock, Routing

MODES = ("top_k", "causal")


@contextmanager
def routing_mode(model: nn.Module, mode: str) -> Iterator[None]:
    """Let the layers choose the ``"top_k"`` of a text, or let each token decide (``"causal"``), inside the with block.

    Args:
        model: a model with `MoDBlock` layers.
        mode: ``"top_k"`` for training, ``"causal"`` to read a text as it is written. Writing (`GPT.generate`) and a
            pass with a cache are causal in either mode.

    Raises:
        TypeError: if ``model`` is no module, or ``mode`` no text.
        ValueError: if it has no such layer, or ``mode`` is another word.
    """
    layers = mod_layers(model)
    causal = checks.one_of("mode", mode, MODES) == "causal"
    before = {layer: layer.causal for layer in layers.values()}
    try:
        for layer in before:
            layer.causal = causal
        yield
    finally:
        for layer, was_causal in before.items():
            layer.causal = was_causal


def mod_layers(model: nn.Module) -> dict[int, MoDBlock]:
    """The layers of a model that let tokens pass by, by their number from 0.

    Args:
        model: a `core.model.gpt.GPT`, or any module that holds `MoDBlock` layers in its ``blocks``.

    Raises:
        TypeError: if ``model`` is no module.
        ValueError: if it has no such layer.
    """
    checks.instance("model", model, nn.Module)
    blocks: Any = getattr(model, "blocks", ())
    found = {i: block for i, block in enumerate(blocks) if isinstance(block, MoDBlock)}
    if not found:
        raise ValueError(f"model={type(model).__name__} has no MoDBlock: make it with GPT(config, block=mod_blocks())")
    return found


@contextmanager
def _recorded(model: nn.Module) -> Iterator[dict[int, Routing]]:
    """Fill a dict with the routing of each `MoDBlock`, by layer, during the forward pass inside the with block."""
    routings: dict[int, Routing] = {}

    def keep(layer: int) -> Callable[..., None]:
        def hook(block: MoDBlock, arguments: tuple[Any, ...]) -> None:
            routings[layer] = block.routing(arguments[0])

        return hook

    with ExitStack() as stack:
        for layer, block in mod_layers(model).items():
            stack.callback(block.register_forward_pre_hook(keep(layer)).remove)
        yield routings


def mod_loss(predictor_weight: float = 1.0, aux_weight: float = 0.01) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """Make a ``loss_fn`` for `core.model.training.fit` that also trains what decides token by token.

    It adds, as a mean over layers, the binary cross-entropy between the decider's logits and membership in the top-k
    (arXiv:2404.02258, sec. 3.5). A predictor learns beside the model and does not change it; the router's own loss does
    change it, hence the small weight.

    Args:
        predictor_weight: for layers whose decider is the predictor, 0 or more.
        aux_weight: for layers whose decider is the router, 0 or more.

    Raises:
        TypeError: if a weight is no number.
        ValueError: if it is below 0 or not finite.
    """
    checks.number("predictor_weight", predictor_weight, low=0)
    checks.number("aux_weight", aux_weight, low=0)

    def loss_fn(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        layers = mod_layers(model)
        with _recorded(model) as routings:
            loss = next_token_loss(model, inputs, targets)
        for layer, routing in routings.items():
            logits = at_least_float32(routing.logits)
            decider = F.binary_cross_entropy_with_logits(logits, routing.selected.to(logits.dtype))
            weight = aux_weight if layers[layer].predictor is None else predictor_weight
            loss = loss + weight * decider / len(routings)
        return loss

    return loss_fn


@torch.no_grad()
def selection(model: nn.Module, input_ids: Tensor) -> pd.DataFrame:
    """Give what each router made of each token: a row per sequence, position and skipping layer.

    The pass is made in the model's mode (`routing_mode`), without dropout.

    Args:
        model: a `core.model.gpt.GPT` with `MoDBlock` layers.
        input_ids: token ids ``(B, S)``, on the device of the model.

    Returns:
        The columns sequence, position, token (its id), layer, score, weight (what multiplies the block's change if the
        token enters), selected (among the top-k of the text) and predicted (it enters by its own decision).

    Raises:
        TypeError: if ``model`` is no module, or ``input_ids`` no tensor of integers.
        ValueError: if the model has no such layer, or the ids have the wrong shape or are not in the vocabulary.
    """
    layers = mod_layers(model)
    with _recorded(model) as routings, mode(model, training=False):
        logits_of(model, input_ids)
    b, s = input_ids.shape
    frames = []
    for layer, routing in routings.items():
        weights = layers[layer].weights(routing.scores)
        frames.append(
            pd.DataFrame(
                {
                    "sequence": torch.arange(b).repeat_interleave(s).numpy(),
                    "position": torch.arange(s).repeat(b).numpy(),
                    "token": input_ids.flatten().cpu().numpy(),
                    "layer": layer,
                    "score": at_least_float32(routing.scores).flatten().cpu().numpy(),
                    "weight": at_least_float32(weights).flatten().cpu().numpy(),
                    "selected": routing.selected.flatten().cpu().numpy(),
                    "predicted": (routing.logits > 0).flatten().cpu().numpy(),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)
