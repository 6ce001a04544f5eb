"""The sustainability card: a design, its figures with their bands, its SCI and every assumption, to hand on.

The SCI stands with its four terms (ISO/IEC 21031:2024): E, I, M and R. Assumptions that somebody moved are listed
apart, beside what is published.

As JSON it can be loaded again, and the figures come out the same; as Markdown it can be read. ``load_card`` refuses a
card that is broken, of another kind or of another version, and one whose figures are not those of its design and
assumptions, with the field named. The file is text from a stranger: nothing in it is run.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from greenlab.core import checks
from greenlab.green_service.assumptions import LIMITS, MOVED, Assumption, Assumptions, assumptions
from greenlab.green_service.carbon import grid_after_shift
from greenlab.green_service.design import Service
from greenlab.green_service.evaluation import QUANTITIES, bands, evaluate
from greenlab.green_service.levers import apply, pulled
from greenlab.green_service.quality import quality_kept, quality_table

SCHEMA, VERSION = "greenlab sustainability card", 2
FUNCTIONAL_UNIT = "one request"
MOST_BYTES = 1_000_000
FIELDS = (
    "schema",
    "version",
    "title",
    "functional_unit",
    "service",
    "assumptions",
    "moved",
    "figures",
    "sci",
    "quality",
    "remarks",
)
TOLERANCE = 1e-6  # relative; figures are computed again on another machine


@dataclass(frozen=True)
class Card:
    """A design with all that its figures rest on.

    Attributes:
        title: what the service is called, up to 200 characters.
        service: the design.
        assumed: its assumptions.

    Raises:
        TypeError: if a field is of another kind.
        ValueError: if the title is empty or too long.
    """

    title: str
    service: Service
    assumed: Assumptions

    def __post_init__(self) -> None:
        checks.text("title", self.title)
        if not 1 <= len(self.title) <= 200 or not self.title.isprintable():
            raise ValueError(f"title={self.title!r:.80}: give 1 to 200 characters on one line")
        checks.instance("service", self.service, Service)
        checks.instance("assumed", self.assumed, Assumptions)

    def figures(self) -> pd.DataFrame:
        """The figures with their bands, as `evaluation.bands` gives them."""
        return bands(self.service, self.assumed)

    def moved(self) -> list[dict[str, Any]]:
        """The assumptions that somebody moved, each with the published number: name, published, value, low, high, unit.

        What the design itself gives, such as its PUE, is a choice and no moved assumption.
        """
        published = assumptions(self.service)
        return [
            {"name": item.name, "published": published[item.name].value, "value": item.value, "low": item.low,
             "high": item.high, "unit": item.unit}
            for item in self.assumed.moved()
        ]  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """The card as JSON holds it."""
        outcome = evaluate(self.service, self.assumed)
        carbon = self.figures().query("quantity == 'carbon' and per == 'request'").iloc[0]
        sci = {
            "value": float(carbon["value"]), "low": float(carbon["low"]), "high": float(carbon["high"]),
            "unit": f"g CO2e per {FUNCTIONAL_UNIT.removeprefix('one ')}", "accounting": "location-based",
            "embodied": "accelerators and servers, by the time they are switched on",
            "e_kwh": float(outcome.energy.total_kwh),
            "i_g_per_kwh": float(grid_after_shift(self.service, self.assumed.values())),
            "m_g": float(outcome.carbon.embodied_g), "r": FUNCTIONAL_UNIT,
        }  # fmt: skip
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "title": self.title,
            "functional_unit": FUNCTIONAL_UNIT,
            "service": dataclasses.asdict(self.service),
            "assumptions": [dataclasses.asdict(item) for item in self.assumed.items],
            "moved": self.moved(),
            "figures": _records(self.figures()),
            "sci": sci,
            "quality": {"kept": outcome.quality, "levers": _records(quality_table(self.service))},
            "remarks": list(outcome.remarks),
        }

    def to_json(self) -> str:
        """The card as JSON, which `load_card` reads back."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def to_markdown(self) -> str:
        """The card as a page."""
        card = self.to_dict()
        sci, service = card["sci"], card["service"]
        lines = [
            f"# {_cell(self.title)}",
            "",
            f"Sustainability card, version {VERSION}; functional unit: {FUNCTIONAL_UNIT}.",
        ]
        lines += ["", f"**SCI: {sci['value']:.3g} {sci['unit']}** ({sci['low']:.3g} to {sci['high']:.3g}), "
                      f"{sci['accounting']}; manufacture: {sci['embodied']}.", ""]  # fmt: skip
        lines += ["| (E x I + M) / R | value |", "|---|---|"]
        lines += [
            f"| E, energy with the building | {sci['e_kwh']:.4g} kWh |",
            f"| I, intensity of the grid after waiting for clean hours | {sci['i_g_per_kwh']:.4g} g CO2e/kWh |",
            f"| M, manufacture | {sci['m_g']:.4g} g CO2e |",
            f"| R, functional unit | {sci['r']} |",
            "",
        ]
        lines += ["| quantity | per | value | range | unit | basis |", "|---|---|---|---|---|---|"]
        lines += [
            f"| {row['quantity']} | {row['per']} | {row['value']:.4g} | {row['low']:.4g} to {row['high']:.4g} | "
            f"{row['unit']} | {row['basis']} |"
            for row in card["figures"]
        ]
        lines += ["", f"Quality that is left: {100 * card['quality']['kept']:.1f} %.", ""]
        lines += [f"- {row['lever']}: {100 * row['kept']:.1f} % ({row['basis']}; {row['remark']}; {row['source']})"
                  for row in card["quality"]["levers"]]  # fmt: skip
        lines += [f"- {remark}" for remark in card["remarks"]]
        lines += ["", "## Design", "", "| choice | value |", "|---|---|"]
        lines += [
            f"| {name} | {'as needed or assumed' if value is None else value} |" for name, value in service.items()
        ]
        lines += ["", "## Assumptions that were moved", ""]
        lines += [] if card["moved"] else ["None: all stand as published."]
        if card["moved"]:
            lines += ["| name | published | here | range | unit |", "|---|---|---|---|---|"]
        lines += [
            f"| {item['name']} | {item['published']:.4g} | {item['value']:.4g} | {item['low']:.4g} to "
            f"{item['high']:.4g} | {_cell(item['unit'])} |"
            for item in card["moved"]
        ]
        lines += ["", "## Assumptions", "", "| name | meaning | value | range | unit | basis | source |"]
        lines += ["|---|---|---|---|---|---|---|"]
        lines += [
            f"| {item['name']} | {_cell(item['meaning'])} | {item['value']:.4g} | {item['low']:.4g} to "
            f"{item['high']:.4g} | {_cell(item['unit'])} | {item['basis']} | {_cell(item['source'])} |"
            for item in card["assumptions"]
        ]
        return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text for a cell of a Markdown table: what would end the cell or start HTML is written out."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def make_card(service: Service, assumed: Assumptions | None = None, *, title: str = "A green service") -> Card:
    """The card of a design.

    Args:
        service: the design.
        assumed: its assumptions, or None for `assumptions` of the service.
        title: what the service is called.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if the title is empty or too long, or the design cannot be built.

    >>> from greenlab.green_service.design import DEFAULT
    >>> read_card(make_card(DEFAULT).to_json()) == make_card(DEFAULT)
    True
    """
    found = evaluate(service, assumed)  # a design that cannot be built has no card
    return Card(title, found.service, found.assumed)


def save_card(card: Card, path: str | Path) -> Path:
    """Write a card: as JSON if the file's name ends in .json, as Markdown if it ends in .md.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if the name ends in neither.
    """
    checks.instance("card", card, Card, remedy="make_card(...) gives it")
    target = _path(path)
    if target.suffix not in (".json", ".md"):
        raise ValueError(f"path={str(path)!r:.120}: give a name that ends in .json or .md")
    text = card.to_json() if target.suffix == ".json" else card.to_markdown()
    target.write_text(text, encoding="utf-8", newline="\n")
    return target


def _path(path: str | Path) -> Path:
    if not isinstance(path, (str, Path)) or not str(path) or "\0" in str(path):
        kind = ValueError if isinstance(path, (str, Path)) else TypeError
        raise kind(f"path={path!r:.80}: give the name of a file")
    return Path(path)


def load_card(path: str | Path) -> Card:
    """Read a card from a JSON file and compute its figures again.

    Args:
        path: of the file.

    Raises:
        TypeError: if ``path`` is no path.
        ValueError: if the file is no card of this version, a field is missing, unknown, of another kind or out of
            range, or a figure is not that of the design; the message names the field.
        FileNotFoundError: if there is no such file.
    """
    source = _path(path)
    if not source.is_file():
        raise FileNotFoundError(f"path={str(path)!r:.120}: there is no such file")
    with source.open("rb") as file:
        raw = file.read(MOST_BYTES + 1)
    return _decode(raw, f"path={str(path)!r:.120}")


def decode_card(raw: bytes) -> Card:
    """Read a card from the bytes of a JSON file, as a page uploads them, and compute its figures again.

    Args:
        raw: what the file holds.

    Raises:
        TypeError: if ``raw`` is no bytes.
        ValueError: if the bytes are too many or no UTF-8 text, and as for `load_card`.

    >>> from greenlab.green_service.design import DEFAULT
    >>> decode_card(make_card(DEFAULT).to_json().encode()).service == DEFAULT
    True
    """
    if not isinstance(raw, (bytes, bytearray, memoryview)):
        raise TypeError(f"raw={raw!r:.80} is {type(raw).__name__}: give the bytes of a card's JSON file")
    return _decode(raw, "raw")


def _decode(raw: bytes, name: str) -> Card:
    if len(raw) > MOST_BYTES:
        raise ValueError(f"{name} has more than {MOST_BYTES:,} bytes: no card is so large")
    try:
        text = bytes(raw).decode("utf-8-sig")  # editors on Windows put a mark before the text
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is no UTF-8 text ({error.reason}): give a card's JSON file") from None
    return read_card(text)


def read_card(text: str) -> Card:
    """Read a card from JSON text and compute its figures again.

    Args:
        text: what `Card.to_json` gave.

    Raises:
        TypeError: if ``text`` is no text.
        ValueError: as for `load_card`.
    """
    checks.text("text", text)
    if len(text) > MOST_BYTES:
        raise ValueError(f"text has {len(text):,} characters: no card is so large")
    try:
        found = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("text is nested too deeply: give a card's JSON") from None
    except ValueError as error:
        raise ValueError(f"text is no JSON of a card: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"text holds {type(found).__name__}: a card is an object with the fields {', '.join(FIELDS)}")
    if found.get("schema") != SCHEMA:
        raise ValueError(f"schema={found.get('schema')!r:.80}: give a card with schema={SCHEMA!r}")
    if found.get("version") != VERSION or isinstance(found.get("version"), bool):
        raise ValueError(f"version={found.get('version')!r:.80}: this version of greenlab reads version {VERSION}")
    _same_names("card", found, FIELDS)
    card = Card(_named("title", found["title"], str), _service(found["service"]), _assumptions(found["assumptions"]))
    _compare("card", found, json.loads(card.to_json()))
    _follow(card)
    return card


def _no_constant(name: str) -> None:
    raise ValueError(f"it holds {name}, which is no number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the field {name!r:.80} stands there twice")
        found[name] = value
    return found


def _same_names(where: str, found: dict[str, Any], needed: tuple[str, ...]) -> None:
    if missing := [name for name in needed if name not in found]:
        raise ValueError(f"{where}.{missing[0]} is missing: give all of {', '.join(needed)}")
    if unknown := [name for name in found if name not in needed]:
        raise ValueError(f"{where}.{unknown[0]!s:.80} is unknown: a card has {', '.join(needed)}")


def _named(where: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{where}={value!r:.80} is {type(value).__name__}: a card holds {kind.__name__} there")
    return value


def _service(found: Any) -> Service:
    _named("service", found, dict)
    _same_names("service", found, tuple(field.name for field in dataclasses.fields(Service)))
    try:
        return Service(**found)
    except (TypeError, ValueError) as error:
        raise ValueError(f"service.{error}") from None


def _assumptions(found: Any) -> Assumptions:
    items = []
    for position, item in enumerate(_named("assumptions", found, list)):
        where = f"assumptions[{position}]"
        _same_names(where, _named(where, item, dict), tuple(field.name for field in dataclasses.fields(Assumption)))
        try:
            made = Assumption(**item)
            checks.one_of("name", made.name, tuple(LIMITS))
            least, greatest, why = LIMITS[made.name]
            for end in ("value", "low", "high"):
                checks.number(end, getattr(made, end), low=least, high=greatest, remedy=why)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{where}.{error}") from None
        items.append(made)
    try:
        return Assumptions(tuple(items))
    except ValueError as error:
        raise ValueError(f"assumptions: {error}") from None


def _follow(card: Card) -> None:
    """Refuse numbers of another design, as Germany's grid under a service in Poland; a reader's own may be any.

    Raises:
        ValueError: if an assumption that nobody moved is not the one of the card's service.
    """
    own = assumptions(card.service)
    for position, item in enumerate(card.assumed.items):
        right = own[item.name]
        if item.source == MOVED:
            right = dataclasses.replace(
                right, value=item.value, low=item.low, high=item.high, basis="given", source=MOVED
            )
        for field in ("value", "low", "high", "unit", "basis", "source", "meaning"):
            found, needed = getattr(item, field), getattr(right, field)
            if found != needed:
                raise ValueError(
                    f"assumptions[{position}].{field}={found!r:.80}: {item.name} has {needed!r:.80} for this "
                    "service; a number of one's own is set by assumed.move(...), and says so"
                )


def _compare(where: str, found: Any, computed: Any) -> None:
    """Refuse what differs from the figures that follow from the design; numbers may differ by rounding."""
    if isinstance(computed, dict):
        _same_names(where, _named(where, found, dict), tuple(computed))
        for name, value in computed.items():
            _compare(f"{where}.{name}", found[name], value)
    elif isinstance(computed, list):
        if len(_named(where, found, list)) != len(computed):
            raise ValueError(f"{where} has {len(found)} entries: {len(computed)} follow from the design")
        for position, value in enumerate(computed):
            _compare(f"{where}[{position}]", found[position], value)
    elif isinstance(computed, float) and isinstance(found, (int, float)) and not isinstance(found, bool):
        try:
            near = math.isclose(found, computed, rel_tol=TOLERANCE, abs_tol=1e-15)
        except OverflowError:  # an integer of hundreds of digits is no float
            raise ValueError(f"{where} has more digits than any figure: {computed:g} follows from the design") from None
        if not near:
            raise ValueError(f"{where}={found:g}: {computed:g} follows from the design and its assumptions")
    elif found != computed or type(found) is not type(computed):
        raise ValueError(f"{where}={found!r:.80}: {computed!r:.80} follows from the design and its assumptions")


def differences(mine: Card, theirs: Card) -> pd.DataFrame:
    """What two cards differ in: the levers, and every figure of a request beside each other.

    Args:
        mine: from `make_card` or `load_card`.
        theirs: likewise.

    Returns:
        One row a figure of a request: quantity, mine, theirs, ratio (theirs over mine), apart (whether the bands do
        not meet), unit, levers (in which the designs differ).

    Raises:
        TypeError: if one is no card.
        ValueError: if the two services do not do the same work.
    """
    checks.instance("mine", mine, Card)
    checks.instance("theirs", theirs, Card)
    levers = ", ".join(pulled(mine.service, theirs.service))
    rows = []
    own, other = (card.figures().query("per == 'request'").set_index("quantity") for card in (mine, theirs))
    for quantity in own.index:
        a, b = own.loc[quantity], other.loc[quantity]
        apart = bool(a["low"] > b["high"] or b["low"] > a["high"])
        row = {"quantity": quantity, "mine": float(a["value"]), "theirs": float(b["value"])}
        row |= {"ratio": float(b["value"]) / float(a["value"]), "apart": apart, "unit": a["unit"], "levers": levers}
        rows.append(row)
    return pd.DataFrame(rows)


def choices(mine: Card, theirs: Card) -> pd.DataFrame:
    """Every choice and every moved assumption in which two cards differ.

    Args:
        mine: from `make_card` or `load_card`.
        theirs: likewise.

    Returns:
        One row a difference: what, mine, theirs, in words; no row where the two are the same. An assumption stands
        here only if one of the two moved it.

    Raises:
        TypeError: if one is no card.

    >>> from greenlab.green_service.design import DEFAULT
    >>> choices(make_card(DEFAULT), make_card(DEFAULT.replace(batch=64))).to_numpy().tolist()
    [['batch', '16', '64']]
    """
    checks.instance("mine", mine, Card)
    checks.instance("theirs", theirs, Card)
    rows = []
    for field in dataclasses.fields(Service):
        own, other = getattr(mine.service, field.name), getattr(theirs.service, field.name)
        if own != other:
            rows.append({"what": field.name, "mine": _word(own), "theirs": _word(other)})
    moved = {item.name for card in (mine, theirs) for item in card.assumed.moved()}
    for item in mine.assumed.items:
        other_item = theirs.assumed[item.name]
        if item.name in moved and (item.value, item.low, item.high) != (
            other_item.value, other_item.low, other_item.high,
        ):  # fmt: skip
            rows.append({"what": f"{item.name}, assumed", "mine": _ranged(item), "theirs": _ranged(other_item)})
    return pd.DataFrame(rows, columns=["what", "mine", "theirs"])


def _word(value: Any) -> str:
    return "as needed or assumed" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _ranged(item: Assumption) -> str:
    words = f"{item.value:.4g}"
    if item.low < item.high:
        words += f" ({item.low:.4g} to {item.high:.4g})"
    return words + (", moved" if item.source == MOVED else "")


QUANTITIES_BY_LEVER = ("energy", "carbon", "water", "cost")


def lever_by_lever(mine: Card, theirs: Card) -> pd.DataFrame:
    """From one card's design to the other's, a lever at a time, and at last to the other's assumptions.

    Levers that cannot be built one after the other stand in one row. No gate stops a lever here: this is how the two
    differ, and no saving is claimed; the quality stands beside.

    Args:
        mine: from `make_card` or `load_card`; its moved assumptions hold until the last row.
        theirs: likewise.

    Returns:
        One row a step: step (the lever, or "their assumptions" if they moved others), energy, carbon, water, cost (of a
        request after the step, over those of mine), quality (that is left). The last row is theirs.

    Raises:
        TypeError: if one is no card.
        ValueError: if the two services do not do the same work.

    >>> from greenlab.green_service.design import DEFAULT
    >>> lever_by_lever(make_card(DEFAULT), make_card(DEFAULT.replace(batch=64, bits=8)))["step"].tolist()
    ['fewer bits', 'larger batch']
    """
    checks.instance("mine", mine, Card)
    checks.instance("theirs", theirs, Card)
    names = pulled(mine.service, theirs.service)
    moved = {item.name: (item.value, item.low, item.high) for item in mine.assumed.moved()}
    start = _request(mine.service, mine.assumed)
    rows: list[dict[str, Any]] = []
    waiting: list[str] = []
    for count, name in enumerate(names, 1):
        waiting.append(name)
        try:
            service = apply(mine.service, theirs.service, names[:count])
            now = _request(service, assumptions(service).move(**moved))
        except ValueError:
            continue  # together with the next one
        rows.append({"step": " + ".join(waiting)} | _over(now, start) | {"quality": quality_kept(service)})
        waiting = []
    others = {item.name: (item.value, item.low, item.high) for item in theirs.assumed.moved()}
    last = [*waiting, *(["their assumptions"] if others != moved else [])]
    if last:
        now = _request(theirs.service, theirs.assumed)
        rows.append({"step": " + ".join(last)} | _over(now, start) | {"quality": quality_kept(theirs.service)})
    return pd.DataFrame(rows, columns=["step", *QUANTITIES_BY_LEVER, "quality"])


def _request(service: Service, assumed: Assumptions) -> dict[str, float]:
    outcome = evaluate(service, assumed)
    return {name: float(QUANTITIES[name][3](outcome)) for name in QUANTITIES_BY_LEVER}


def _over(now: dict[str, float], start: dict[str, float]) -> dict[str, float]:
    return {name: value / start[name] for name, value in now.items()}
