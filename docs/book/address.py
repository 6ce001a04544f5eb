"""The public address of the repository: one setting, from which the site, README and CITATION.cff take it.

It stands in ``pyproject.toml`` under ``[tool.greenlab] repository = ""``. While it is empty, the site says how to start
the book at mybinder.org by hand.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from urllib.parse import quote

from greenlab.core.machine import ROOT

_ADDRESS = re.compile(r"https://(?P<host>github\.com|gitlab\.com|codeberg\.org)/(?P<path>[\w.-]+(?:/[\w.-]+)+?)(?:\.git)?/?")


def repository(root: Path = ROOT) -> str:
    """The address in the settings, or "" while there is none.

    Raises:
        ValueError: if it is no address of a repository.
    """
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    address = settings.get("tool", {}).get("greenlab", {}).get("repository", "")
    if address != "":
        check(address)
    return address


def check(address: object) -> re.Match[str]:
    """The parts of a repository's address.

    Raises:
        ValueError: if it is no address that mybinder.org can open.

    >>> check("https://github.com/someone/greenlab")["path"]
    'someone/greenlab'
    """
    found = _ADDRESS.fullmatch(address) if isinstance(address, str) else None
    if found is None:
        raise ValueError(
            f"repository={address!r:.120} in pyproject.toml: give https://github.com/OWNER/NAME, or one at gitlab.com or "
            'codeberg.org, or "" while there is none'
        )
    return found


def binder(address: str, notebook: str) -> str:
    """The link that opens a notebook of the repository at mybinder.org.

    >>> binder("https://github.com/someone/greenlab", "00_start_here.ipynb")
    'https://mybinder.org/v2/gh/someone/greenlab/HEAD?urlpath=lab/tree/notebooks/00_start_here.ipynb'
    >>> binder("https://gitlab.com/a/b/c", "x.ipynb")
    'https://mybinder.org/v2/gl/a%2Fb%2Fc/HEAD?urlpath=lab/tree/notebooks/x.ipynb'
    """
    found = check(address)
    way = f"HEAD?urlpath=lab/tree/notebooks/{quote(notebook)}"
    if found["host"] == "github.com":
        return f"https://mybinder.org/v2/gh/{found['path']}/{way}"
    if found["host"] == "gitlab.com":
        return f"https://mybinder.org/v2/gl/{quote(found['path'], safe='')}/{way}"
    return f"https://mybinder.org/v2/git/{quote(address, safe='')}/{way}"
