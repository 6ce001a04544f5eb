"""A card comes back exactly, is the same from the ledgers, and is refused with the field named if it was touched."""

import codecs
import copy
import json
import random

import pytest
from hypothesis import given, settings

from greenlab.green_service import (
    DEFAULT,
    Card,
    assumptions,
    bands,
    choices,
    decode_card,
    differences,
    evaluate,
    lever_by_lever,
    load_card,
    make_card,
    read_card,
    save_card,
)
from greenlab.green_service.card import MOST_BYTES
from tests.green_service.test_design import services

DESIGN = DEFAULT.replace(batch=64, bits=8, region="FR", pue=1.2, index="minilm", retrieved_tokens=140)


def as_dict(card=None):
    return json.loads((card or make_card(DESIGN)).to_json())


def test_a_card_comes_back_exactly():
    own = make_card(DESIGN, assumptions(DESIGN).move(host_power_w=(200, 150, 300)), title="Ours, für alle | <b>")
    again = read_card(own.to_json())
    assert again == own
    assert again.to_json() == own.to_json()


@settings(deadline=None, max_examples=25)
@given(services())
def test_every_service_has_a_card_that_comes_back(service):
    card = make_card(service)
    assert read_card(card.to_json()) == card


def test_files_come_back(tmp_path):
    card = make_card(DESIGN)
    assert load_card(save_card(card, tmp_path / "card.json")) == card
    page = save_card(card, tmp_path / "card.md").read_text(encoding="utf-8")
    assert page == card.to_markdown()


def test_the_default_services_card_follows_from_the_ledgers():
    """Every figure of the card again, from the study's rows and the facts, without the package's own arithmetic."""
    from greenlab.core import facts
    from greenlab.green_service import passes

    fit, shape = passes.fitted(), DEFAULT.shape
    prompt = fit.energy_j(passes.prompt_pass(shape, n_tokens=500))
    step = passes.decode_pass(shape, batch=16, context=650)
    writing = 300 * fit.energy_j(step) / 16
    busy = fit.time_s(passes.prompt_pass(shape, n_tokens=500)) + 300 * fit.time_s(step) / 16
    devices = -(-1e7 / 86_400 * busy // 0.5)
    on = devices * 86_400 / 1e7
    machines = prompt + writing + (on - busy) * 126.529 + on * 1200 / 8
    joules = machines * facts.value("pue-average")
    kg = facts.value("gpu-embodied-h100") + facts.value("server-embodied") / 8
    embodied = 1e3 * kg * on / (3 * 365 * 86_400)
    card = as_dict(make_card(DEFAULT))
    figures = {(row["quantity"], row["per"]): row["value"] for row in card["figures"]}
    assert figures["energy", "request"] == pytest.approx(joules, rel=1e-4)
    assert card["sci"]["value"] == pytest.approx(
        joules / 3.6e6 * facts.value("DE.intensity_g_per_kwh") + embodied, rel=1e-4
    )
    assert figures["cost", "request"] == pytest.approx(on / 3600 * facts.value("h100-hour-price"), rel=1e-6)


def test_the_page_shows_sci_every_assumption_and_every_band():
    card = make_card(DESIGN)
    page = card.to_markdown()
    assert f"**SCI: {evaluate(DESIGN).sci_g:.3g} g CO2e per request**" in page
    for item in card.assumed.items:
        assert f"| {item.name} |" in page
    for row in bands(DESIGN).to_dict("records"):
        assert f"{row['low']:.4g} to {row['high']:.4g}" in page
    assert "quality" in page.lower()


def test_a_strangers_words_cannot_break_the_page():
    page = make_card(DESIGN, title="<script>alert(1)</script> | [x](y)").to_markdown()
    assert "<script>" not in page
    assert page.splitlines()[0] == "# &lt;script>alert(1)&lt;/script> \\| [x](y)"


TOUCHED = [
    ("schema", lambda c: c.update(schema="another card"), r"schema='another card'"),
    ("version", lambda c: c.update(version=1), r"version=1: .*reads version 2"),
    ("version as a word", lambda c: c.update(version=True), r"version=True"),
    ("a field less", lambda c: c.pop("sci"), r"card\.sci is missing"),
    ("a field more", lambda c: c.update(offsets=5), r"card\.offsets is unknown"),
    ("title", lambda c: c.update(title=5), r"title=5 is int"),
    ("an empty title", lambda c: c.update(title=""), r"title=''"),
    ("service", lambda c: c.update(service=[]), r"service=\[\] is list"),
    ("pue", lambda c: c["service"].update(pue=0.8), r"service\.pue=0\.8"),
    ("bits", lambda c: c["service"].update(bits=3), r"service\.bits=3"),
    ("another design", lambda c: c["service"].update(batch=65), r"card\.figures\[0\]\.value"),
    ("a design field more", lambda c: c["service"].update(magic=1), r"service\.magic is unknown"),
    ("no assumptions", lambda c: c.update(assumptions=[]), r"assumptions: items"),
    ("an assumption twice", lambda c: c["assumptions"].append(c["assumptions"][0]), r"assumptions: items"),
    (
        "an assumption out of range",
        lambda c: c["assumptions"][0].update(high=1e9),
        r"assumptions\[0\]\.high=1000000000",
    ),
    ("an assumption as text", lambda c: c["assumptions"][0].update(value="1"), r"assumptions\[0\]\.value='1' is str"),
    (
        "an assumption nobody knows",
        lambda c: c["assumptions"][0].update(name="hope"),
        r"assumptions\[0\]\.no name 'hope'",
    ),
    ("another assumption", lambda c: c["assumptions"][5].update(value=40, low=30), r"card\.figures\[.*follows from"),
    ("a lower figure", lambda c: c["figures"][0].update(value=1.0), r"card\.figures\[0\]\.value=1: .* follows"),
    ("a narrower band", lambda c: c["figures"][0].update(high=c["figures"][0]["value"]), r"figures\[0\]\.high"),
    ("another unit", lambda c: c["figures"][0].update(unit="Wh"), r"card\.figures\[0\]\.unit='Wh'"),
    ("a figure as text", lambda c: c["figures"][0].update(value="10"), r"card\.figures\[0\]\.value='10'"),
    ("a figure as truth", lambda c: c["figures"][0].update(value=True), r"card\.figures\[0\]\.value=True"),
    ("a figure less", lambda c: c["figures"].pop(), r"card\.figures has 9 entries: 10"),
    ("the energy of the SCI", lambda c: c["sci"].update(e_kwh=0.0), r"card\.sci\.e_kwh=0"),
    ("another functional unit", lambda c: c["sci"].update(r="one year"), r"card\.sci\.r='one year'"),
    ("a moved number hidden", lambda c: c["moved"].append({"name": "pue"}), r"card\.moved has 1 entries: 0"),
    (
        "another basis for a moved number",
        lambda c: c["assumptions"][4].update(source="the reader's own number", basis="measured"),
        r"assumptions\[4\]\.basis='measured'|card\.moved has 0 entries",
    ),
    ("a lower SCI", lambda c: c["sci"].update(value=0.0), r"card\.sci\.value=0"),
    ("market-based", lambda c: c["sci"].update(accounting="market-based"), r"card\.sci\.accounting"),
    ("better quality", lambda c: c["quality"].update(kept=1.0), r"card\.quality\.kept=1"),
    ("no remarks", lambda c: c.update(remarks=["certified"]), r"card\.remarks has 1 entries: 0"),
    ("another functional unit", lambda c: c.update(functional_unit="one token"), r"card\.functional_unit"),
]


@pytest.mark.parametrize("region", ["PL", "SE"])
def test_the_grid_of_another_region_is_refused(region):
    """The figures follow from the stored numbers, but those are Germany's."""
    card = as_dict()
    assert card["service"]["region"] not in ("PL", "SE")
    card["service"]["region"] = region
    with pytest.raises(ValueError, match=r"assumptions\[\d+\]\.value=.* for this service"):
        read_card(json.dumps(card))


def test_a_number_that_was_moved_may_be_any_and_says_so():
    moved = assumptions(DESIGN).move(intensity_g_per_kwh=50.0)
    back = read_card(make_card(DESIGN, moved).to_json())
    assert back.assumed["intensity_g_per_kwh"].basis == "given"


@pytest.mark.parametrize(("touch", "message"), [case[1:] for case in TOUCHED], ids=[case[0] for case in TOUCHED])
def test_a_touched_card_is_refused_with_the_field_named(touch, message):
    card = as_dict()
    touch(card)
    with pytest.raises(ValueError, match=message):
        read_card(json.dumps(card))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[]", "holds list"),
        ("null", "holds NoneType"),
        ("{}", "schema=None"),
        ('{"schema": NaN}', "NaN"),
        ('{"schema": 1, "schema": 2}', "'schema' stands there twice"),
        ("[" * 100_000, "nested too deeply|no JSON"),
        ("x" * (MOST_BYTES + 1), "no card is so large"),
        ('{"schema": ' + "9" * 5000 + "}", "no JSON|schema="),
    ],
)
def test_what_is_no_card_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        read_card(text)


def test_files_that_are_no_cards_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.json"):
        load_card(tmp_path / "nothing.json")
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_card(tmp_path)
    (tmp_path / "raw.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"raw\.json.*no UTF-8"):
        load_card(tmp_path / "raw.json")
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(ValueError, match=r"large\.json.*no card is so large"):
        load_card(tmp_path / "large.json")
    with pytest.raises(ValueError, match=r"ends in \.json or \.md"):
        save_card(make_card(DESIGN), tmp_path / "card.txt")


def test_a_card_with_any_one_byte_changed_is_refused_or_the_same():
    text = make_card(DESIGN).to_json()
    rng = random.Random(0)
    accepted = 0
    for _ in range(150):
        position = rng.randrange(len(text))
        changed = text[:position] + rng.choice('0123456789x"{}[],. -') + text[position + 1 :]
        try:
            read = read_card(changed)
        except ValueError:
            continue
        accepted += 1  # white space, the title, or a digit beyond the tolerance
        assert read.service == DESIGN
    assert accepted < 60


def test_two_cards_are_compared():
    ours, theirs = make_card(DEFAULT), make_card(DEFAULT.replace(batch=64, region="SE"))
    found = differences(ours, theirs).set_index("quantity")
    assert found.loc["energy", "ratio"] < 1
    assert found.loc["carbon", "apart"]
    assert found["levers"].unique().tolist() == ["larger batch, other grid"]
    with pytest.raises(ValueError, match="same work"):
        differences(ours, make_card(DEFAULT.replace(requests_per_day=1)))


def test_a_title_has_one_line():
    for title in ("", "a\nb", "x" * 201):
        with pytest.raises(ValueError, match="title"):
            Card(title, DEFAULT, assumptions(DEFAULT))
    assert copy.copy(make_card(DEFAULT)) == make_card(DEFAULT)


def test_the_terms_of_the_sci_give_the_sci():
    sci = as_dict()["sci"]
    assert sci["e_kwh"] * sci["i_g_per_kwh"] + sci["m_g"] == pytest.approx(sci["value"], rel=1e-9)
    assert sci["r"] == "one request"
    late = as_dict(make_card(DEFAULT.replace(flexible=1.0)))["sci"]
    assert late["i_g_per_kwh"] < as_dict(make_card(DEFAULT))["sci"]["i_g_per_kwh"]


def test_moved_assumptions_stand_apart_with_what_is_published():
    card = make_card(DEFAULT, assumptions(DEFAULT).move(pue=(1.3, 1.2, 1.4), cpu_power_w=5))
    moved = {row["name"]: row for row in as_dict(card)["moved"]}
    assert list(moved) == ["pue", "cpu_power_w"]
    assert [moved["pue"][name] for name in ("published", "value", "low", "high")] == [1.54, 1.3, 1.2, 1.4]
    assert "| pue | 1.54 | 1.3 | 1.2 to 1.4 | ratio |" in card.to_markdown()
    assert "None: all stand as published." in make_card(DEFAULT).to_markdown()


def test_a_moved_number_under_a_false_basis_is_refused():
    card = as_dict(make_card(DEFAULT, assumptions(DEFAULT).move(pue=1.2)))
    position = [item["name"] for item in card["assumptions"]].index("pue")
    card["assumptions"][position]["basis"] = "measured"
    with pytest.raises(ValueError, match=rf"assumptions\[{position}\]\.basis='measured': pue has 'given'"):
        read_card(json.dumps(card))


def test_choices_name_what_differs_and_nothing_else():
    mine = make_card(DEFAULT, assumptions(DEFAULT).move(pue=1.2))
    theirs = make_card(DEFAULT.replace(batch=64, pue=1.1))
    rows = choices(mine, theirs).set_index("what")
    assert rows.index.tolist() == ["batch", "pue", "pue, assumed"]
    assert rows.loc["pue, assumed"].tolist() == ["1.2, moved", "1.1"]
    assert len(choices(mine, mine)) == 0


@settings(deadline=None, max_examples=25)
@given(services(), services())
def test_lever_by_lever_ends_where_the_other_card_stands(mine, theirs):
    """Also over designs on the way that cannot be built: they are left out, and the last row is the other card."""
    theirs = theirs.replace(
        requests_per_day=mine.requests_per_day, reference=mine.reference, quality_gate=mine.quality_gate
    )
    try:
        a, b = make_card(mine), make_card(theirs, assumptions(theirs).move(pue=1.25))
    except ValueError:
        return  # fewer accelerators than the other's traffic needs
    last = lever_by_lever(a, b).iloc[-1]
    for name, of in (("energy", lambda o: o.energy.total_j), ("carbon", lambda o: o.carbon.sci_g)):
        wanted = float(of(evaluate(theirs, b.assumed))) / float(of(evaluate(mine)))
        assert last[name] == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(
    ("raw", "kind", "message"),
    [
        (b"\xff\xfe", ValueError, "raw is no UTF-8"),
        (b" " * (MOST_BYTES + 1), ValueError, "raw has more than"),
        (b"PK\x03\x04 a zip", ValueError, "no JSON"),
        (b"", ValueError, "no JSON"),
        ("text", TypeError, "raw='text' is str"),
        (None, TypeError, "raw=None"),
    ],
)
def test_bytes_that_are_no_card_are_refused(raw, kind, message):
    with pytest.raises(kind, match=message):
        decode_card(raw)


def test_a_card_that_an_editor_saved_with_a_byte_order_mark_is_read():
    assert decode_card(codecs.BOM_UTF8 + make_card(DEFAULT).to_json().encode()).service == DEFAULT


@pytest.mark.parametrize("field", ["figures", "sci", "quality"])
def test_a_figure_of_hundreds_of_digits_is_refused_with_its_field(field):
    found = json.loads(make_card(DEFAULT).to_json())
    inside = found["figures"][0] if field == "figures" else found[field]
    inside["kept" if field == "quality" else "value"] = 10**400
    with pytest.raises(ValueError, match=rf"card\.{field}.*more digits"):
        decode_card(json.dumps(found).encode())
