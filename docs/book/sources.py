"""Write the sources that Sphinx reads: chapters, facts, studies, pages of docs/, and the pages of the code."""

from __future__ import annotations

from pathlib import Path

import nbformat

from docs.book import address, api, bibliography, landing, tables
from docs.book.chapters import Writer
from docs.book.links import FACTS, FILES, INSTRUCTOR, STUDIES, Places, place, relink
from greenlab.core.chapters import CHAPTERS


def write(out: Path, root: Path) -> list[Path]:
    """Write every source of the site; files that have not changed keep their date, so that Sphinx skips them.

    Args:
        out: the folder of the sources; what does not belong there is removed.
        root: the repository.

    Returns:
        The files, from ``out``.
    """
    files = pages(root)
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(out.rglob("*"), reverse=True):
        if path.is_file() and path.relative_to(out).as_posix() not in files:
            path.unlink()
    for name, content in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_bytes() != content:
            path.write_bytes(content)
    return [out / name for name in files]


def pages(root: Path) -> dict[str, bytes]:
    """The files of the sources by their names."""
    parts = [page for source in (FACTS, STUDIES) for page in tables.split(source, (root / source).read_text("utf-8"))]
    places = Places(tables.anchors(parts), tables.Notes(parts), root)
    files: dict[str, bytes] = {}
    for part in parts:
        text = relink(part.text, places, part.source, part.name)
        if part.name.endswith("/index"):
            names = [other.name.partition("/")[2] for other in parts if other.source == part.source][1:]
            text = _sections_to_pages(text, names) + _hidden(names)
        files[f"{part.name}.md"] = text.encode()
    for source, page in documents(root).items():
        text = relink((root / source).read_text("utf-8"), places, source, page)
        if page.endswith("/index"):
            folder = page.removesuffix("index")
            text += _hidden(
                [one.removeprefix(folder) for one in documents(root).values() if one.startswith(folder) and one != page]
            )
        files[f"{page}.md"] = text.encode()
    repository = address.repository(root)
    notebooks = {
        chapter.name: nbformat.read(root / "notebooks" / chapter.notebook, as_version=4) for chapter in CHAPTERS
    }
    for chapter in CHAPTERS:
        text = nbformat.writes(Writer(chapter, places, repository).write(notebooks[chapter.name]))
        files[f"chapters/{chapter.notebook}"] = text.encode()
    for package in api.packages(root):
        files[f"api/{package}.md"] = api.page(root, package).encode()
    files["api/index.md"] = api.index(root).encode()
    files["bibliography.md"] = bibliography.page(root, places).encode()
    for path in sorted((root / "docs").glob("*.md")):
        files[path.name] = path.read_bytes()
    first = landing.page((root / "docs" / "index.md").read_text("utf-8"), notebooks, repository)
    files["index.md"] = first.encode()
    for name, picture in landing.drawn(notebooks).items():
        files[f"_static/pictures/{name}"] = picture
    files[landing.SCREEN] = (root / "notebooks" / "images" / "chapter_6.png").read_bytes()
    for name in sorted(places.files):
        files[f"{FILES}/{name}"] = (root / name).read_bytes()
    return files


def documents(root: Path) -> dict[str, str]:
    """The documents about data and for instructors, and the page of each; facts and studies are pages by themselves."""
    paths = [
        "data/README.md",
        *(f"data/{path.parent.name}/README.md" for path in sorted((root / "data").glob("*/README.md"))),
    ]
    paths += [INSTRUCTOR, *(f"notebooks/{path.name}" for path in sorted((root / "notebooks").glob("*.md")))]
    return {path: str(place(path)) for path in dict.fromkeys(paths) if path not in (FACTS, STUDIES)}


def _hidden(names: list[str]) -> str:
    """The pages below a page, for the sidebar and the order of reading."""
    return "\n```{toctree}\n:hidden:\n\n" + "\n".join(names) + "\n```\n"


def _sections_to_pages(text: str, names: list[str]) -> str:
    """Links to sections of a README as links to the pages that they became."""
    for name in names:
        text = text.replace(f"](#{name})", f"]({name}.md)")
    return text
