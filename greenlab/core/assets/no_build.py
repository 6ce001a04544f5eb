"""A build backend (PEP 517) that builds nothing, so that pip can fetch a source archive without running its code.

pip asks a backend for the name and version of every source archive, also when it only downloads. setuptools would run
the archive's ``setup.py`` for that. This one answers with the name and version that were asked for. pip has compared
the archive's sha256 with ours before. ``package.py`` copies this file to where pip finds it as
``setuptools.build_meta``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


class __legacy__:  # pip asks for this name where an archive has no pyproject.toml
    """What pip calls: ``setuptools.build_meta:__legacy__``."""

    @staticmethod
    def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Any = None) -> str:
        """Write the lines that pip reads, and return the name of their folder."""
        name, version = os.environ["GREENLAB_REQUIREMENT"].split("==")
        folder = Path(metadata_directory) / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        return folder.name


prepare_metadata_for_build_wheel = __legacy__.prepare_metadata_for_build_wheel
