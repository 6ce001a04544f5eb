"""Surgery on a real language model: find its blocks, and build a smaller model out of some of them.

Works on any decoder of transformers that keeps its blocks in ``model.model.layers``, each with ``self_attn``: Llama
(SmolLM2), Qwen, Mistral, Phi and others, also where some layers are mixtures of experts and others are dense.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from greenlab.core import checks

# lists in a config that have one entry per layer
PER_LAYER_CONFIG = ("layer_types", "mlp_layer_types", "no_rope_layers", "num_attention_heads_per_layer")


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


def check_input_ids(input_ids: Tensor, vocab_size: int | None = None) -> Tensor:
    """Return token ids ``(B, S)``, or say why they cannot be used.

    Args:
        input_ids: what was given as token ids.
        vocab_size: number of tokens that the model knows; None does not look at the ids.

    Raises:
        TypeError: if it is no tensor of integers, or ``vocab_size`` no integer.
        ValueError: if ``vocab_size`` is below 1, the ids are not two-dimensional, there are none (an empty text), or
            one is not in the vocabulary.
    """
    if not isinstance(input_ids, Tensor) or input_ids.dtype not in (torch.int64, torch.int32):
        got = input_ids.dtype if isinstance(input_ids, Tensor) else type(input_ids).__name__
        raise TypeError(f"input_ids is {got}: give a tensor of token ids, int64 or int32, of the shape (batch, tokens)")
    if input_ids.ndim != 2 or input_ids.numel() == 0:
        raise ValueError(
            f"input_ids has shape {tuple(input_ids.shape)}: expected (batch, tokens) with at least one token; "
            "an empty text has none, so give it a sentence"
        )
    if vocab_size is not None:
        vocab_size = checks.integer("vocab_size", vocab_size, low=1)
        low, high = int(input_ids.min()), int(input_ids.max())
        if low < 0 or high >= vocab_size:
            raise ValueError(f"input_ids holds ids from {low} to {high}: give ids from 0 to {vocab_size - 1}")
    return input_ids


@contextmanager
def captured_states(model: nn.Module, states: list[Tensor], last: Tensor | None) -> Iterator[None]:
    """Append the input of every block, then the raw output of the last one, as unit vectors ``(T, d_model)``.

    Hooks, because ``output_hidden_states`` applies the final norm to its last entry and keeps every token of every
    layer. With ``last`` only one vector a row is kept, however long the text.

    Args:
        model: a causal language model.
        states: the list to append to.
        last: position of the last token of each row ``(B,)``; None keeps every token.

    Raises:
        TypeError: if ``states`` is no list of tensors, or ``last`` no tensor of integers.
        ValueError: if ``last`` has another shape, the model is not a decoder, or keeps its blocks elsewhere.
    """
    for state in checks.instance("states", states, list):
        checks.instance("states", state, Tensor)
    if last is not None:
        if checks.instance("last", last, Tensor).dtype not in (torch.int64, torch.int32):
            raise TypeError(f"last is {last.dtype}: give a tensor of positions, int64 or int32")
        if last.ndim != 1:
            raise ValueError(f"last has shape {tuple(last.shape)}: give one position for each row, (B,)")

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
    """Return a new model that has only the layers ``kept``, in their order; the weights are shared, not copied.

    The new model is built with the smaller config, so that every layer is renumbered: the KV cache is indexed by
    ``self_attn.layer_idx``, and a model saved with the old ``num_hidden_layers`` comes back with random layers.

    Args:
        model: a causal language model of transformers; it is not changed.
        kept: numbers of layers, increasing.

    Raises:
        TypeError: if ``kept`` is no list, or a number in it no integer.
        ValueError: if ``kept`` is empty, not strictly increasing, or names a layer that is not there, or if the model
            is not a decoder whose layers can be taken out.
    """
    n_layers = len(decoder_layers(model))
    kept = [checks.integer("kept", i) for i in checks.several("kept", kept)]
    if not kept or kept != sorted(set(kept)) or not 0 <= kept[0] <= kept[-1] < n_layers:
        raise ValueError(f"kept={kept}: expected increasing layer numbers from 0 to {n_layers - 1}, at least one")
    config = _config_of(model.config, kept)
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
    _check_layers(model, pruned, state)
    pruned.load_state_dict(state, assign=True)  # assign: the same memory, in new Parameter objects
    for name, buffer in model.named_buffers():  # those that no checkpoint holds: the rotary frequencies
        if (new := rename(name)) and new not in state:
            owner, _, attribute = new.rpartition(".")
            pruned.get_submodule(owner).register_buffer(attribute, buffer, persistent=False)
    pruned.tie_weights()
    pruned.generation_config = copy.deepcopy(model.generation_config)
    return pruned.train(model.training)


def _config_of(config: Any, kept: list[int]) -> Any:
    """The config of a model that has the layers ``kept`` only, with every setting that differs by layer.

    Mixtures of experts name their dense layers in three ways: a list of kinds (cut like the other lists), the numbers
        in
    ``mlp_only_layers`` beside every ``decoder_sparse_step``-th layer (Qwen), or the first ``first_k_dense_replace``
    (GLM, DeepSeek).
    """
    new, n_layers = copy.deepcopy(config), config.num_hidden_layers
    new.num_hidden_layers = len(kept)
    for name in PER_LAYER_CONFIG:
        if getattr(config, name, None):
            setattr(new, name, [getattr(config, name)[i] for i in kept])
    if hasattr(config, "mlp_only_layers"):
        step = getattr(config, "decoder_sparse_step", 1)
        dense = {i for i in range(n_layers) if i in (config.mlp_only_layers or ()) or (i + 1) % step}
        new.mlp_only_layers = [number for number, old in enumerate(kept) if old in dense]
        new.decoder_sparse_step = 1
    if getattr(config, "first_k_dense_replace", None) is not None:
        new.first_k_dense_replace = sum(i < config.first_k_dense_replace for i in kept)
    return new


def _check_layers(model: Any, pruned: Any, state: dict[str, Tensor]) -> None:
    """Refuse a model whose layers differ in a way that the smaller config cannot say: its tensors would not fit."""
    wanted = {name: tensor.shape for name, tensor in pruned.state_dict().items()}
    wrong = sorted(name for name in wanted.keys() | state if name not in state or wanted.get(name) != state[name].shape)
    if wrong:
        raise ValueError(
            f"model={type(model).__name__}: its layers differ from one another in a way that a smaller config cannot "
            "say "
            f"({wrong[0]} does not fit); give a model whose layers have equal parts, such as Llama or Qwen2"
        )
