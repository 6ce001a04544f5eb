"""Ask this book: a widget that searches and answers live, and the map on which a typed question lands."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import altair as alt
import ipywidgets as W
import pandas as pd

from greenlab import retrieval
from greenlab.core import checks
from greenlab.lab.charts import bars_with_range
from greenlab.lab.receipts import duration, quantity
from greenlab.lab.theme import BLUE
from greenlab.lab.widgets import Explorer
from greenlab.retrieval.study.search import Plane, kind_of, passage_vectors
from greenlab.retrieval.study.tables import joules
from greenlab.retrieval.view.charts import map_chart, short

QUESTION = "What limits the speed at which a model writes?"
WRITES, CHOOSES, QUOTES, WITHOUT = "write freely", "choose a span", "quote the book", "without the book"
_STYLE = f'target="_blank" style="color:{BLUE};text-decoration:underline"'  # Lab shows a bare link as plain text
METHODS = {WRITES: "write", CHOOSES: "extract", QUOTES: "quote", WITHOUT: "write"}
_LINK = re.compile(r"\b[\w.-]+\.ipynb#cell-id=[\w%.-]+|\.\./data/facts/README\.md#[\w.-]+")
_MARKS = re.compile(r"([\\`*_{}\[\]<>$|])")


def ask_title(index: str, n_found: int, how: str, cited: tuple[int, ...]) -> str:
    """What was found, given and cited, as the title of the widget's chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if the number is negative, or ``how`` is no way to answer.

    >>> ask_title("BM25", 1, WRITES, (1,)), ask_title("BM25", 0, WRITES, ())
    ('BM25 finds 1 passage; the answer cites [1]', 'BM25 finds no passage; the model is not asked')
    >>> ask_title("MiniLM", 3, WITHOUT, ())
    'MiniLM finds 3 passages; the model is given none'
    >>> ask_title("MiniLM", 3, QUOTES, (2,))
    'MiniLM finds 3 passages; [2] is quoted'
    """
    checks.text("index", index)
    n_found = checks.integer("n_found", n_found, low=0)
    how = checks.one_of("how", how, tuple(METHODS))
    numbers = [checks.integer("cited", number, low=1) for number in checks.several("cited", cited)]
    found = f"{n_found or 'no'} passage{'' if n_found < 2 else 's'}"
    if how == WITHOUT:
        then = "the model is given none"
    elif not n_found:
        then = "the model is not asked"
    elif how == QUOTES:
        then = f"{', '.join(f'[{number}]' for number in numbers) or 'none'} is quoted"
    else:
        then = f"the answer cites {', '.join(f'[{number}]' for number in numbers) or 'none'}"
    return f"{index} finds {found}; {then}"


class LinkedExplorer(Explorer):
    """An `Explorer` whose message turns the links of passages into links that open."""

    def _show(self, text: str, body: str) -> None:
        super()._show(text, _LINK.sub(lambda found: f'<a href="{found[0]}" {_STYLE}>{found[0]}</a>', body))


def ask_widget(
    indexes: dict[str, retrieval.Index | Callable[[], retrieval.Index]],
    llms: dict[str, tuple[Any, Any]],
    question: str = QUESTION,
) -> Explorer:
    """Type a question; the book is searched and the model answers from the passages found, or the book is quoted.

    Args:
        indexes: by name, all over one corpus; for one that takes long to make, a function that makes it, which is
            called when a reader first chooses it.
        llms: language models with their tokenizers, by name.
        question: that the widget starts with.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if there is no index or no model, or the question has no word.
    """
    for name, given in (("indexes", indexes), ("llms", llms)):
        if not isinstance(given, dict):
            raise TypeError(f"{name} is {type(given).__name__}: give a dict of names and what they name")
        if not given:
            raise ValueError(f"{name} is empty: give at least one")
    checks.text("question", question)
    if not re.search(r"\w", question):
        raise ValueError(f"question={question!r} has no word in it: give one")

    @lru_cache(maxsize=32)
    def made(name: str) -> retrieval.Index:
        given = indexes[name]
        return given if isinstance(given, retrieval.Index) else checks.instance("indexes", given(), retrieval.Index)

    @lru_cache(maxsize=8)
    def prefix(llm: str) -> retrieval.Prefix:
        return retrieval.make_prefix(llms[llm])  # read once for all questions

    @lru_cache(maxsize=64)
    def outcome(asked: str, index: str, n_passages: int, how: str, llm: str) -> tuple[Any, pd.DataFrame, float]:
        asked = asked if re.search(r"\w", asked) else question
        known, one = prefix(llm) if how in (WRITES, CHOOSES) else None, made(index)
        start_s = time.process_time()
        found = one.search(asked, n_passages)
        given = [one.corpus[int(i)] for i in found["passage"]] if how != WITHOUT else []
        if how != WITHOUT and not given:  # the book has none of these words: no model is asked
            return retrieval.without_passages(), found, time.process_time() - start_s
        answer = retrieval.answer_from(asked, given, llms[llm], method=METHODS[how], prefix=known)
        return answer, found, time.process_time() - start_s

    def draw(asked: str, index: str, n_passages: int, how: str, llm: str) -> alt.LayerChart:
        answer, found, _ = outcome(asked, index, n_passages, how, llm)
        corpus = made(index).corpus
        titles = [
            f"[{rank}] {short(corpus[int(i)].title or corpus[int(i)].source, 40)}"
            for rank, i in zip(found["rank"], found["passage"], strict=True)
        ]
        table = pd.DataFrame({"label": titles, "score": found["score"].to_numpy()})
        if table.empty:
            table = pd.DataFrame({"label": ["no passage"], "score": [0.0]})
        return bars_with_range(
            table, "label", "score", title=ask_title(index, len(found), how, answer.cited), value_format=".2f",
            x_title=f"Score of {index} (each index has its own unit)",
            description=f"Scores of the passages that {index} finds for the question: {len(found)}",
        )  # fmt: skip

    def say(asked: str, index: str, n_passages: int, how: str, llm: str) -> str:
        answer, found, cpu_s = outcome(asked, index, n_passages, how, llm)
        spent = joules(cpu_s)
        note = "" if re.search(r"\w", asked) else " (the question was empty; this is the first one)"
        said = answer.with_citation or "(nothing)"
        sources = "\n".join(
            f"[{rank}] {link}: {short(text, 110)}"
            for rank, link, text in zip(found["rank"], found["link"], found["text"], strict=True)
        )
        passages = "Passages found" if how != WITHOUT else "Passages found, and not given"
        if answer.n_input_tokens:
            work = (
                f"{answer.n_input_tokens - answer.n_reused_tokens} tokens read, {answer.n_reused_tokens} known from "
                f"before, {answer.n_output_tokens} written or scored"
            )
        else:
            work = "No model was asked"
        return (
            f"Answer{note}: {said}\n{work}; "
            f"{duration(cpu_s)} of CPU time, MODELLED {quantity(spent['energy_j'], 'J')} "
            f"({quantity(spent['low_j'], 'J')} to {quantity(spent['high_j'], 'J')}).\n{passages}:\n{sources}"
        )

    def reached(asked: str, index: str, n_passages: int, how: str, llm: str) -> bool:
        answer, _, _ = outcome(asked, index, n_passages, how, llm)
        changed = asked.strip() and asked.strip() != question
        return bool(changed and how == CHOOSES and answer.text and len(answer.text.split()) <= 4)

    controls: dict[str, Any] = {
        "asked": W.Text(value=question, description="Question", continuous_update=False),
        "index": W.Dropdown(options=list(indexes), description="Index"),
        "n_passages": W.IntSlider(value=1, min=1, max=5, description="Passages", continuous_update=False),
        "how": W.Dropdown(options=list(METHODS), description="Answer by"),
        "llm": W.Dropdown(options=list(llms), description="Model"),
    }
    goal = "a question of your own, answered with a span of at most four words"
    return LinkedExplorer(controls, draw, say, reached, goal)


@dataclass(frozen=True)
class AnswerPage:
    """A page that a notebook shows as Markdown, so that its links open in Lab."""

    markdown: str

    def _repr_markdown_(self) -> str:
        return self.markdown

    def __repr__(self) -> str:
        return self.markdown


def answer_page(question: str, answer: retrieval.Answer) -> AnswerPage:
    """An answer with its sources as links.

    Args:
        question: that was asked.
        answer: to it.

    Raises:
        TypeError: if an argument is of another kind.
    """
    checks.text("question", question)
    checks.instance("answer", answer, retrieval.Answer)
    rows = [
        f"{number}. [{_plain(short(one.title or one.source))}](<{one.link}>): {_plain(short(one.text, 140))}"
        for number, one in enumerate(answer.passages, 1)
    ]
    sources = "\n".join(rows) or "(no passage was given)"
    return AnswerPage(f"**{_plain(question)}**\n\n{_plain(answer.with_citation) or '(nothing)'}\n\n{sources}")


def _plain(text: str) -> str:
    """Text of a passage or of a model as Markdown that shows it letter for letter."""
    return html.escape(_MARKS.sub(r"\\\1", text), quote=False).replace("\\&lt;", "&lt;").replace("\\&gt;", "&gt;")


def map_widget(index: retrieval.DenseIndex, question: str = QUESTION, nearest: int = 5) -> Explorer:
    """Type a question and see where it lands among the passages of the book.

    Args:
        index: of the passages, with its encoder.
        question: that the widget starts with.
        nearest: passages that are marked.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if the question has no word, or a number is out of range.
    """
    checks.instance("index", index, retrieval.DenseIndex)
    checks.text("question", question)
    if not re.search(r"\w", question):
        raise ValueError(f"question={question!r} has no word in it: give one")
    nearest = checks.integer("nearest", nearest, low=1, high=20)
    vectors = passage_vectors(index)
    plane = Plane(vectors)
    spots = pd.DataFrame(plane.place(vectors), columns=["x", "y"]).round(3)
    spots["kind"] = [kind_of(one) for one in index.corpus]

    @lru_cache(maxsize=64)
    def outcome(asked: str) -> tuple[str, pd.DataFrame, pd.DataFrame]:
        words = asked if re.search(r"\w", asked) else question
        found = index.search(words, nearest)
        place = plane.place(retrieval.embed([words], index.minilm))[0]
        here = pd.DataFrame([{"question": words, "x": place[0], "y": place[1]}])
        rows = spots.loc[found["passage"], ["x", "y"]].reset_index(drop=True)
        titles = [short(index.corpus[int(i)].title or index.corpus[int(i)].source) for i in found["passage"]]
        return words, here, rows.assign(title=titles, score=found["score"].to_numpy(), link=found["link"].to_numpy())

    def draw(asked: str) -> alt.LayerChart:
        _, here, rows = outcome(asked)
        return map_chart(spots, here, rows, f"Nearest, with a cosine of {rows['score'][0]:.2f}: {rows['title'][0]}")

    def say(asked: str) -> str:
        words, _, rows = outcome(asked)
        note = "" if words == asked else " (the question was empty; this is the first one)"
        near = "\n".join(f"{r['score']:.2f} {r['title']}: {r['link']}" for r in rows.to_dict("records"))
        return f"Nearest passages{note}, by the cosine of their vectors:\n{near}"

    def reached(asked: str) -> bool:
        _, _, rows = outcome(asked)
        return bool(rows["score"].iloc[0] >= 0.75)

    controls = {"asked": W.Text(value=question, description="Question", continuous_update=False)}
    return LinkedExplorer(controls, draw, say, reached, "a question whose nearest passage has a cosine of 0.75 or more")
