"""The rules of the book's notebooks. A rule takes a notebook (as JSON) and gives its violations; none is an empty list.

Rules for the author, beside those of nbval:

* A cell whose output is a time or an energy carries the tag ``timing`` and the line ``# NBVAL_IGNORE_OUTPUT``.
* An exercise cell (tag ``exercise``) holds a stub and ends in ``name = check("id", name)``; the next cell with the tag
  ``solution`` holds the solution, as code or as markdown with one fenced python block. Exercise cells need nothing but
  the set-up cell (tag ``setup``) and each other.
* A side road is a section that Lab folds: its heading (a markdown cell that begins with ``###`` or deeper) has the tag
  ``side-road`` and the metadata ``"jp-MarkdownHeadingCollapsed": true``. It runs to the next heading of the same or a
  higher level. What is left, solutions apart, is the main road: 35 to 45 cells.
* A number's unit is read in its link and behind it: a word there is the fact's unit or one of a few small words.
* A number in prose is a link to its fact or study, or stands in a phrase of ``metadata.greenlab.plain_numbers``, a list
  of short phrases quoted from the text ("lifting 2 kg by 0.75 m"), each with arithmetic that a reader can do in their
  head.
"""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from greenlab.core.facts.prose import quantities, quoted
from greenlab.core.machine import ROOT
from greenlab.lab.side_roads import FOLDED, TAG, side_roads

Notebook = dict[str, Any]
Cell = dict[str, Any]
MAX_CODE_LINES = 15
MIN_CHECKED = 0.6  # of the code cells that print
BEHIND = 60  # characters behind a link in which its unit is looked for
MAX_MAIN_ROAD = 45  # cells: more is no chapter of 45 minutes
MAX_PHRASE = 60  # characters of a phrase in plain_numbers: it excuses a number, not a paragraph
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
CHART = "application/vnd.vegalite.v5+json"
IGNORE = re.compile(r"^\s*#\s*NBVAL_IGNORE_OUTPUT\s*$", re.M)
OTHER_NBVAL = re.compile(r"^\s*#\s*(NBVAL_(?!IGNORE_OUTPUT\b)\w+|PYTEST_VALIDATE_\w+)", re.M)
_HOME = "home|root|tmp|work|Users|usr|opt|var|mnt|etc|srv|media|private|content|builds"
ABSOLUTE_PATH = re.compile(rf"(?<![\w.:/>~-])/(?:{_HOME})/[\w.-]+|\b[A-Z]:\\\\?\w+|file://")
TIME_OR_ENERGY = re.compile(
    # a ratio of two times, and the memory of this machine, differ from run to run as well
    r"\d\s*(?:[nµum]?s|min|h|days?|seconds?|minutes?|[nµumkMG]?J|joules?|[kMGT]?Wh|[mk]?W|[nµumk]?g|[kMG]?B"
    r"|tokens/s|tokens per second|/s|x|times|%)(?![\w])"
)
Matches = Callable[[str, str, str], bool]


def text_of(value: str | list[str]) -> str:
    """Notebook text, which nbformat stores as one string or as lines."""
    return value if isinstance(value, str) else "".join(value)


def code_cells(notebook: Notebook) -> list[tuple[int, Cell]]:
    """Code cells with anything in them, with their place in the notebook counted from 0."""
    cells = enumerate(notebook["cells"])
    return [(index, cell) for index, cell in cells if cell["cell_type"] == "code" and text_of(cell["source"]).strip()]


def tags(cell: Cell) -> set[str]:
    """The tags of a cell."""
    return set(cell.get("metadata", {}).get("tags", []))


def executed_in_order(notebook: Notebook) -> list[str]:
    """Committed as Run All leaves it: execution counts 1..n."""
    counts = [cell.get("execution_count") for _, cell in code_cells(notebook)]
    return [] if counts == list(range(1, len(counts) + 1)) and counts else [f"execution counts are {counts}, not 1..n"]


def no_widget_state(notebook: Notebook) -> list[str]:
    """GitHub shows "Invalid Notebook" when metadata.widgets is present."""
    return ["metadata.widgets is stored"] if "widgets" in notebook["metadata"] else []


def one_kernel(notebook: Notebook) -> list[str]:
    """Every reader has the kernel python3, under the name that Lab gives it; else Lab changes the notebook on opening.

    The language is not stored: its version differs from reader to reader. ``greenlab.lab.contents`` adds it for Lab.
    """
    kernel = notebook["metadata"].get("kernelspec")
    found = [] if kernel == KERNEL else [f"kernelspec is {kernel!r}, not {KERNEL!r}"]
    return found + ["language_info is stored"] * ("language_info" in notebook["metadata"])


def clean_outputs(notebook: Notebook) -> list[str]:
    """No stored error and no stderr: a reader takes a warning for their own fault."""
    found = []
    for index, cell in code_cells(notebook):
        for output in cell["outputs"]:
            if output["output_type"] == "error":
                found.append(f"cell {index} stores the error {output.get('ename')}")
            elif output.get("name") == "stderr":
                found.append(f"cell {index} stores stderr: {text_of(output['text'])[:80]!r}")
    return found


def has_outputs(notebook: Notebook) -> list[str]:
    """A notebook without stored outputs passes nbval vacuously; so does a cell whose print was stripped."""
    cells = code_cells(notebook)
    found = [] if any(cell["outputs"] for _, cell in cells) else ["no cell stores an output"]
    bare = [index for index, cell in cells if "print(" in text_of(cell["source"]) and not cell["outputs"]]
    return found + [f"cell {index} prints but stores no output" for index in bare if not _only_defines(notebook, index)]


def _only_defines(notebook: Notebook, index: int) -> bool:
    tree = ast.parse(text_of(notebook["cells"][index]["source"]))
    return all(isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom) for node in tree.body)


def short_cells(notebook: Notebook) -> list[str]:
    """At most 15 lines of code a cell; blank lines and comments are free."""
    found = []
    for index, cell in code_cells(notebook):
        lines = [line.strip() for line in text_of(cell["source"]).splitlines()]
        count = sum(bool(line) and not line.startswith("#") for line in lines)
        if count > MAX_CODE_LINES:
            found.append(f"cell {index} has {count} lines of code, more than {MAX_CODE_LINES}")
    return found


def no_absolute_paths(notebook: Notebook) -> list[str]:
    """Neither sources nor outputs may name a place on the machine of whoever ran the notebook."""
    found = []
    for index, cell in enumerate(notebook["cells"]):
        text = text_of(cell["source"]) + "\n" + "\n".join(_output_texts(cell))
        found += [f"cell {index} names the absolute path {hit.group()!r}" for hit in ABSOLUTE_PATH.finditer(text)]
    return found


def _output_texts(cell: Cell) -> Iterator[str]:
    for output in cell.get("outputs", []):
        if "text" in output:
            yield text_of(output["text"])
        for mime, data in output.get("data", {}).items():
            if not mime.startswith("image/"):
                yield json.dumps(data, ensure_ascii=False) if isinstance(data, dict) else text_of(data)


def charts_described_and_offline(notebook: Notebook) -> list[str]:
    """A chart is one v5+json bundle with a description; HTML that loads scripts works only online."""
    found = []
    for index, cell in code_cells(notebook):
        for output in cell["outputs"]:
            data = output.get("data", {})
            if CHART in data and not data[CHART].get("description"):
                found.append(f"cell {index} has a chart without description")
            if any("vega" in mime and mime != CHART for mime in data):
                found.append(f"cell {index} has a chart that is not {CHART}; call setup() first")
            if re.search(r"<script[^>]+src=|https?://cdn\.|jsdelivr", text_of(data.get("text/html", ""))):
                found.append(f"cell {index} has HTML that loads from the network")
    return found


def ignored_only_if_timing(notebook: Notebook) -> list[str]:
    """NBVAL_IGNORE_OUTPUT and the tag timing go together, on cells that print a time or an energy, and nowhere else."""
    found = []
    for index, cell in code_cells(notebook):
        source = text_of(cell["source"])
        ignored, timing = bool(IGNORE.search(source)), "timing" in tags(cell)
        if ignored != timing:
            has, lacks = (
                ("NBVAL_IGNORE_OUTPUT", "the tag timing") if ignored else ("the tag timing", "NBVAL_IGNORE_OUTPUT")
            )
            found.append(f"cell {index} has {has} but not {lacks}")
        if ignored and not any(TIME_OR_ENERGY.search(text) for text in _output_texts(cell)):
            found.append(f"cell {index} is ignored by nbval but stores no time or energy")
        if other := OTHER_NBVAL.search(source):
            found.append(f"cell {index} has {other.group(1)}; only NBVAL_IGNORE_OUTPUT is allowed")
        if other := tags(cell) & {"nbval-ignore-output", "nbval-skip", "nbval-raises-exception", "raises-exception"}:
            found.append(f"cell {index} has the tag {', '.join(sorted(other))}; only the tag timing is allowed")
    return found


def enough_checked(notebook: Notebook) -> list[str]:
    """At least 60 % of the code cells with a text output are compared by nbval."""
    printing = [cell for _, cell in code_cells(notebook) if any(_output_texts(cell))]
    checked = [cell for cell in printing if not IGNORE.search(text_of(cell["source"]))]
    if not printing or len(checked) >= MIN_CHECKED * len(printing):
        return []
    return [f"nbval checks {len(checked)} of {len(printing)} printing cells, less than {MIN_CHECKED:.0%}"]


# Numbers in prose -----------------------------------------------------------------------------------------------------

_HIDDEN = re.compile(
    r"```.*?```|~~~.*?~~~|\$\$.*?\$\$|<!--.*?-->|`[^`\n]+`|(?<![\\\d])\$[^$\n]+\$|\\\(.*?\\\)|\\\[.*?\\\]", re.S
)
_LINK = re.compile(
    r"!?\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(\s*<?([^()\s>]*(?:\([^()\s]*\)[^()\s]*)*)>?(?:\s+\"[^\"]*\")?\s*\)"
)
_FACT = re.compile(r"^(?:\.\./)*data/facts/README\.md#(.*)$")
_STUDY = re.compile(r"^(?:\.\./)*data/studies/README\.md#(.*)$")
_SAYS_A_NUMBER = re.compile(
    r"\d|\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|thirty|forty|fifty|sixty|seventy"
    r"|eighty|ninety|(?:hundred|thousand|[mbtr]+illion|quarter|third|half|dozen)s?|halves|twice|thrice|double|triple"
    r"|[kMGTPE]?Wh|\w*watt-hours?|\w*joules?|tonnes?|per ?cent)\b|%",
    re.I,
)
_SOURCES = re.compile(r"#+\W*(?:sources|references|further reading)\b(?!\s+of\b)", re.I)
_HEADING_NUMBER = re.compile(r"^(#+\s*)(?:chapter\s+)?\d+(?:\.\d+)*[.:)]?(?=\s)", re.I)
_CHAPTER = re.compile(r"\b(?:chapters?|exercises?|sections?|cells?)\s+\d+(?:(?:\s*,\s*|\s+(?:and|to|or)\s+)\d+)*", re.I)
_NUMBER = re.compile(r"(?<![\w.,+−-])[-+−]?\d[\d.,]*(?:[a-zA-Z%°µ]\w*)?")
_YEAR = re.compile(r"\(([^()]*\b(?:19|20)\d\d)\)")


def links(notebook: Notebook) -> Iterator[tuple[int, str, str, str]]:
    """Markdown links as (cell, text, target, what follows): the unit of a number may stand behind its link."""
    for index, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "markdown":
            source = _HIDDEN.sub(_shown, text_of(cell["source"]))
            for match in _LINK.finditer(source):
                yield index, match.group(1), match.group(2), source[match.end() : match.end() + BEHIND]


def _shown(hidden: re.Match[str]) -> str:
    """A word in backticks or in upright math may be the unit of the number before it; all else hidden is no prose."""
    unit = r"([^\W\d_]+(?:/[^\W\d_]+)?|\\?%)"
    found = re.fullmatch(rf"`{unit}`|\$(?:\\[,; ])*\\(?:mathrm|text)\{{\s*{unit}\s*\}}\$", hidden.group())
    return f" {found[1] or found[2]} " if found else " "


def facts_quoted_right(notebook: Notebook, matches: Matches | None = None) -> list[str]:
    """A link to a fact resolves, and a number in its text is the table's, to the digits written."""
    if matches is None:
        from greenlab.core.facts import matches
    found = []
    for index, text, target, behind in links(notebook):
        if fact := _FACT.match(target):
            try:
                agrees = matches(fact.group(1), text, behind)
            except (ValueError, KeyError) as error:
                found.append(f"cell {index} links {target}: {error}")
            else:
                if not agrees and _SAYS_A_NUMBER.search(text):  # other words may name a fact without quoting it
                    found.append(
                        f"cell {index} writes {text!r} before {behind[:20]!r} for the fact {fact.group(1)}, "
                        "which the table does not say"
                    )
    return found


def study_figure(anchor: str, studies: Path = ROOT / "data" / "studies") -> tuple[float, str, list[str]]:
    """Value, unit and nouns of a link such as ``mixture-of-depths.speedup``, from that study's figures.csv.

    The nouns are the words of its name and remark ("one search"): it may be said to be "a search", though its unit does
    not say so.

    Raises:
        ValueError: if the study or the figure does not exist.
    """
    chapter, dot, name = anchor.partition(".")
    path = studies / chapter.replace("-", "_") / "figures.csv"
    if not dot or not path.is_file():
        raise ValueError(f"there is no figures.csv for {anchor!r}; write #<chapter>.<name>")
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["name"] == name]
    if len(rows) != 1:
        raise ValueError(
            f"{path.parent.name}/figures.csv has {len(rows)} rows named {name!r}; a link needs exactly one"
        )
    about = f"{name.replace('-', ' ')} {rows[0].get('note') or ''}"
    return float(rows[0]["value"]), rows[0]["unit"], re.findall(r"[^\W\d_]+", about)


def studies_quoted_right(notebook: Notebook, studies: Path = ROOT / "data" / "studies") -> list[str]:
    """A link to a study resolves, and the number in its text is the committed one, to the digits written."""
    found = []
    for index, text, target, behind in links(notebook):
        if not (study := _STUDY.match(target)):
            continue
        try:
            value, unit, nouns = study_figure(study.group(1), studies)
        except ValueError as error:
            found.append(f"cell {index} links {target}: {error}")
            continue
        written = quantities(text)
        if not written or len(written) != 1 or written[0].is_range:
            found.append(f"cell {index} writes {text!r} for {study.group(1)}; write one number, and its unit")
        elif not (written[0].low.agrees(value) and quoted(text, unit, nouns, behind)):
            after = f" before {behind[:20]!r}"
            found.append(f"cell {index} writes {text!r}{after} for {study.group(1)}, which is {value:g} {unit}")
    return found


def prose_of(cell: Cell, in_sources: bool) -> tuple[str, bool]:
    """What is left of a markdown cell when code, math, links, names and chapter numbers are taken out.

    Args:
        cell: a markdown cell.
        in_sources: whether the cell continues a section of sources; years and page numbers are free there.

    Returns:
        The remaining text, and whether the section of sources is still open at its end.
    """
    text = _LINK.sub(" ", _HIDDEN.sub(" ", text_of(cell["source"])))
    kept = []
    for line in text.splitlines():
        if line.startswith("#"):
            in_sources = bool(_SOURCES.match(line))
            line = _HEADING_NUMBER.sub(r"\1", line)
        elif in_sources:
            continue
        line = re.sub(r"^\s*\d+[.)]\s", " ", line)  # a numbered list
        line = re.sub(r"<[^>]+>", " ", line)
        kept.append(_YEAR.sub(" ", _CHAPTER.sub(" ", line)))
    return "\n".join(kept), in_sources


def plain_numbers(notebook: Notebook) -> list[str]:
    """Bare numbers in prose stand in a phrase of metadata.greenlab.plain_numbers, and every phrase is in the prose."""
    phrases = [_squeeze(phrase) for phrase in notebook["metadata"].get("greenlab", {}).get("plain_numbers", [])]
    unused, found, in_sources = set(phrases), [], False
    for phrase in phrases:
        if len(phrase) > MAX_PHRASE or not re.search(r"\d", phrase):
            found.append(
                f"plain_numbers has {phrase[:40]!r}; give a phrase with a number, at most {MAX_PHRASE} characters"
            )
    for index, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] != "markdown" or "instructor" in tags(cell):
            continue
        text, in_sources = prose_of(cell, in_sources)
        text = _squeeze(text)
        for phrase in sorted(phrases, key=len, reverse=True):
            if phrase in text:
                unused.discard(phrase)
                text = text.replace(phrase, " ")
        for number in _NUMBER.finditer(text):
            around = text[max(0, number.start() - 25) : number.end() + 25]
            found.append(f"cell {index} has the bare number {number.group().rstrip('.,')!r} in {around!r}")
    return found + [f"plain_numbers has {phrase!r}, which is not in the prose" for phrase in sorted(unused)]


def _squeeze(text: str) -> str:
    return re.sub(r"[\s*_]+", " ", text).strip()


# Exercises ------------------------------------------------------------------------------------------------------------


def main_road(notebook: Notebook) -> list[int]:
    """The places of the cells that every reader meets: neither in a side road nor a folded solution."""
    aside = {place for road in side_roads(notebook) for place in road}
    cells = enumerate(notebook["cells"])
    return [place for place, cell in cells if place not in aside and "solution" not in tags(cell)]


def short_main_road(notebook: Notebook) -> list[str]:
    """The main road has at most 45 cells, and each side road is a section that Lab folds and a reader can skip."""
    found = []
    n_cells = len(main_road(notebook))
    if n_cells > MAX_MAIN_ROAD:
        found.append(f"the main road has {n_cells} cells, more than {MAX_MAIN_ROAD}: move side roads into folds")
    for road in side_roads(notebook):
        cell = notebook["cells"][road.start]
        if not text_of(cell["source"]).startswith("###"):
            found.append(f"cell {road.start}: a side road begins with a heading ### or deeper, which Lab folds")
        if len(road) == 1:
            found.append(f"cell {road.start}: the side road holds nothing but its heading")
        if aside := [i for i in road if tags(notebook["cells"][i]) & {"exercise", "setup"}]:
            found.append(f"cells {aside}: exercises and set-up belong on the main road, not in a fold")
    for place, cell in enumerate(notebook["cells"]):
        if (TAG in tags(cell)) != (cell["metadata"].get(FOLDED) is True):
            found.append(f"cell {place}: the tag {TAG} and {FOLDED} go together")
    return found


RAW = re.compile(
    r"^.*: (?:True|False)\W*$|^\s*(?:[{\[]|\((?=['\"\d])).*[:,].*[}\])]\s*$|^<\S+ object at .*|^.*\bdtype: \S+$", re.M
)


def readable_outputs(notebook: Notebook) -> list[str]:
    """A reader sees sentences, tables and charts: no raw frame, dict or list, and no line that only a test would read.

    What the reader meets is looked at, printed or shown; the plain text beside a drawn output is not shown.
    """
    found = []
    for place, cell in code_cells(notebook):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if 'class="dataframe"' in text_of(data.get("text/html", "")):
                found.append(f"cell {place} shows a raw frame: use greenlab.lab.table")
            drawn = set(data) - {"text/plain"}
            said = text_of(output.get("text", "") if "text" in output else "" if drawn else data.get("text/plain", ""))
            found += [f"cell {place} prints {match[0].strip()!r}: say it in words" for match in RAW.finditer(said)]
    return found


def _check_ids(node: ast.AST) -> list[str]:
    calls = (call for call in ast.walk(node) if isinstance(call, ast.Call) and call.args)
    named = (call for call in calls if getattr(call.func, "id", getattr(call.func, "attr", "")) == "check")
    return [call.args[0].value for call in named if isinstance(call.args[0], ast.Constant)]


def exercises(notebook: Notebook) -> list[dict[str, Any]]:
    """The exercises of a notebook: cell, ids, the stub's source, and the same cell solved.

    Raises:
        ValueError: if an exercise cell does not call ``check``, or no solution follows it.
    """
    found = []
    cells = notebook["cells"]
    for index, cell in enumerate(cells):
        if "exercise" not in tags(cell) or cell["cell_type"] != "code":
            continue
        stub = text_of(cell["source"])
        statements = ast.parse(stub).body
        checks = [node for node in statements if _check_ids(node)]
        if not checks:
            raise ValueError(f"cell {index} has the tag exercise but no check(id, answer) of its own")
        following = [later for later in cells[index + 1 :] if tags(later) & {"exercise", "solution"}]
        if not following or "solution" not in tags(following[0]):
            raise ValueError(f"no cell with the tag solution follows the exercise in cell {index}")
        solution = _solution_code(following[0], index)
        names = {node.id for check in checks for node in ast.walk(check) if isinstance(node, ast.Name)}
        # keep what the stub sets up beside the names that the solution defines (imports, data), and the check itself
        defined = _defined(ast.parse(solution).body)
        kept = [ast.unparse(node) for node in statements if node not in checks and not _defined([node]) & defined]
        if not defined & names:
            raise ValueError(f"the solution of cell {index} defines none of {', '.join(sorted(names))}")
        solved = "\n".join([*kept, solution, *(ast.unparse(node) for node in checks)])
        found.append(
            {"cell": index, "ids": [id for node in checks for id in _check_ids(node)], "stub": stub, "solved": solved}
        )
    return found


def _defined(statements: list[ast.stmt]) -> set[str]:
    names: set[str] = set()
    for node in statements:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}
    return names


def _solution_code(cell: Cell, index: int) -> str:
    source = text_of(cell["source"])
    if cell["cell_type"] == "code":
        return source
    blocks = re.findall(r"```python\n(.*?)```", source, re.S)
    if len(blocks) != 1:
        raise ValueError(f"the solution of cell {index} has {len(blocks)} fenced python blocks; give exactly one")
    return blocks[0]


def exercise_script(notebook: Notebook) -> str:
    """A Python program that runs every exercise twice, as stub and solved, and prints what ``check`` said as JSON.

    Only cells with the tag ``setup`` and the exercises run. Printed: a list of [cell, "stub" or "solved", ids, text].
    """
    setup = [text_of(cell["source"]) for _, cell in code_cells(notebook) if "setup" in tags(cell)]
    runs = [
        (item["cell"], kind, item["ids"], item[kind]) for item in exercises(notebook) for kind in ("stub", "solved")
    ]
    return (
        "import contextlib, io, json\n"
        f"space, said = {{'__name__': '__main__'}}, []\n"
        f"for source in {setup!r}:\n"
        "    with contextlib.redirect_stdout(io.StringIO()):\n"
        "        exec(compile(source, 'set-up cell', 'exec'), space)\n"
        f"for cell, kind, ids, source in {runs!r}:\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as out:\n"
        "        exec(compile(source, f'exercise cell {cell}', 'exec'), space)\n"
        "    said.append([cell, kind, ids, out.getvalue()])\n"
        "print(json.dumps(said))\n"
    )


def unproved(said: list[list[Any]]) -> list[str]:
    """Violations in what ``exercise_script`` printed: a stub must not pass, a solution must."""
    found = []
    for cell, kind, ids, text in said:
        correct, untried = text.count("Correct: "), text.count("Not tried yet")
        if kind == "stub" and (correct or untried != len(ids)):
            found.append(f"the stub in cell {cell} ({', '.join(ids)}) is not recognised as untried: {text.strip()!r}")
        if kind == "solved" and correct != len(ids):
            found.append(f"the solution of cell {cell} ({', '.join(ids)}) does not pass its check: {text.strip()!r}")
    return found


RULES = [executed_in_order, no_widget_state, one_kernel, clean_outputs, has_outputs, short_cells, no_absolute_paths]
RULES += [short_main_road, readable_outputs]
RULES += [charts_described_and_offline, ignored_only_if_timing, enough_checked]
RULES += [facts_quoted_right, studies_quoted_right, plain_numbers]
