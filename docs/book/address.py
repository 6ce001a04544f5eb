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

_ADDRESS = re.compile(
    r"https://(?P<host>github\.com|gitlab\.com|codeberg\.org)/(?P<path>[\w.-]+(?:/[\w.-]+)+?)(?:\.git)?/?"
)

_MARKS = re.compile(r"(<!-- binder -->)\n.*?(<!-- /binder -->)", re.S)
FIRST = "00_start_here.ipynb"
BY_HAND = (
    "Without installing anything: paste the address of this repository at [mybinder.org](https://mybinder.org), and "
    f"`lab/tree/notebooks/{FIRST}` as the URL to open."
)


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
    # only gitlab.com has groups within groups; elsewhere a third part is a page of the repository, such as /tree/main
    if found is None or (found["host"] != "gitlab.com" and found["path"].count("/") != 1) or "/-/" in found["path"]:
        raise ValueError(
            f"repository={address!r:.120} in pyproject.toml: give https://github.com/OWNER/NAME, or one at gitlab.com "
            'or codeberg.org, or "" while there is none'
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


def site(root: Path = ROOT) -> str:
    """The public address of the site in the settings, with a slash at its end, or "" while there is none.

    Raises:
        ValueError: if it is no https address.
    """
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    address = settings.get("tool", {}).get("greenlab", {}).get("site", "")
    if address == "":
        return ""
    if not isinstance(address, str) or not re.fullmatch(r"https://[\w.-]+(/[\w./-]*)?", address):
        raise ValueError(f'site={address!r:.120} in pyproject.toml: give https://..., or "" while there is none')
    return address.rstrip("/") + "/"


def readme(text: str, address: str) -> str:
    r"""README with the line about Binder that the setting asks for.

    Args:
        text: README, which has the two marks between which the line stands.
        address: the repository's public address, or "".

    Raises:
        ValueError: if README lacks the marks.

    >>> readme("<!-- binder -->\n<!-- /binder -->", "https://github.com/someone/greenlab").splitlines()[1][:32]
    '[Start the book on mybinder.org]'
    """
    line = (
        f"[Start the book on mybinder.org]({binder(address, FIRST)}), without installing anything."
        if address
        else BY_HAND
    )
    if not _MARKS.search(text):
        raise ValueError("README.md has no <!-- binder --> ... <!-- /binder -->: add the two marks, a line each")
    return _MARKS.sub(lambda match: f"{match[1]}\n{line}\n{match[2]}", text)


def citation(text: str, address: str) -> str:
    r"""CITATION.cff with the repository's address, or without one.

    >>> citation("title: a\nlicense: MIT\n", "https://github.com/someone/greenlab").splitlines()[-1]
    'repository-code: "https://github.com/someone/greenlab"'
    """
    lines = [line for line in text.splitlines() if not line.startswith("repository-code:")]
    return "\n".join([*lines, *([f'repository-code: "{address}"'] if address else [])]) + "\n"


def main(root: Path = ROOT) -> None:
    """Write the setting into README.md and CITATION.cff."""
    address = repository(root)
    for name, change in (("README.md", readme), ("CITATION.cff", citation)):
        path = root / name
        path.write_text(change(path.read_text(encoding="utf-8"), address), encoding="utf-8")
    print(f"README.md and CITATION.cff name {address or 'no address yet'}")


if __name__ == "__main__":
    main()
