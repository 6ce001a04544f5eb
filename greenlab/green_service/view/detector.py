"""The greenwash detector: choose a claim, tick what is missing, and read at once how far that is right."""

from __future__ import annotations

import html
from typing import Any

import ipywidgets as W

from greenlab.green_service import CLAIMS, KINDS, judge
from greenlab.lab.widgets import MESSAGE


class Detector(W.VBox):
    """Ten claims of products that do not exist; the answer is compared as soon as something is ticked."""

    def __init__(self) -> None:
        options = [(f"{number}: {one.text}"[:60] + "…", one.id) for number, one in enumerate(CLAIMS.values(), 1)]
        self.claim = W.Dropdown(options=options, description="Claim", layout=W.Layout(width="560px"))
        self.boxes = {kind: W.Checkbox(value=False, description=f"missing: {kind}", indent=False) for kind in KINDS}
        self.complete = W.Checkbox(value=False, description="nothing is missing", indent=False)
        self.solved: set[str] = set()
        self._text, self._quiet = "", False
        self.message = W.HTML()
        self.claim.observe(self._new_claim, names="value")
        for box in (*self.boxes.values(), self.complete):
            box.observe(self._redraw, names="value")
        row = W.HBox([*self.boxes.values(), self.complete], layout=W.Layout(flex_flow="row wrap"))
        super().__init__([self.claim, row, self.message])
        self._redraw()

    @property
    def text(self) -> str:
        """What the widget says now."""
        return self._text

    def judged(self, claim: str, *missing: str) -> str:
        """What the widget says of an answer; then it stands again where it stood.

        Args:
            claim: a name of `CLAIMS`.
            missing: names of `KINDS`; none to say that nothing is missing.

        Raises:
            ValueError: if a name is unknown.
        """
        return _said(claim, missing, tried=True)

    def _new_claim(self, _: Any) -> None:
        self._quiet = True
        for box in (*self.boxes.values(), self.complete):
            box.value = False
        self._quiet = False
        self._redraw()

    def _redraw(self, _: Any = None) -> None:
        if self._quiet:
            return
        missing = [kind for kind, box in self.boxes.items() if box.value]
        tried = bool(missing) or self.complete.value
        if tried and judge(self.claim.value, missing).correct:
            self.solved.add(self.claim.value)
        self._text = _said(self.claim.value, missing, tried=tried)
        said = f"{self._text}\nSolved so far: {len(self.solved)} of {len(CLAIMS)}."
        self.message.value = MESSAGE.format(html.escape(said).replace("\n", "<br>"))

    def __repr__(self) -> str:
        return f"[widget] Run the cell to use it. It holds {len(CLAIMS)} claims"


def _said(claim: str, missing: Any, *, tried: bool) -> str:
    text = f"“{CLAIMS[claim].text}”" if claim in CLAIMS else ""
    if not tried:
        return f"{text}\nTick what is missing, or that nothing is."
    found = judge(claim, missing)
    if found.correct:
        why = [f"{kind}: {reason}" for kind, reason in CLAIMS[claim].missing.items()]
        return "\n".join([text, "Right.", *(why or ["Nothing is missing: it can be checked as it stands."])])
    return f"{text}\nNot yet. {found.hint[:1].upper()}{found.hint[1:]}."
