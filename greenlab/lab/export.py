"""The book as web pages: every chart is drawn and moves, without a kernel, a server or a network.

``python -m greenlab.lab.export html`` (or ``make html``) writes one page a notebook, the pages of data/ that they link
to, and one JavaScript file with Vega. nbconvert alone draws no chart of this book and loads its scripts from the
network.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from traitlets import default

from greenlab.core.machine import ROOT
from greenlab.lab.renderer import MIME
from greenlab.lab.side_roads import side_roads

SCRIPT = "vega.js"
VEGA_LITE = "5.21"  # the newest of version 5 that vl-convert carries
WIDGET = "application/vnd.jupyter.widget-view+json"
PAGES = ("data/README.md", "data/facts/README.md", "data/studies/README.md", "data/grid/README.md")
_FILE_LINK = re.compile(r'href="(?![a-z][\w+.-]*:|#|/)([^"#]+)(#[^"]*)?"', re.I)
_HEAD_SCRIPT = re.compile(r"<script\b.*?</script>", re.S)
DRAW = """
for (const box of document.querySelectorAll(".greenlab-chart")) {
  const spec = JSON.parse(box.querySelector("script").textContent);
  greenlabEmbed(box.querySelector("div"), spec).catch(error => { box.append(String(error)); });
}
// a chart in a fold that is closed does not know its width: it is asked again when the fold opens
document.addEventListener("toggle", () => window.dispatchEvent(new Event("resize")), true);
"""


class _MathRenderer(IPythonRenderer):
    """Markdown whose formulas become MathML, which browsers draw by themselves."""

    def block_math(self, body: str) -> str:
        return _mathml(body, "block")

    def inline_math(self, body: str) -> str:
        return _mathml(body, "inline")


def _mathml(tex: str, display: str) -> str:
    from latex2mathml.converter import convert

    return str(convert(tex.strip(), display=display))


def markdown(source: str) -> str:
    """Markdown as a part of a web page, its formulas as MathML, which browsers draw by themselves.

    Args:
        source: Markdown as in a notebook's cell, with formulas between dollar signs.

    Raises:
        TypeError: if it is no text.

    >>> "<math" in markdown("The loss falls by $2^n$.")
    True
    """
    if not isinstance(source, str):
        raise TypeError(f"source={source!r:.80} is {type(source).__name__}: give text")
    return str(MarkdownWithMath(renderer=_MathRenderer(escape=False)).render(source))


# nbconvert's own page, and a fold around each side road, under the words of its heading
TEMPLATE = """{%- extends 'lab/index.html.j2' -%}
{%- block any_cell -%}
{%- if cell.metadata.fold -%}<details><summary>{{ cell.metadata.fold | e }}</summary>{%- endif -%}
{{ super() }}
{%- if cell.metadata.fold_ends -%}</details>{%- endif -%}
{%- endblock -%}
"""


class _BookExporter(HTMLExporter):
    """nbconvert's page with our charts, our formulas, our folds, and none of its scripts."""

    raw_template = TEMPLATE

    @default("template_name")
    def _template_name_default(self) -> str:
        return "lab"

    @default("embed_images")
    def _embed_images_default(self) -> bool:
        return True

    def default_filters(self) -> Any:
        yield from super().default_filters()
        yield ("markdown2html", markdown)


def _chart(spec: dict[str, Any]) -> str:
    data = json.dumps(spec, ensure_ascii=False).replace("</", "<\\/")
    return f'<div class="greenlab-chart"><div></div><script type="application/json">{data}</script></div>'


def _live(words: str) -> str:
    said = html.escape(re.sub(r"^\[(\w[\w ]*)\]\s*", "", words))
    return (
        '<p class="greenlab-live" style="border-left:4px solid #0072B2;padding:6px 10px;line-height:1.5">'
        "This part needs Python: open the notebook in JupyterLab (<code>make lab</code>) to use it. "
        f"<small>{said}</small></p>"
    )


def _drawn(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with HTML in place of charts, and with a sentence in place of what needs a kernel."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if MIME in data:
                output["data"] = {"text/html": _chart(data[MIME])}
            elif WIDGET in data:
                output["data"] = {"text/html": _live(data.get("text/plain", ""))}
    for road in side_roads(notebook):
        first, last = notebook.cells[road.start], notebook.cells[road.stop - 1]
        first.metadata["fold"], last.metadata["fold_ends"] = _heading(first.source), True
    return notebook


def _heading(text: str) -> str:
    return re.sub(r"[`*]", "", text.lstrip("#").strip().partition("\n")[0])


def page(notebook: nbformat.NotebookNode, title: str, up: str = "") -> str:
    """A web page of a notebook, with every chart in it and no address to load from.

    Args:
        notebook: an executed notebook; its outputs are replaced by what is drawn.
        title: what the browser's tab says.
        up: the way from the page to the folder of the script, such as "../../".

    Raises:
        TypeError: if ``notebook`` was not read by nbformat, or the others are no words.
    """
    if not isinstance(notebook, nbformat.NotebookNode):
        raise TypeError(
            f"notebook={notebook!r:.80} is {type(notebook).__name__}: give nbformat.read(path, as_version=4)"
        )
    for name, words in (("title", title), ("up", up)):
        if not isinstance(words, str):
            raise TypeError(f"{name}={words!r:.80} is {type(words).__name__}: give words")
    body, _ = _BookExporter().from_notebook_node(_drawn(notebook), {"metadata": {"name": title}})
    head, end, rest = body.partition("</head>")
    head = _HEAD_SCRIPT.sub("", head)  # RequireJS, MathJax and Mermaid, each from a network
    if "greenlab-chart" in rest:
        scripts = f'<script src="{up}{SCRIPT}"></script>\n<script>{DRAW}</script>\n'
        rest = rest.replace("</body>", f"{scripts}</body>")
    return head + end + rest


def _relinked(text: str, source: Path, root: Path) -> tuple[str, list[Path]]:
    """Point links to notebooks and Markdown at their pages; return the page, and the other files that it links to."""
    files: list[Path] = []

    def to(match: re.Match[str]) -> str:
        target, place = match[1], match[2] or ""
        file = (source.parent / target).resolve()
        if not file.is_file() or not file.is_relative_to(root.resolve()):
            return match[0]
        if source.suffix == ".ipynb":
            target = target.removeprefix("../")  # the chapters' pages stand at the top
        if file.suffix in (".md", ".ipynb"):
            target = str(Path(target).with_suffix(".html"))
        else:
            files.append(file)
        return f'href="{target}{place}"'

    return _FILE_LINK.sub(to, text), files


def export(out: Path, root: Path = ROOT) -> list[Path]:
    """Write the book's pages into a folder and give their paths, chapters first.

    Args:
        out: the folder; it is made, and pages of an earlier export are replaced.
        root: the repository, with notebooks/ and data/.

    Raises:
        ValueError: if there is no notebook below ``root``.
        TypeError: if ``out`` or ``root`` is no path.
    """
    import vl_convert

    for name, folder in (("out", out), ("root", root)):
        if not isinstance(folder, str | Path):
            raise TypeError(f"{name}={folder!r:.80} is {type(folder).__name__}: give a path")
    out, root = Path(out), Path(root)
    notebooks = sorted((root / "notebooks").glob("*.ipynb"))
    if not notebooks:
        raise ValueError(f"root={str(root)!r} has no notebooks/*.ipynb: give the folder of the repository")
    out.mkdir(parents=True, exist_ok=True)
    bundle = vl_convert.javascript_bundle("window.greenlabEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    (out / SCRIPT).write_text(f"(() => {{\n{bundle}\n}})();\n", encoding="utf-8")
    written = []
    for path in notebooks:
        text = page(nbformat.read(path, as_version=4), path.stem)
        target = out / f"{path.stem}.html"
        target.write_text(_relinked(text, path, root)[0], encoding="utf-8")
        written.append(target)
    for name in PAGES:
        source = root / name
        if not source.is_file():
            continue
        cell = nbformat.v4.new_markdown_cell(source.read_text(encoding="utf-8"))
        text, files = _relinked(page(nbformat.v4.new_notebook(cells=[cell]), name), source, root)
        target = (out / name).with_suffix(".html")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        written.append(target)
        for file in files:
            copy = out / file.relative_to(root.resolve())
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    return written


def main(arguments: list[str]) -> int:
    """Write the pages into the folder that is named, html/ by default, and say where they are."""
    pages = export(Path(arguments[0] if arguments else "html"))
    print(f"{len(pages)} pages; begin with {pages[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
