"""What Sphinx needs for this book: formulas as MathML, folds of side roads, scripts where a page needs them."""

from __future__ import annotations

import html
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes

from docs.book import explorers
from docs.book.docstrings import process
from greenlab.core.chapters import CHAPTERS
from greenlab.core.machine import ROOT
from greenlab.lab.export import VEGA_LITE, _mathml

ROAD, OPEN = "side-road", "gl-open"
SCRIPTS = {  # what a page must have for a script to be loaded; Vega is shared by all pages
    'class="gl-chart': ("vega.js", "charts.js"),
    'class="gl-predict': ("predictions.js",),
    'class="gl-quiz': ("quizzes.js",),
    'class="gl-score-board': ("predictions.js",),
    'class="fact"': ("notes.js",),
    **{f'data-explorer="{name}.': ("vega.js", "charts.js", *explorers.scripts(name)) for name in explorers.CHAPTERS},
}
ALWAYS = ("page.js",)


def _visit_math(writer: Any, node: nodes.math) -> None:
    writer.body.append(_mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def _visit_math_block(writer: Any, node: nodes.math_block) -> None:
    formula = _mathml(node.astext(), "block")
    writer.body.append(f'<div class="gl-formula" tabindex="0" role="group" aria-label="formula">{formula}</div>')
    raise nodes.SkipNode


def fold_side_roads(app: Any, doctree: nodes.document, name: str) -> None:
    """Put each section of a side road behind a fold, under its own heading."""
    for section in list(doctree.findall(nodes.section)):
        title = next((child for child in section.children if isinstance(child, nodes.title)), None)
        if title is None or not {ROAD} & {*section["classes"], *title["classes"]}:
            continue
        opened = " open" if OPEN in section["classes"] + title["classes"] else ""
        place = section.index(title)
        section.insert(place, nodes.raw("", f'<details class="gl-road"{opened}><summary>', format="html"))
        section.insert(place + 2, nodes.raw("", "</summary>", format="html"))
        section.append(nodes.raw("", "</details>", format="html"))


def add_scripts(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Load a script only where the page has what it works on."""
    body = context.get("body") or ""
    scripts = list(ALWAYS)
    for mark, names in SCRIPTS.items():
        if mark in body:
            scripts += [name for name in names if name not in scripts]
    for name in scripts:
        app.add_js_file(name, loading_method="defer")
    up = "../" * pagename.count("/")
    context["gl_preview"] = f"{app.config.html_baseurl or up}_static/pictures/preview.png"
    context["gl_description"] = html.escape(_description(pagename, doctree), quote=True)


def _description(pagename: str, doctree: Any) -> str:
    """The first sentences of a page, for search engines and previews of links."""
    if doctree is not None:
        for paragraph in doctree.findall(nodes.paragraph):
            words = " ".join(paragraph.astext().split())
            if len(words) > 60 and isinstance(paragraph.parent, nodes.section):
                return words if len(words) <= 200 else words[:200].rsplit(" ", 1)[0] + " …"
    return "An interactive textbook and lab on sustainable generative AI: predict, measure, and check what is said."


def level_captions(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Give the captions of the sidebar the level that a heading must have."""
    for name in ("furo_navigation_tree", "toctree"):
        if isinstance(tree := context.get(name), str):
            context[name] = tree.replace('role="heading"', 'role="heading" aria-level="2"')


def not_found(site: str) -> str:
    """The page that a server shows, at any depth, where there is none; "" while the site has no public address.

    Args:
        site: the public address of the site, with a slash at its end, or "".
    """
    if not site:
        return ""
    home = html.escape(site)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Not here - greenlab</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<style>:root { color-scheme: light dark; } body { font: 1rem/1.5 system-ui, sans-serif; margin: 4rem auto; "
        "max-width: 40rem; padding: 0 1rem; }</style></head><body><main><h1>This page is not in the book</h1>"
        f'<p>It may have moved. Begin at the <a href="{home}index.html">first page</a>, or '
        f'<a href="{home}search.html">search the book</a>.</p></main></body></html>\n'
    )


def write_files(app: Any, error: Exception | None) -> None:
    """Write what no source holds: Vega's script, and the notebooks to download."""
    if error is not None or app.builder.format != "html":
        return
    import vl_convert

    out = Path(app.outdir)
    bundle = vl_convert.javascript_bundle("window.greenlabEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    (out / "_static" / "vega.js").write_text(f"(() => {{\n{bundle}\n}})();\n", encoding="utf-8")
    for name in ("pictures", "files"):
        shutil.copytree(Path(app.srcdir) / "_static" / name, out / "_static" / name, dirs_exist_ok=True)
    explorers.write(out / "_static" / explorers.FOLDER)
    (out / ".nojekyll").touch()  # else GitHub Pages leaves out every folder that begins with "_"
    if page := not_found(app.config.html_baseurl):
        (out / "404.html").write_text(page, encoding="utf-8")
    (out / "notebooks").mkdir(exist_ok=True)
    for chapter in CHAPTERS:
        shutil.copyfile(ROOT / "notebooks" / chapter.notebook, out / "notebooks" / chapter.notebook)


def setup(app: Any) -> dict[str, Any]:
    """Register everything with Sphinx."""
    app.add_html_math_renderer("mathml", (_visit_math, None), (_visit_math_block, None))
    app.add_config_value("repository", "", "env", str)
    app.connect("autodoc-process-docstring", process, priority=100)  # before napoleon
    app.connect("doctree-resolved", fold_side_roads)
    app.connect("html-page-context", add_scripts)
    app.connect("html-page-context", level_captions, priority=900)  # after the theme has made them
    app.connect("build-finished", write_files)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
