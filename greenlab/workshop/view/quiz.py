"""The quiz on the page: choose an answer with mouse or keys, and read at once what it is worth.

The answers stand in an order that does not tell which is right, the same for everyone. What a notebook stores of the
widget holds no answer.
"""

from __future__ import annotations

import hashlib
import html
import re
from typing import Any

import ipywidgets as W

from greenlab.lab import page
from greenlab.workshop.questions import Option, Question, questions

_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]*)\)")
SALT = "79"  # chosen so that the right answers stand in each place equally often; a test holds it
FEEDBACK = '<div role="status" aria-live="polite" style="line-height:1.5;max-width:44em">{}</div>'


def _order(question: Question) -> list[Option]:
    return sorted(question.options, key=lambda option: hashlib.sha256(f"{SALT}{option.text}".encode()).hexdigest())


def _linked(text: str) -> str:
    return _LINK.sub(r'<a href="\2">\1</a>', html.escape(text))


def _said(option: Option) -> str:
    return f"<b>{'✓' if option.right else '✗'}</b> {_linked(option.feedback)}"


class Quiz(W.VBox):
    """The questions of a chapter, each with radio buttons and the feedback on what was chosen.

    Args:
        chapter: its name in folders, such as ``layer_pruning``.

    Raises:
        TypeError: if ``chapter`` is no text.
        ValueError: if there is no such chapter, or it has no question.
    """

    def __init__(self, chapter: str) -> None:
        self.questions = questions(chapter)
        self.choices: dict[str, W.RadioButtons] = {}
        self.feedback: dict[str, W.HTML] = {}
        self.message = W.HTML()
        parts: list[W.Widget] = []
        for number, question in enumerate(self.questions, start=1):
            options = _order(question)
            buttons = W.RadioButtons(
                options=[(option.text, place) for place, option in enumerate(options)],
                value=None,
                description=f"Answer to question {number}:",
                style={"description_width": "initial"},
                layout=W.Layout(width="auto", max_width="60em"),
            )
            said = W.HTML()
            buttons.observe(lambda change, options=options, said=said: self._tell(change, options, said), names="value")
            self.choices[question.id], self.feedback[question.id] = buttons, said
            parts += [W.HTML(f"<p><b>{number}.</b> {html.escape(question.text)}</p>"), buttons, said]
        page.attend()
        super().__init__([*parts, self.message])

    def _tell(self, change: dict[str, Any], options: list[Option], said: W.HTML) -> None:
        said.value = "" if change["new"] is None else FEEDBACK.format(_said(options[change["new"]]))
        if all(buttons.value is not None for buttons in self.choices.values()):
            self.message.value = FEEDBACK.format(
                f"{self.n_right} of {len(self.questions)} right. Change what you like."
            )

    @property
    def n_right(self) -> int:
        """How many questions are answered right now."""
        chosen = ((question, self.choices[question.id].value) for question in self.questions)
        return sum(place is not None and _order(question)[place].right for question, place in chosen)

    def __repr__(self) -> str:
        return f"[quiz] {len(self.questions)} questions. Run the cell to answer them"


def quiz(chapter: str) -> Quiz:
    """The quiz of a chapter, to be shown by a cell of any notebook.

    Args:
        chapter: its name in folders, such as ``layer_pruning``.

    Raises:
        TypeError: if ``chapter`` is no text.
        ValueError: if there is no such chapter, or it has no question.
    """
    return Quiz(chapter)


def folds(question: Question) -> str:
    """The answers to a question as folds of a web page, each with its feedback inside.

    Args:
        question: one of ``questions(chapter)``.

    Raises:
        TypeError: if it is no ``Question``.
    """
    if not isinstance(question, Question):
        raise TypeError(f"question={question!r:.80} is {type(question).__name__}: give one of questions(chapter)")
    return "".join(
        f"<details><summary>{html.escape(option.text)}</summary><p>{_said(option)}</p></details>"
        for option in _order(question)
    )


def quiz_html(chapter: str) -> str:
    """The quiz of a chapter as a part of a web page that needs no kernel: a fold for each answer, with its feedback.

    Args:
        chapter: its name in folders, such as ``layer_pruning``.

    Raises:
        TypeError: if ``chapter`` is no text.
        ValueError: if there is no such chapter, or it has no question.
    """
    return "\n".join(f"<h3>{html.escape(question.text)}</h3>{folds(question)}" for question in questions(chapter))
