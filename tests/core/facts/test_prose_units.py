"""A number with a unit that is not its fact's is refused in whatever shape it is written, and the right unit passes in
the same shapes.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenlab.core import facts
from greenlab.core.facts import matches, page, prose, schema
from tests import notebook_rules as rules

MEASURES = [
    *[
        "Wh",
        "kWh",
        "MWh",
        "GWh",
        "TWh",
        "PWh",
        "J",
        "kJ",
        "MJ",
        "EJ",
        "W",
        "kW",
        "MW",
        "GW",
        "g",
        "kg",
        "t",
        "kt",
        "Mt",
    ],
    *[
        "GB",
        "TB",
        "GB/s",
        "TFLOP/s",
        "TOP/s",
        "FLOP",
        "tokens/s",
        "J/token",
        "g/kWh",
        "kWh/GB",
        "mL",
        "µg",
        "μg",
        "Hz",
        "%",
    ],
    *["ms", "h", "days", "tokens", "parameters", "servers", "experts", "layers", "chips", "prompts", "x", "times", "‰"],
    *["watt-hours", "megawatt-hours", "joules", "tonnes", "per cent", "percent", "barrels", "€", "GPU", "H", "МWh"],
]  # the last one begins with a Cyrillic letter
IN_TEXT = [
    *[
        "{n} {u}",
        "{n}{u}",
        "{n}-{u}",
        "{n}\n{u}",
        "{n}\u00a0{u}",
        "{n}&nbsp;{u}",
        "{n}\u200b {u}",
        "{n} ({u})",
        "{n} [{u}]",
    ],
    *[
        "{n} *{u}*",
        "{n} **{u}**",
        "**{n}** {u}",
        "{n} `{u}`",
        "{n} _{u}_",
        "{n} <b>{u}</b>",
        "{n} “{u}”",
        "about {n} {u}",
    ],
    *["{n} {u} of it", "{n} {u} a year", "{n} GPU {u}", "{n} {u}, in all", "{n} {u}."],
]
BEHIND = [
    " {u}",
    "\n{u}",
    "\u00a0{u}",
    "-{u}",
    " ({u})",
    " *{u}*",
    " **{u}**",
    "{u}",
    " {u} of it",
    " {u}, in all",
    " _{u}_.",
]
QUOTED = {id: facts.fact(id) for id in facts.ids() if facts.fact(id).value and not facts.fact(id).text.count("/")}
CELLS = [
    f"{row[schema.key_of(table)]}.{column.column}"
    for table in ("accelerators", "models", "grid_intensity", "grid_mixes", "grid_published")
    for row in schema.rows(table)
    for column in schema.columns(table)
    if column.kind == "number" and row[column.column]
]


def same(unit: str, other: str) -> bool:
    """Whether two units are the same, or one only leaves unsaid what the other is per: TWh of TWh a year."""
    return prose.same_unit(other, unit) or prose.same_unit(unit, other)


def wrong_units(fact: facts.Fact) -> list[str]:
    return [unit for unit in MEASURES if not same(fact.unit, unit.replace("GPU", "gpu"))]


def test_there_are_facts_of_many_units_to_try():
    assert len(QUOTED) >= 200
    assert len({fact.unit for fact in QUOTED.values()}) >= 25
    assert len(CELLS) >= 500


@pytest.mark.parametrize("id", list({fact.unit: id for id, fact in QUOTED.items()}.values()))  # one of each unit
def test_a_wrong_unit_is_refused_in_every_shape(id):
    number = page.show(QUOTED[id].value)
    wrong = wrong_units(QUOTED[id])
    assert len(wrong) >= 40
    passed = [
        shape.format(n=number, u=unit)
        for unit in wrong
        for shape in IN_TEXT
        if matches(id, shape.format(n=number, u=unit))
    ]
    passed += [
        f"[{number}]{shape.format(u=unit)}"
        for unit in wrong
        for shape in BEHIND
        if matches(id, number, shape.format(u=unit))
    ]
    assert passed == []


@settings(deadline=None)  # the first look-up reads the tables
@given(st.sampled_from([*QUOTED, *CELLS]), st.sampled_from(MEASURES), st.sampled_from(IN_TEXT), st.sampled_from(BEHIND))
def test_a_wrong_unit_is_refused_of_any_fact_and_cell(id, unit, shape, behind):
    fact = facts.fact(id)
    number = page.show(fact.value)
    if unit in wrong_units(fact):
        assert not matches(id, shape.format(n=number, u=unit))
        assert not matches(id, number, behind.format(u=unit))
    assert matches(id, number)


@pytest.mark.parametrize("id", list({fact.unit: id for id, fact in QUOTED.items() if fact.unit.isalpha()}.values()))
def test_the_right_unit_passes_in_the_same_shapes(id):
    number, unit = page.show(QUOTED[id].value), QUOTED[id].unit
    shapes = [shape for shape in IN_TEXT if "a year" not in shape and "GPU" not in shape]
    assert [shape for shape in shapes if not matches(id, shape.format(n=number, u=unit))] == []
    assert [shape for shape in BEHIND if not matches(id, number, shape.format(u=unit))] == []


REFUSED = {
    "iea-dc-2025": [
        *[
            "485 MWh of it",
            "485 per cent of",
            "485 billion",
            "485 billion TWh",
            "485 thousand",
            "485 k",
            "485M",
            "485 hundred",
        ],
        *[
            "485 TWh (485 GWh)",
            "485 TWh GWh",
            "485 TWh·h",
            "485 TWh²",
            "485 TWh/485",
            "485 TWh million",
            "485 TWh-hours",
        ],
        *[
            "485 TWh per token",
            "485 TWh an answer",
            "485 TWh/month",
            "485 of GWh",
            "485 in GWh",
            "485 GPU",
            "485 a GWh",
        ],
        *[
            "GWh: 485",
            "$485",
            "€485",
            "€ 485",
            "485 €",
            "485 $",
            "485 per GWh",
            "485/GWh",
            "485 GWh2",
            "485 m3",
            "485°",
        ],
    ],
    "bloom-gpu-hours": ["1,082,990 GPU", "1,082,990 GPU days", "1,082,990 GPU-seconds", "1.083 million GPU minutes"],
    "bloom-training-carbon": ["24.7 t a year", "24.7 t per month", "24.7 t CO2e a day", "24.7 tons per prompt"],
    "gemini-median-prompt": ["0.24 Wh an image", "0.24 Wh per token", "0.24 Wh a year", "0.24 Wh a day"],
    "mistral-large-2-water": ["281,000 m2", "281,000 km3", "281,000 L", "281,000 m3 a year"],
    "battery-storage-cost": ["$65/kWh", "€65/MWh", "$65/GWh", "65 MWh"],
    "h100-sxm5-80gb.tdp_w": [
        "700 W h",
        "700 W·h",
        "700 watt hours",
        "700 W hours",
        "700 W/s",
        "700 W - Wh",
        "700 W a day",
    ],
    "iea-dc-growth-2025": ["17 percentage points", "17 %-points", "17 ‰", "17 % a month"],
}
ACCEPTED = {
    "iea-dc-2025": ["485 TWh a year", "485 TWh/y", "485 (TWh)", "485 **TWh**", "485 TWh, the IEA says", "485\nTWh"],
    "bloom-gpu-hours": ["1.083 million GPU hours", "1,082,990 GPU-hours", "1,082,990 A100 hours", "1,082,990 hours"],
    "bloom-training-carbon": ["24.7 t of CO2e", "24.7 t CO2e", "24.7 tonnes"],
    "gemini-median-prompt": ["0.24 Wh a prompt", "0.24 Wh per prompt", "0.24 Wh/prompt", "0.24 watt-hours"],
    "mistral-large-2-water": ["281,000 m3", "281,000 m³"],
    "battery-storage-cost": ["$65/MWh", "$65 per MWh", "65 $/MWh"],
    "iea-dc-growth-2025": ["17 %", "17 per cent", "17%"],
    "gpt3-pue": ["1.1", "a PUE of 1.1"],
}


@pytest.mark.parametrize(("id", "text"), [(id, text) for id, texts in REFUSED.items() for text in texts])
def test_what_an_author_may_slip_into_is_refused(id, text):
    assert not matches(id, text)


@pytest.mark.parametrize(("id", "text"), [(id, text) for id, texts in ACCEPTED.items() for text in texts])
def test_what_an_author_would_write_passes(id, text):
    assert matches(id, text)


@pytest.mark.parametrize(
    ("text", "behind", "right"),
    [
        ("485", " GWh", False),
        ("485", " TWh of electricity", True),
        ("485", "\n\nGWh are another unit.", True),
        ("485", ". GWh are another unit.", True),
        ("485", ", or so", True),
        ("485", " apples", False),
        ("485", " instead of [415](x)", True),
        ("485 TWh", " per prompt", False),
        ("485 TWh", "/month", False),
        ("485 TWh", " a year", True),
        ("485 TWh", " a little later", True),
        ("485 TWh", " per fortnight", False),
        ("485 TWh", "·h", False),
        ("485 TWh in all", " GWh", True),  # the number is not at the end of the link
        ("about 485", " `GWh`", False),
        ("485", " (in GWh)", False),
        ("485", " [GWh](x)", False),
        ("485", " [TWh](x)", True),
        ("485", " — a lot", True),
        ("485", " – much of it", True),
        ("485", " - GWh", False),
        ("485", "–GWh", False),
    ],
)
def test_a_unit_behind_the_link_counts(text, behind, right):
    assert matches("iea-dc-2025", text, behind) == right


@pytest.mark.parametrize(
    ("sentence", "message"),
    [
        ("[485](../data/facts/README.md#iea-dc-2025) GWh went there.", "before ' GWh went there.'"),
        ("[485](../data/facts/README.md#iea-dc-2025)\n`GWh` went there.", "which the table does not say"),
        ("[485](../data/facts/README.md#iea-dc-2025) $\\mathrm{GWh}$ went there.", "which the table does not say"),
        ("[485 TWh](../data/facts/README.md#iea-dc-2025) per prompt.", "which the table does not say"),
        ("[485](../data/facts/README.md#iea-dc-2025) **GWh** went there.", "which the table does not say"),
        ("[485](../data/facts/README.md#iea-dc-2025) TWh went there.", None),
        ("[five hundred](../data/facts/README.md#iea-dc-2025) TWh went there.", "which the table does not say"),
        ("[Half a PWh](../data/facts/README.md#iea-dc-2025) went there.", "which the table does not say"),
        ("[what the IEA found](../data/facts/README.md#iea-dc-2025) is more.", None),
        ("[485 TWh](../data/facts/README.md#iea-dc-2025) a year.", None),
        ("[3.11 J](../data/studies/README.md#accelerator.decode-llama-3p1-8b-batch-1-context-512) a token", None),
        (
            "[3.11](../data/studies/README.md#accelerator.decode-llama-3p1-8b-batch-1-context-512) kJ",
            "which is 3.11158 J",
        ),
        (
            "[3.11 J](../data/studies/README.md#accelerator.decode-llama-3p1-8b-batch-1-context-512) an hour",
            "which is 3.1115",
        ),
        ("[2.3 mJ](../data/studies/README.md#retrieval.query-bm25) a search", None),
        ("[2.3 mJ](../data/studies/README.md#retrieval.query-bm25) an image", "which is 2.25487 mJ"),
    ],
)
def test_notebooks_are_read_beyond_the_end_of_the_link(sentence, message):
    notebook = {"cells": [{"cell_type": "markdown", "source": sentence, "metadata": {}}], "metadata": {}}
    found = rules.facts_quoted_right(notebook) + rules.studies_quoted_right(notebook)
    assert found == [] if message is None else len(found) == 1 and message in found[0]


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_words_behind_a_link_are_understood_or_refused(text, behind):
    assert matches("iea-dc-2025", text, behind) in (True, False)


@given(st.text(alphabet=st.characters(categories=["L", "S", "Sc"]), min_size=1, max_size=8))
def test_a_word_that_nobody_listed_is_refused(word):
    """Letters of any script and signs: what is neither the unit nor one of the few small words is another unit."""
    plain = prose._plain(f"485 {word}")[3:].strip()
    small = {"", "TWh", *prose._NO_UNITS} | {name for name, unit in prose._CANONICAL.items() if unit == "TWh"}
    if plain not in small and plain[0] not in "`_*^\"'":
        assert not matches("iea-dc-2025", f"485 {word}"), plain


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda bad: matches("iea-dc-2025", "485", bad), "behind="),
        (lambda bad: prose.quantities("485", bad), "behind="),
        (lambda bad: prose.quoted(bad, "TWh"), "text="),
        (lambda bad: prose.quoted("485", bad), "unit="),
        (lambda bad: prose.quoted("485", "TWh", bad), "nouns="),
        (lambda bad: prose.same_unit("TWh", "TWh", bad), "nouns="),
    ],
)
@pytest.mark.parametrize("bad", [True, [485], 485, object()])
def test_what_is_no_text_is_refused_by_name(call, message, bad):
    with pytest.raises(TypeError, match=message):
        call(bad)


def test_a_word_is_no_list_of_nouns():
    with pytest.raises(TypeError, match="nouns='prompt' is str: give a list of words"):
        prose.same_unit("Wh a prompt", "Wh", "prompt")
