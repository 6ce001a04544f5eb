"""The pages of the code: one a package, with every module in it, from the docstrings."""

from __future__ import annotations

from pathlib import Path

SKIPPED = ("__main__",)


def packages(root: Path) -> list[str]:
    """The packages that get a page, such as ``greenlab.layer_pruning`` and ``greenlab.core.energy``."""
    greenlab = root / "greenlab"
    found = []
    for path in sorted(greenlab.iterdir()):
        if not (path / "__init__.py").is_file():
            continue
        found.append(f"greenlab.{path.name}")
        if path.name == "core":
            found += [f"greenlab.core.{sub.parent.name}" for sub in sorted(path.glob("*/__init__.py"))]
    return found


def modules(root: Path, package: str) -> list[str]:
    """The modules of a package, itself first; packages with a page of their own are left out."""
    folder = root.joinpath(*package.split("."))
    others = [name for name in packages(root) if name != package and name.startswith(f"{package}.")]
    found = [package]
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        own = any(name == other or name.startswith(f"{other}.") for other in others)
        if (
            name != package
            and not own
            and not any(part.startswith("_") for part in (*parts[2:-1], name.split(".")[-1]))
        ):
            found.append(name)
    return found


def page(root: Path, package: str) -> str:
    """The source of a package's page."""
    parts = [f"# {package}\n"]
    for module in modules(root, package):
        title = f"## {module}\n\n" if module != package else ""
        options = "" if module == package else "   :members:\n   :ignore-module-all:\n   :member-order: bysource\n"
        parts.append(f"{title}```{{eval-rst}}\n.. automodule:: {module}\n{options}```\n")
    return "\n".join(parts)


def index(root: Path) -> str:
    """The page that lists the packages."""
    names = "\n".join(name for name in packages(root))
    return (
        "# The code\n\nEvery public function, with its arguments, its units and the paper that it follows. A chapter "
        "shows the most important ones; `greenlab.core` is what all chapters stand on, `greenlab.lab` is the toolkit "
        "of the notebooks.\n\n"
        f"```{{toctree}}\n:maxdepth: 1\n\n{names}\n```\n"
    )
