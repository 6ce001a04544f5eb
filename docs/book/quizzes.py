"""The quiz at the end of a chapter's page: the same questions, answers and order as ``view.quiz`` in a notebook."""

from __future__ import annotations

import html
import json

from docs.book.links import Places, relink
from greenlab.workshop.questions import questions
from greenlab.workshop.view.quiz import _order


def quiz(chapter: str, places: Places, page: str) -> str:
    """The questions of a chapter as a form in HTML, with the feedback on each answer beside it.

    Args:
        chapter: its name in folders.
        places: where the links of a feedback lead.
        page: the page that shows the quiz.
    """
    parts = []
    for number, question in enumerate(questions(chapter), start=1):
        name = html.escape(f"{chapter}.{question.id}")
        rows = []
        for place, option in enumerate(_order(question)):
            said = relink(html.escape(option.feedback, quote=False), places, "notebooks/quiz.ipynb", page)
            data = html.escape(json.dumps({"right": option.right, "said": said}, ensure_ascii=False))
            rows.append(
                f'<p><label><input type="radio" name="{name}" value="{place}" data-feedback="{data}"> '
                f"{html.escape(option.text)}</label></p>"
            )
        parts.append(
            f"<fieldset><legend>{number}. {html.escape(question.text)}</legend>{''.join(rows)}"
            '<p role="status" aria-live="polite"></p></fieldset>'
        )
    return (
        f'<form class="gl-quiz" data-chapter="{chapter}">{"".join(parts)}<p role="status" class="gl-score"></p></form>'
    )
