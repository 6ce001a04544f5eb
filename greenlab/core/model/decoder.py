"""Surgery on a real language model: find its blocks, and build a smaller model out of some of them.

Works on any decoder of transformers that keeps its blocks in ``model.model.layers``: Llama (SmolLM2), Qwen, Mistral, Phi.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

PER_LAYER_CONFIG = ("layer_types", "no_rope_layers")  # lists in a config with one entry per layer


def decoder_layers(model: nn.Module) -> nn.ModuleList:
    """Return the list of blocks of a causal language model; its length is ``L``.

    Raises:
        ValueError: if the model is not a decoder, or keeps its blocks elsewhere.
    """
    can_generate = getattr(model, "can_generate", lambda: False)()
    if not can_generate or getattr(model.config, "is_encoder_decoder", False):
        raise ValueError(
            f"model={type(model).__name__}: layer pruning needs a causal language model (a decoder), such as "
            "LlamaForCausalLM or Qwen2ForCausalLM; load it with AutoModelForCausalLM"
        )
    layers = getattr(model.base_model, "layers", None)
    if not isinstance(layers, nn.ModuleList) or not all(hasattr(layer, "self_attn") for layer in layers):
        raise ValueError(
            f"model={type(model).__name__}: expected its blocks in model.model.layers, each with self_attn, as in the "
            "Llama, Qwen, Mistral and Phi families; use a model of one of these"
        )
    return layers


def check_input_ids(input_ids: Tensor) -> Tensor:
    """Return token ids ``(B, S)``, or say why they cannot be used.

    Raises:
        ValueError: if the ids are not two-dimensional, or there are none (an empty text).
    """
    if input_ids.ndim != 2 or input_ids.numel() == 0:
        raise ValueError(
            f"input_ids has shape {tuple(input_ids.shape)}: expected (batch, tokens) with at least one token; "
            "an empty text has none, so give it a sentence"
        )
    return input_ids


@contextmanager
def captured_states(model: nn.Module, states: list[Tensor], last: Tensor | None) -> Iterator[None]:
    """Append the input of every block, then the raw output of the last one, as unit vectors ``(T, d_model)``.

    Hooks, because ``output_hidden_states`` applies the final norm to its last entry and keeps every token of every layer.
    With ``last`` (the position of each row's last token) only these are kept: one vector a row, however long the text.
    """

    def keep(x: Tensor) -> None:  # x: (B, S, d_model)
        x = x.detach()
        x = x.flatten(0, 1) if last is None else x[torch.arange(len(x), device=x.device), last.to(x.device)]
        # double: in float32, arccos cannot tell angles under 4e-4 from 0
        states.append(nn.functional.normalize(x.double(), dim=-1).cpu())

    def before(_: nn.Module, args: tuple, kwargs: dict) -> None:
        keep(args[0] if args else kwargs["hidden_states"])

    def after(_: nn.Module, args: tuple, output: Any) -> None:
        keep(output[0] if isinstance(output, tuple) else output)

    layers = decoder_layers(model)
    hooks = [layer.register_forward_pre_hook(before, with_kwargs=True) for layer in layers]
    hooks.append(layers[-1].register_forward_hook(after))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def keep_layers(model: Any, kept: Sequence[int]) -> Any:
    """Return a new model that has only the layers ``kept``, in their order.

    The new model is built with the smaller config, so that every layer is renumbered: the KV cache is indexed by
    ``self_attn.layer_idx``, and a model saved with the old ``num_hidden_layers`` comes back with random layers.

    Raises:
        ValueError: if ``kept`` is empty, not strictly increasing, or names a layer that is not there.
    """
    n_layers = len(decoder_layers(model))
    if not kept or list(kept) != sorted(set(kept)) or not 0 <= kept[0] <= kept[-1] < n_layers:
        raise ValueError(f"kept={list(kept)}: expected increasing layer numbers from 0 to {n_layers - 1}, at least one")
    config = copy.deepcopy(model.config)
    config.num_hidden_layers = len(kept)
    for name in PER_LAYER_CONFIG:
        if getattr(config, name, None):
            setattr(config, name, [getattr(config, name)[i] for i in kept])
    with torch.device("meta"):  # shapes only: no memory, no random numbers drawn
        pruned = type(model)(config)
    prefix = f"{model.base_model_prefix}.layers."
    new_name = {f"{prefix}{old}.": f"{prefix}{new}." for new, old in enumerate(kept)}

    def rename(name: str) -> str | None:  # None: belongs to a layer that goes
        if not name.startswith(prefix):
            return name
        number, _, rest = name.removeprefix(prefix).partition(".")
        head = new_name.get(f"{prefix}{number}.")
        return None if head is None else head + rest

    state = {new: tensor for name, tensor in model.state_dict().items() if (new := rename(name))}
    pruned.load_state_dict(state, assign=True)  # assign: the same memory, in new Parameter objects
    for name, buffer in model.named_buffers():  # those that no checkpoint holds: the rotary frequencies
        if (new := rename(name)) and new not in state:
            owner, _, attribute = new.rpartition(".")
            pruned.get_submodule(owner).register_buffer(attribute, buffer, persistent=False)
    pruned.tie_weights()
    pruned.generation_config = copy.deepcopy(model.generation_config)
    return pruned.train(model.training)
