"""The reader's card: to download as Markdown and JSON, and to lay beside one that somebody else made.

Both files are made here and stand in the page as links, so that nothing is asked of a server. An uploaded file is text
from a stranger: it is read as `read_card` does, nothing in it is run, and its words are shown as words.
"""

from __future__ import annotations

import base64
import html
from typing import Any

import ipywidgets as W

from greenlab.core import checks
from greenlab.green_service import Card, choices, decode_card, differences, lever_by_lever, load_card, make_card
from greenlab.green_service.card import MOST_BYTES
from greenlab.green_service.view.designer import Designer
from greenlab.lab.tables import table
from greenlab.lab.widgets import MESSAGE

LINK = '<a download="{name}" href="data:{kind};base64,{data}" style="text-decoration:underline">{words}</a>'
FILES = (("json", "application/json"), ("md", "text/markdown"))
WIDE = {"description_width": "initial"}


class CardDesk(W.VBox):
    """Make the card of a designer's service, download it, and load another to compare.

    Args:
        designer: whose design the card is of.

    Raises:
        TypeError: if ``designer`` is no `Designer`.
    """

    def __init__(self, designer: Designer) -> None:
        self._designer = checks.instance("designer", designer, Designer, remedy="see.Designer(level=1) makes one")
        self.title = W.Text(value="My green service", description="Title of the card", style=WIDE)
        self.make = W.Button(description="Make my card", layout=W.Layout(width="auto"))
        self.links = W.HTML()
        self.upload = W.FileUpload(accept=".json", multiple=False, description="Load a classmate's card (.json)",
                                   layout=W.Layout(width="auto"))  # fmt: skip
        self.path = W.Text(value="", placeholder="or the path of its file", description="Path of a card", style=WIDE)
        self.path.continuous_update = False
        self.load = W.Button(description="Load from this path", layout=W.Layout(width="auto"))
        self.message, self.beside = W.HTML(), W.HTML()
        self.card: Card | None = None
        self.theirs: Card | None = None
        self._text = ""
        self.make.on_click(lambda _: self.make_mine())
        self.upload.observe(self._uploaded, names="value")
        self.load.on_click(lambda _: self.load_from(self.path.value))
        rows = [W.HBox(row, layout=W.Layout(flex_flow="row wrap")) for row in (
            [self.title, self.make], [self.upload], [self.path, self.load])]  # fmt: skip
        super().__init__([rows[0], self.links, *rows[1:], self.message, self.beside])
        self._say("Press Make my card: it holds the design of the widget above and every assumption behind it.")

    @property
    def text(self) -> str:
        """What the widget says now."""
        return self._text

    def make_mine(self) -> Card | None:
        """Make the card of the design as it stands, and its two links; None, and the reason said, if it cannot be."""
        try:
            designer = self._designer
            card = make_card(designer.service, designer.assumed, title=self.title.value)
        except ValueError as error:
            self.card, self.links.value, self.beside.value = None, "", ""
            self._say(f"No card: {error}.")
            return None
        self.card = card
        texts = {"json": card.to_json(), "md": card.to_markdown()}
        self.links.value = " &nbsp; ".join(
            LINK.format(name=f"my_card.{ending}", kind=kind, words=f"Download my_card.{ending}",
                        data=base64.b64encode(texts[ending].encode()).decode())
            for ending, kind in FILES
        )  # fmt: skip
        sci = card.to_dict()["sci"]
        words = f"SCI: {sci['value']:.3g} {sci['unit']} ({sci['low']:.3g} to {sci['high']:.3g})."
        moved = ", ".join(item.name for item in card.assumed.moved())
        self._say(f"Your card is made. {words} Moved by you: {moved or 'nothing'}.")
        self._compare()
        return card

    def load_from(self, path: str) -> Card | None:
        """Load a card from a file and lay it beside one's own; None, and the reason said, if it is refused."""
        try:
            return self._take(load_card(path))
        except (ValueError, TypeError, OSError) as error:
            self._refuse(error)
            return None

    def load_bytes(self, raw: bytes, name: str = "the file") -> Card | None:
        """Load a card from what an upload holds; None, and the reason said, if it is refused."""
        try:
            return self._take(decode_card(raw))
        except (ValueError, TypeError) as error:
            self._refuse(error, f"{name}: ")
            return None

    def _uploaded(self, _: Any) -> None:
        for file in self.upload.value[-1:]:
            if file["size"] > MOST_BYTES:
                self._refuse(ValueError(f"{file['name']} has more than {MOST_BYTES:,} bytes: no card is so large"))
            else:
                self.load_bytes(file["content"], str(file["name"])[:120])

    def _refuse(self, error: Exception, where: str = "") -> None:
        self.theirs, self.beside.value = None, ""
        self._say(f"Refused: {where}{error}.")

    def _take(self, card: Card) -> Card:
        self.theirs = card
        self._say(f"Loaded: {card.title}. Its figures were computed again, and they are those of its design.")
        if self.card is None:
            self.make_mine()
        else:
            self._compare()
        return card

    def _compare(self) -> None:
        """Both cards beside each other: what was chosen, each figure, and the way from one to the other."""
        if self.card is None or self.theirs is None:
            self.beside.value = ""
            return
        mine, theirs = self.card, self.theirs
        differing = choices(mine, theirs)
        if not len(differing):
            self.beside.value = "<p>Both cards hold the same design and the same assumptions.</p>"
            return
        parts = [table(differing, {"Choice": "what", "Mine": "mine", "Theirs": "theirs"}, "What the two chose")]
        try:
            figures, steps = differences(mine, theirs), lever_by_lever(mine, theirs)
        except ValueError as error:
            words = html.escape(f"{error}. So the figures cannot be compared.")
            self.beside.value = parts[0]._repr_html_() + f"<p>{words}</p>"
            return
        parts.append(
            table(figures, {"A request's": "quantity", "Mine": ("mine", ".3g"), "Theirs": ("theirs", ".3g"),
                            "Unit": "unit", "Theirs over mine": ("ratio", ".2f"), "Bands apart": "apart"},
                  f"Mine and theirs: {theirs.title[:60]}")
        )  # fmt: skip
        if len(steps):
            parts.append(
            table(steps, {"From mine, after": "step", "Energy": ("energy", ".0%"), "Carbon": ("carbon", ".0%"),
                          "Water": ("water", ".0%"), "Cost": ("cost", ".0%"), "Quality left": ("quality", ".1%")},
                  "Lever by lever from mine to theirs; mine is 100 %")
        )  # fmt: skip
        self.beside.value = "".join(part._repr_html_() for part in parts)

    def _say(self, text: str) -> None:
        self._text = text
        self.message.value = MESSAGE.format(html.escape(text))

    def __repr__(self) -> str:
        return "[widget] Run the cell to use it. It makes the card of your design and loads another"
