"""What the pages are made from: links, predictions, charts, folds, docstrings, the address of the repository."""

import ast
import json
import re

import nbformat
import pytest

from docs.book import address, api, charts, docstrings, landing, launch, pictures, predictions, quizzes, tables
from docs.book.chapters import Writer
from docs.book.extension import not_found
from docs.book.links import FACTS, STUDIES, Places, relink
from greenlab.core import facts
from greenlab.core.chapters import CHAPTERS
from greenlab.core.machine import ROOT
from greenlab.lab import predictions as lab
from greenlab.lab.renderer import MIME
from greenlab.workshop.questions import questions

CELL, CODE = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
ADDRESS = "https://github.com/someone/greenlab"


@pytest.fixture(scope="module")
def pages():
    return [page for source in (FACTS, STUDIES) for page in tables.split(source, (ROOT / source).read_text("utf-8"))]


@pytest.fixture(scope="module")
def places(pages):
    return Places(tables.anchors(pages), tables.Notes(pages))


def notebook_of(chapter):
    return nbformat.read(ROOT / "notebooks" / chapter.notebook, as_version=4)


@pytest.fixture(scope="module")
def written(places):
    return {chapter.name: Writer(chapter, places).write(notebook_of(chapter)) for chapter in CHAPTERS}


def html_of(notebook):
    parts = [
        output["data"].get("text/html", "")
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "data" in output
    ]
    return "\n".join([*parts, *(cell.source for cell in notebook.cells if cell.cell_type == "markdown")])


# links


def test_every_anchor_of_facts_and_studies_has_a_page(pages, places):
    for source in (FACTS, STUDIES):
        found = set(re.findall(r'<a id="([^"]+)">', (ROOT / source).read_text("utf-8")))
        assert len(found) > 500
        assert found <= set(places.anchors)
    assert places.anchors["iea-dc-2025"] == "facts/constants"
    assert places.anchors["h100-sxm5-80gb.tdp_w"] == "facts/accelerators"
    assert places.anchors["layer-pruning.loss-6"] == "studies/layer-pruning"


def test_the_note_of_a_fact_is_the_fact(places):
    fact = facts.fact("iea-dc-2025")
    note = places.notes["iea-dc-2025"]
    for part in (fact.name, f"{fact.text} {fact.unit}", fact.source, fact.date, fact.confidence):
        assert part in note
    assert "measured" in places.notes["layer-pruning.loss-6"]
    assert re.search(r"Our run of \d{4}-\d\d-\d\d on ", places.notes["layer-pruning.loss-6"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](https://arxiv.org/abs/1)", "[a](https://arxiv.org/abs/1)"),
        ("[a](#here)", "[a](#here)"),
        ("`[a](../data/README.md)`", "`[a](../data/README.md)`"),
        ("```\n[a](../data/README.md)\n```", "```\n[a](../data/README.md)\n```"),
        ("[**6** of x](06_layer_pruning.ipynb#the-cliff)", '<a href="06_layer_pruning.html#the-cliff">**6** of x</a>'),
        ("![a](images/x.png)", "![a](images/x.png)"),
        ("[a](<../data/README.md>)", '<a href="../data/index.html">a</a>'),
    ],
)
def test_only_links_to_files_of_the_book_change(text, expected, places):
    assert relink(text, places, "notebooks/00_start_here.ipynb", "chapters/00_start_here") == expected


def test_a_link_to_a_fact_that_is_not_there_stops_the_build(places):
    with pytest.raises(ValueError, match="no table has 'no-such-fact'"):
        relink("[1](../data/facts/README.md#no-such-fact)", places, "notebooks/a.ipynb", "chapters/a")


# chapters


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)
def test_a_chapter_keeps_every_chart_and_every_question(chapter, written):
    stored = [output for cell in notebook_of(chapter).cells for output in cell.get("outputs", [])]
    page = html_of(written[chapter.name])
    n_charts = sum(MIME in output.get("data", {}) for output in stored)
    assert page.count('<figure class="gl-chart') == n_charts > 0
    asked = sum(output.get("data", {}).get("text/plain", "").startswith("[prediction]") for output in stored)
    assert page.count('<form class="gl-predict"') == asked >= 1
    assert page.count('<div class="gl-reveal"') == asked
    assert page.count("<fieldset>") == len(questions(chapter.name)) == 3
    assert "README.md" not in re.sub(r"`[^`]*`", "", page)
    assert page.count('class="gl-footprint"') == 1


def test_a_notebook_without_its_outputs_stops_the_build(places):
    chapter = CHAPTERS[6]
    notebook = notebook_of(chapter)
    cell = next(cell for cell in notebook.cells if cell.cell_type == "code" and cell.outputs)
    cell.outputs, cell.execution_count = [], None
    with pytest.raises(ValueError, match=r"06_layer_pruning\.ipynb: cell \d+ was not executed"):
        Writer(chapter, places).write(notebook)


def test_the_committed_notebook_is_not_changed(places):
    before = notebook_of(CHAPTERS[6])
    given = notebook_of(CHAPTERS[6])
    Writer(CHAPTERS[6], places).write(given)
    assert given == before


def test_a_side_road_with_a_chart_that_moves_stands_open(written):
    road = next(
        cell.source for cell in written["layer_pruning"].cells if "a chart that moves without Python" in cell.source
    )
    assert road.startswith("{.side-road .gl-open}\n### ")
    assert re.search(r"\n\n<span class=\"gl-cell\" id=\"cell-\d+\"></span>\n\n", road)
    closed = next(cell.source for cell in written["layer_pruning"].cells if "the code that heals" in cell.source)
    assert closed.startswith("{.side-road}\n### ")


def test_a_widget_without_a_part_names_the_chart_that_moves_instead(tmp_path, places):
    page = html_of(Writer(CHAPTERS[6], places, parts=tmp_path).write(notebook_of(CHAPTERS[6])))
    live = [part for part in page.split('<div class="gl-live">')[1:] if "start=2, n=6" in part]
    assert len(live) == 1
    assert '<a href="#chart-36">At every length' in live[0]


def test_a_part_of_the_page_answers_for_its_widget(tmp_path, places):
    (tmp_path / "layer_pruning.cut_explorer.html").write_text("<p>Drops layers here.</p>")
    page = html_of(Writer(CHAPTERS[6], places, parts=tmp_path).write(notebook_of(CHAPTERS[6])))
    assert '<div class="gl-part" id="part-cut_explorer"><p>Drops layers here.</p></div>' in page
    assert "start=2, n=6" not in page


def test_a_part_for_which_no_widget_calls_stops_the_build(tmp_path, places):
    (tmp_path / "layer_pruning.no_such_widget.html").write_text("<p></p>")
    with pytest.raises(ValueError, match=r"no widget of the chapter calls no_such_widget\(\)"):
        Writer(CHAPTERS[6], places, parts=tmp_path).write(notebook_of(CHAPTERS[6]))


def test_the_footprint_is_that_of_the_study(written):
    row = next(
        line.split(",")
        for line in (ROOT / "data/studies/start_here/notebooks.csv").read_text().splitlines()
        if line.startswith("06_")
    )
    energy_j, low_j, high_j, time_s = float(row[1]), float(row[2]), float(row[3]), float(row[5])
    words = written["layer_pruning"].cells[-1].source.partition('class="gl-footprint"')[2]
    shown = [
        float(number.replace(",", ""))
        for number in re.findall(r"([\d,.]+) J", words) + re.findall(r"\(([\d,.]+) to", words)[:1]
    ]
    assert shown == [float(f"{value:.2g}") for value in (energy_j, high_j, low_j)]
    assert f"took {time_s:.0f} s" in words
    grams = (
        energy_j / 3.6e6 * float(facts.table("grid_intensity").set_index("region").loc["WORLD", "intensity_g_per_kwh"])
    )
    assert f"that is {float(f'{1000 * grams:.2g}'):g} mg" in words


# predictions


def test_the_slider_in_the_page_is_the_slider_of_the_notebook():
    asked = predictions.asked("predict('a-b', 'How many?', low=0.01, high=100, default=10, unit='%', scale='log')")
    widget = lab.predict("a-b", "How many?", low=0.01, high=100, default=10, unit="%", scale="log").slider
    assert (asked.low, asked.high, asked.step) == (widget.min, widget.max, widget.step)
    assert 10**asked.value == pytest.approx(widget.value)


def test_a_prediction_of_whoever_builds_the_site_changes_nothing(empty_state):
    source = "predict('a-b', 'How many?', low=0, high=20, default=3)"
    lab.predict("a-b", "How many?", low=0, high=20, default=17).button.click()
    assert (predictions.asked(source).value, list(empty_state.rglob("*.json")) != []) == (3.0, True)


def test_a_computed_argument_of_a_prediction_is_refused():
    with pytest.raises(ValueError, match="an argument that is computed"):
        predictions.asked("predict('a-b', 'How many?', low=0, high=n)")


@pytest.mark.parametrize(
    ("answer", "truth", "details"),
    [
        ("1,234,567 J", 1234567.0, ""),
        ("0.0507 seconds\nmodelled, 3 s", 0.0507, "modelled, 3 s"),
        ("-2.5 %", -2.5, ""),
        ("1e-05 J", 1e-05, ""),
    ],
)
def test_the_number_behind_a_reveal_is_the_stored_one(answer, truth, details):
    question = predictions.asked("predict('a-b', 'How many?', low=0, high=9)")
    stored = f"<details><summary>Show me anyway</summary><pre>The answer:      {answer}</pre></details>"
    page = predictions.answer("reveal('a-b', x, tolerance=2)", stored, question)
    data = json.loads(re.search(r'json">(.*?)</script>', page)[1])
    assert (data["truth"], data["tolerance"]) == (truth, 2)
    assert f"<b>{answer.partition(chr(10))[0]}</b>" in page
    assert details in page


def test_a_chapter_that_was_executed_with_an_answer_stops_the_build():
    question = predictions.asked("predict('a-b', 'How many?', low=0, high=9)")
    with pytest.raises(ValueError, match="no answer is stored"):
        predictions.answer("reveal('a-b', x)", "<p>Nothing</p>", question)


# charts


def test_a_chart_cannot_end_its_own_script():
    spec = {"description": "A </script> in a title", "data": {"values": [{"a": "</script><b>"}]}}
    figure = charts.figure(spec, "", "chart-1")
    inside = figure.partition('json">')[2].partition("</script>")[0]
    assert json.loads(inside) == spec
    assert "<b>" not in figure.replace(inside, "")


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)
def test_each_chapter_has_a_picture(chapter):
    spec, text = pictures.stored(notebook_of(chapter), pictures.CHOSEN[chapter.name])
    svg = pictures.thumbnail(spec)
    assert len(re.findall(r"<(?:path|circle|rect)\b", svg)) >= 10
    assert "<text" not in svg
    assert text.startswith("[chart] ")


def test_a_picture_that_nobody_drew_is_named():
    with pytest.raises(ValueError, match="0 charts begin with 'No such title'"):
        pictures.stored(notebook_of(CHAPTERS[0]), "No such title")


# quizzes


def test_exactly_one_answer_of_each_question_is_right(places):
    page = quizzes.quiz("layer_pruning", places, "chapters/06_layer_pruning")
    sets = page.split("<fieldset>")[1:]
    assert [part.count("&quot;right&quot;: true") for part in sets] == [1, 1, 1]


# the code


def test_every_module_is_on_one_page_of_the_code():
    listed = [module for package in api.packages(ROOT) for module in api.modules(ROOT, package)]
    assert len(listed) == len(set(listed))
    files = {
        path
        for path in (ROOT / "greenlab").rglob("*.py")
        if path.stem not in ("__init__", "__main__") and path.parent != ROOT / "greenlab"
    }
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files}
    assert names <= set(listed)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["A.", "", "    x = 1", "", "B."], ["A.", "", "::", "", "    x = 1", "", "B."]),
        (["It goes", "    on."], ["It goes", "on."]),
        (["Two:", "* one", "* two"], ["Two:", "", "* one", "* two"]),
        (["A |x| and ``|y|``."], ["A \\|x\\| and ``|y|``."]),
        (["A.", "", "Args:", "    x: it", "        goes on"], ["A.", "", "Args:", "    x: it", "        goes on"]),
        ([">>> a | b", "3 | x_"], [">>> a | b", "3 | x_"]),
        (["A numpy.str_ or `str_`."], ["A numpy.str\\_ or `str_`."]),
        (["Returns:", "    a", "        b", "    c"], ["Returns:", "    a", "    b", "    c"]),
        (["* one", "  more", "* two"], ["* one", "  more", "* two"]),
    ],
)
def test_docstrings_are_read_as_they_are_meant(given, expected):
    assert docstrings.tidy(given) == expected


# the address of the repository


def test_readme_and_citation_name_the_address_of_the_settings():
    setting = address.repository()
    for name, change in (("README.md", address.readme), ("CITATION.cff", address.citation)):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert change(text, setting) == text, "write the setting with python -m docs.book.address"


@pytest.mark.parametrize(
    "bad",
    [
        *("github.com/a/b", "http://github.com/a/b", "https://github.com/a", "https://example.org/a/b"),
        *("https://github.com/a/b/tree/main", "https://codeberg.org/a/b/src", "https://gitlab.com/a/b/-/tree/main"),
        *(3, None, True, [""]),
    ],
)
def test_what_is_no_address_is_refused(bad, tmp_path):
    with pytest.raises(ValueError, match=re.escape("give https://github.com/OWNER/NAME")):
        address.check(bad)


def test_an_address_in_the_settings_is_checked(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[tool.greenlab]\nrepository = "somewhere"\nsite = "http://x"\n')
    with pytest.raises(ValueError, match="repository='somewhere'"):
        address.repository(tmp_path)
    with pytest.raises(ValueError, match="site='http://x'"):
        address.site(tmp_path)


def test_the_address_goes_in_and_out_of_readme_and_citation():
    text = "Title\n\n<!-- binder -->\n<!-- /binder -->\n\nMore\n"
    without = address.readme(text, "")
    assert "https://mybinder.org/v2/gh/someone/greenlab/" in address.readme(without, ADDRESS)
    assert address.readme(address.readme(without, ADDRESS), "") == without
    assert address.citation(address.citation("a: b\n", ADDRESS), "") == "a: b\n"


def test_no_button_is_a_dead_link():
    page = "chapters/06_layer_pruning"
    without = launch.buttons("06_layer_pruning.ipynb", page, "")
    assert re.findall(r'href="([^"]*)"', without) == ["https://mybinder.org", "../notebooks/06_layer_pruning.ipynb"]
    assert "lab/tree/notebooks/06_layer_pruning.ipynb" in without
    links = re.findall(r'href="([^"]*)"', launch.buttons("06_layer_pruning.ipynb", page, ADDRESS))
    assert (
        links[0] == "https://mybinder.org/v2/gh/someone/greenlab/HEAD?urlpath=lab/tree/notebooks/06_layer_pruning.ipynb"
    )


def test_a_page_that_is_not_there_leads_to_the_book_wherever_it_was_asked():
    """A server shows 404.html at every depth, so its links are whole; without an address of the site there are none."""
    page = not_found("https://someone.github.io/greenlab/")
    assert re.findall(r'href="([^"]*)"', page) == [
        f"https://someone.github.io/greenlab/{name}" for name in ("index.html", "search.html")
    ]
    assert "src=" not in page
    assert not_found("") == ""


def test_a_slot_of_the_first_page_that_nobody_fills_is_named():
    with pytest.raises(ValueError, match=re.escape("has the slot '{{ nothing }}'")):
        landing.page("{{ nothing }}", {}, "")


def test_the_first_page_shows_every_chapter_and_a_chart_that_moves():
    notebooks = {chapter.name: notebook_of(chapter) for chapter in CHAPTERS}
    text = landing.page((ROOT / "docs/index.md").read_text("utf-8"), notebooks, "")
    assert text.count('class="gl-card"') == len(CHAPTERS)
    assert text.count('class="gl-chart gl-twin"') == 1
    assert "{{" not in text.replace("{{{", "")


def test_the_docs_are_written_in_python_that_parses():
    assert all(ast.parse(path.read_text("utf-8")) for path in (ROOT / "docs").rglob("*.py"))
