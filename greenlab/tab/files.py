"""The files that a reader's browser downloads: SmolLM2 in shards, its tokenizer, and what is known of each cut.

One shard a layer, one for the embedding, which is the output head as well, and the assembled kernel. A download that
was broken off goes on with the shard it had reached, and no file is larger than hosts of static pages take.
``manifest.json`` names every file with its size and sha256, and says where each matrix lies in a shard; all numbers are
little-endian.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from greenlab.core import assets, checks, studies
from greenlab.core.assets.definitions import as_path
from greenlab.core.machine import ROOT
from greenlab.tab.assemble import assemble
from greenlab.tab.quantize import GROUP, Quantized, pack_4bit, quantize_4bit, quantize_8bit

KERNEL = ROOT / "docs" / "tab" / "kernel.wat"
MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
NORMS = ("input_layernorm", "post_attention_layernorm")
METHODS = ("angular", "block_influence", "deepest")  # of chapter 6; a random choice would be no advice
ALIGNMENT = 16  # bytes: a part begins where a 128-bit register can be read from


def write_weights(folder: str | Path) -> dict[str, Any]:
    """Write the model's files for the browser and return the manifest.

    Args:
        folder: where they go; it is made if it is not there. Shards of an older build in it are replaced.

    Raises:
        TypeError: if ``folder`` is no path.
        ValueError: if it is empty.
        AssetError: if the model is not here and cannot be fetched.
        OSError: if the folder cannot be written.
        RuntimeError: if the assembler is not installed.
    """
    folder = as_path("folder", folder)
    kernel = assemble(KERNEL)
    folder.mkdir(parents=True, exist_ok=True)
    source = assets.fetch("smollm2")
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    entries, layout = [_write(folder / "kernel.wasm", kernel)], {}
    entries.append(_write(folder / "tokenizer.json", _json(tokenizer_table(source))))
    embedding = quantize_8bit(_tensor(source, "model.embed_tokens.weight"))
    shard, layout["embedding"] = _packed({"embedding": embedding, "norm": _tensor(source, "model.norm.weight")})
    entries.append(_write(folder / "embedding.bin", shard))
    for layer in range(config["num_hidden_layers"]):
        shard, layout["layer"] = _packed(layer_parts(source, layer))
        entries.append(_write(folder / f"layer-{layer:02}.bin", shard))
    manifest = {
        "model": "SmolLM2-135M-Instruct",
        "licence": "Apache-2.0",
        "config": {
            "d_model": config["hidden_size"],
            "d_ff": config["intermediate_size"],
            "n_layers": config["num_hidden_layers"],
            "n_heads": config["num_attention_heads"],
            "n_kv_heads": config["num_key_value_heads"],
            "head_dim": config["head_dim"],
            "vocab_size": config["vocab_size"],
            "rope_theta": config["rope_parameters"]["rope_theta"],
            "rms_norm_eps": config["rms_norm_eps"],
            "end_token": config["eos_token_id"],
        },
        "group": GROUP,
        "layout": layout,
        "files": entries,
        "bytes": sum(entry["bytes"] for entry in entries),
        "cuts": cuts(),
    }
    _write(folder / "manifest.json", _json(manifest))
    return manifest


def layer_parts(source: str | Path, layer: int) -> dict[str, Any]:
    """Return one layer's matrices in four bits, and its norms as float32, by name.

    Args:
        source: the folder of the model.
        layer: its number, from 0.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if ``source`` is empty, or there is no such layer.
        OSError: if the weights are not there.
    """
    source, layer = as_path("source", source), checks.integer("layer", layer, low=0)
    n_layers = json.loads((source / "config.json").read_text(encoding="utf-8"))["num_hidden_layers"]
    if layer >= n_layers:
        raise ValueError(f"layer={layer}: the model has {n_layers} layers, numbered from 0")
    prefix = f"model.layers.{layer}"
    parts: dict[str, Any] = {}
    for name in MATRICES:
        block = "self_attn" if name in ("q_proj", "k_proj", "v_proj", "o_proj") else "mlp"
        parts[name] = quantize_4bit(_tensor(source, f"{prefix}.{block}.{name}.weight"))
    return parts | {name: _tensor(source, f"{prefix}.{name}.weight") for name in NORMS}


def tokenizer_table(source: str | Path) -> dict[str, Any]:
    """Return what byte-pair encoding needs: the tokens by id, the pairs to merge in their order, the special tokens.

    ``merges`` is flat: ids ``2 i`` and ``2 i + 1`` are the two tokens of the pair of rank ``i``.

    Args:
        source: the folder of the model.

    Raises:
        TypeError: if ``source`` is no path.
        ValueError: if it is empty, or the tokenizer there is of another kind than SmolLM2's.
        OSError: if it cannot be read.
    """
    stored = json.loads((as_path("source", source) / "tokenizer.json").read_text(encoding="utf-8"))
    expected = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    if stored["normalizer"] is not None or stored["pre_tokenizer"] != expected or stored["model"]["type"] != "BPE":
        raise ValueError(f"source={source}: its tokenizer is not the byte-level BPE that docs/tab/tokenizer.js reads")
    ids = stored["model"]["vocab"]
    return {
        "tokens": sorted(ids, key=ids.__getitem__),
        "merges": [ids[token] for pair in stored["model"]["merges"] for token in pair],
        "special": [token["id"] for token in stored["added_tokens"]],
    }


def cuts() -> dict[str, list[dict[str, Any]]]:
    """Return for each way to choose layers what chapter 6 measured: one entry a cut, from none to the deepest.

    An entry holds n_removed, the layers ``dropped``, and the ``loss`` [nats/token] and ``accuracy`` of the cut model in
    float32, as data/studies/layer_pruning has them.
    """
    curve = studies.load("layer_pruning", "curve")["curve"]
    whole, unhealed = curve[curve["method"] == "none"], curve[curve["healing"] == "none"]
    found = {}
    for method in METHODS:
        rows = pd.concat([whole, unhealed[unhealed["method"] == method]]).sort_values("n_removed")
        found[method] = [
            {
                "n_removed": int(row["n_removed"]),
                "dropped": [] if row["n_removed"] == 0 else json.loads(row["dropped"]),
                "loss": float(row["loss"]),
                "accuracy": float(row["accuracy"]),
            }
            for row in rows.to_dict("records")
        ]
    return found


def _tensor(source: Path, name: str) -> Any:
    from safetensors import safe_open

    with safe_open(source / "model.safetensors", "np") as weights:
        return weights.get_tensor(name)


def _packed(parts: dict[str, Any]) -> tuple[bytes, dict[str, dict[str, int]]]:
    """A shard of parts one after another, and where each of them begins."""
    blob, layout = bytearray(), {}

    def add(values: Any, dtype: str) -> int:
        blob.extend(bytes(-len(blob) % ALIGNMENT))
        start = len(blob)
        blob.extend(np.ascontiguousarray(values).astype(dtype).tobytes())
        return start

    for name, part in parts.items():
        if not isinstance(part, Quantized):
            layout[name] = {"at": add(part, "<f4"), "length": len(part)}
            continue
        rows, columns = part.quants.shape
        entry = {"rows": rows, "columns": columns, "bits": 8 if part.minimum is None else 4}
        entry["quants"] = add(part.quants if part.minimum is None else pack_4bit(part.quants), "|i1")
        entry["scales"] = add(part.scale, "<f2")
        if part.minimum is not None:
            entry["minima"] = add(part.minimum, "<f2")
        layout[name] = entry
    return bytes(blob), layout


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _write(path: Path, content: bytes) -> dict[str, Any]:
    """Write a file so that it is there whole or not at all, and say what it is."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    os.replace(partial, path)
    return {"name": path.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
