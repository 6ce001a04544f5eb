"""SmolLM2 from its published 4-bit GGUF file to a folder that transformers loads: the same bytes with every version.

The weights are written out as float32, so that loading is a memory map from then on. Nothing here depends on the
version of transformers or torch, so the sha256 of each file is known before it is made (``recipes.py``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from greenlab.core import checks
from greenlab.core.assets.definitions import as_path

WEIGHTS = "model.safetensors"

# GGUF's names of the parts of a layer, and those of transformers
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_down": "mlp.down_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_norm": "post_attention_layernorm",
    "attn_k": "self_attn.k_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q": "self_attn.q_proj",
    "attn_v": "self_attn.v_proj",
}
OTHER_NAMES = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}


def published_name(gguf_name: str) -> str:
    """Return the name that transformers gives to a tensor of the GGUF file.

    Raises:
        TypeError: if ``gguf_name`` is no text.
        ValueError: if it is no name of a Llama model's tensor.

    >>> published_name("blk.3.ffn_up.weight")
    'model.layers.3.mlp.up_proj.weight'
    """
    if not isinstance(gguf_name, str):
        raise TypeError(f"gguf_name={gguf_name!r} is {type(gguf_name).__name__}: give text")
    if gguf_name in OTHER_NAMES:
        return OTHER_NAMES[gguf_name]
    parts = gguf_name.split(".")
    if len(parts) != 4 or parts[0] != "blk" or not parts[1].isdecimal() or parts[2] not in LAYER_NAMES:
        raise ValueError(f"gguf_name={gguf_name!r}: expected {', '.join(OTHER_NAMES)}, or one like blk.3.ffn_up.weight")
    return f"model.layers.{parts[1]}.{LAYER_NAMES[parts[2]]}.{parts[3]}"


def rotary_order(weight: np.ndarray, n_heads: int) -> np.ndarray:
    """Undo GGUF's order of the rows of a query or key matrix.

    GGUF puts the two dimensions that a rotary embedding turns together side by side. transformers keeps the first of
    each pair in the first half of the head, and the second in the second half.

    Args:
        weight: ``(n_heads * head_dim, d_model)``.
        n_heads: heads of queries, or of keys.

    Raises:
        TypeError: if ``n_heads`` is no whole number, or ``weight`` no array of numbers.
        ValueError: if ``weight`` is no matrix whose rows are an even number for each head.
    """
    n_heads = checks.integer("n_heads", n_heads, low=1)
    if not isinstance(weight, np.ndarray) or weight.dtype.kind not in "iuf":
        raise TypeError(f"weight is {type(weight).__name__}: give a NumPy array of numbers")
    if weight.ndim != 2 or weight.shape[0] % (2 * n_heads):
        raise ValueError(f"weight has the shape {weight.shape}: give two axes, and 2 * {n_heads} rows or a multiple")
    pairs = weight.reshape(n_heads, weight.shape[0] // n_heads // 2, 2, weight.shape[1])
    return pairs.swapaxes(1, 2).reshape(weight.shape)


def convert(gguf: Path, folder: Path) -> None:
    """Write the model and its tokenizer.

    Args:
        gguf: the published file.
        folder: where the files go; it exists.

    Raises:
        TypeError: if an argument is no path.
        OSError: if a file cannot be read or written.
    """
    gguf, folder = as_path("gguf", gguf), as_path("folder", folder)
    from gguf import GGUFReader

    reader = GGUFReader(gguf)
    lists = ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.merges")
    known = {name: field.contents() for name, field in reader.fields.items() if name not in lists}
    tokens = [bytes(part).decode() for part in _strings(reader, "tokenizer.ggml.tokens")]
    merges = [bytes(part).decode() for part in _strings(reader, "tokenizer.ggml.merges")]
    _write_weights(reader, known, folder / WEIGHTS)
    _write_json(folder / "config.json", _config(known, len(tokens)))
    _write_json(folder / "generation_config.json", _generation_config(known))
    _write_json(folder / "tokenizer.json", _tokenizer(tokens, merges))
    _write_json(folder / "tokenizer_config.json", _tokenizer_config(known, tokens))
    (folder / "chat_template.jinja").write_bytes(known["tokenizer.chat_template"].encode())


def _strings(reader: Any, name: str) -> Iterator[np.ndarray]:
    field = reader.fields[name]
    return (field.parts[index] for index in field.data)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False)
    path.write_bytes(text.encode())  # bytes: Windows would change the line ends


def _write_weights(reader: Any, known: dict[str, Any], path: Path) -> None:
    """Write the tensors in order of name, one at a time, so that no second copy of the model is in memory.

    The format: eight bytes with the length of a JSON header, the header, the numbers
    (https://huggingface.co/docs/safetensors, "Format").
    """
    from gguf import dequantize

    heads = {
        "attn_q": int(known["llama.attention.head_count"]),
        "attn_k": int(known["llama.attention.head_count_kv"]),
    }
    tensors = {published_name(tensor.name): tensor for tensor in reader.tensors}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in sorted(tensors):
        start, end = end, end + 4 * int(tensors[name].n_elements)
        shape = [int(n) for n in reversed(tensors[name].shape)]  # GGUF counts axes from the last
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the numbers start at a multiple of eight
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in sorted(tensors):
            tensor = tensors[name]
            weight = dequantize(tensor.data, tensor.tensor_type).astype("<f4").reshape(header[name]["shape"])
            part = tensor.name.split(".")[-2]
            if part in heads:
                weight = rotary_order(weight, heads[part])
            file.write(np.ascontiguousarray(weight).tobytes())


def _config(known: dict[str, Any], vocab_size: int) -> dict[str, Any]:
    n_heads, d_model = int(known["llama.attention.head_count"]), int(known["llama.embedding_length"])
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": int(known["tokenizer.ggml.bos_token_id"]),
        "dtype": "float32",
        "eos_token_id": int(known["tokenizer.ggml.eos_token_id"]),
        "head_dim": d_model // n_heads,
        "hidden_act": "silu",
        "hidden_size": d_model,
        "initializer_range": 0.02,
        "intermediate_size": int(known["llama.feed_forward_length"]),
        "max_position_embeddings": int(known["llama.context_length"]),
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": n_heads,
        "num_hidden_layers": int(known["llama.block_count"]),
        "num_key_value_heads": int(known["llama.attention.head_count_kv"]),
        "pad_token_id": int(known["tokenizer.ggml.padding_token_id"]),
        "pretraining_tp": 1,
        "rms_norm_eps": float(known["llama.attention.layer_norm_rms_epsilon"]),
        "rope_parameters": {"rope_theta": float(known["llama.rope.freq_base"]), "rope_type": "default"},
        "tie_word_embeddings": True,
        "use_cache": True,
        "vocab_size": vocab_size,
    }


def _generation_config(known: dict[str, Any]) -> dict[str, Any]:
    return {
        "_from_model_config": True,
        "bos_token_id": int(known["tokenizer.ggml.bos_token_id"]),
        "eos_token_id": int(known["tokenizer.ggml.eos_token_id"]),
        "output_attentions": False,
        "output_hidden_states": False,
        "pad_token_id": int(known["tokenizer.ggml.padding_token_id"]),
        "use_cache": True,
    }


N_SPECIAL = 17  # the first tokens of SmolLM2 are marks such as <|im_start|>, never cut into pieces


def _tokenizer(tokens: list[str], merges: list[str]) -> dict[str, Any]:
    """Byte-level byte-pair encoding, as the tokenizers library stores it."""
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    first, second = {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": index, "content": tokens[index], **plain} for index in range(N_SPECIAL)],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [first],
            "pair": [first, second],
            "special_tokens": {},
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: index for index, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in merges],
        },
    }


def _tokenizer_config(known: dict[str, Any], tokens: list[str]) -> dict[str, Any]:
    def token(kind: str) -> str:
        return tokens[int(known[f"tokenizer.ggml.{kind}_token_id"])]

    return {
        "backend": "tokenizers",
        "bos_token": token("bos"),
        "eos_token": token("eos"),
        "model_max_length": 1000000000000000019884624838656,
        "pad_token": token("padding"),
        "tokenizer_class": "TokenizersBackend",
        "unk_token": tokens[int(known["tokenizer.ggml.unknown_token_id"])],
    }
