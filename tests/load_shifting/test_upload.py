"""The upload says what it made of the file that is chosen now, whatever was there before."""

import html

import numpy as np
import pytest

from greenlab.load_shifting.view import upload

GOOD = "\n".join(
    ["time,intensity", *(f"2020-01-{1 + i // 24:02}T{i % 24:02}:00Z,{100 + i % 24}" for i in range(240))]
).encode()
BAD = {
    "empty": b"",
    "book.xlsx": b"PK\x03\x04" + bytes(range(256)) * 30,
    "photo.png": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 30,
    "two columns of one name": GOOD.replace(b"time,intensity", b"time,time,intensity").replace(b":00Z,",
    b":00Z,2020-01-01T00:00Z,"),
    "an open quote": b'time,intensity\n"' + b"2020-01-01T00:00Z,100\n" * 9000,
    "deep JSON": b"[" * 100_000,
    "one wild hour": GOOD.replace(b"05:00Z,105", b"05:00Z,1e7", 1),
    "prices": GOOD.replace(b"intensity", b"price"),
    "kilograms": GOOD.replace(b"Z,1", b"Z,0.1"),
}  # fmt: skip


def upload_file(widget, content):
    """What the browser does."""
    file = {"name": "a.csv", "type": "", "size": len(content), "content": memoryview(content), "last_modified": 0}
    widget._on_upload({"new": (file,)})


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_be_read_takes_the_one_before_away(name):
    widget = upload.OwnGrid()
    upload_file(widget, GOOD)
    assert "240 hours from 2020-01-01 00:00 UTC" in widget.text
    assert len(widget.drawing.children) == 1
    upload_file(widget, BAD[name])
    assert widget.text.startswith("This file was not read: ")
    assert widget.text.splitlines()[0] in html.unescape(widget.message.value)
    assert widget.read is None
    assert widget.drawing.children == ()
    with pytest.raises(ValueError, match="no file has been read yet"):
        _ = widget.traces
    upload_file(widget, GOOD)
    assert "240 hours" in widget.text


def test_a_fault_of_the_reader_is_said_too(monkeypatch):
    widget = upload.OwnGrid().load(GOOD)
    monkeypatch.setattr(upload.grid, "read", lambda *args, **kwargs: 1 / 0)
    upload_file(widget, GOOD)
    assert widget.text == "This file was not read, by a fault of the book: ZeroDivisionError: division by zero"
    assert widget.drawing.children == ()


def test_line_ends_of_an_old_mac_are_read():
    widget = upload.OwnGrid().load(GOOD.replace(b"\n", b"\r"))
    assert "240 hours" in widget.text


def test_hydropower_as_clean_as_3_g_and_direct_emissions_are_shifted_over():
    """`grid.read` took them and the traces did not: the widget stayed silent."""
    low = "\n".join(["time,intensity", *(f"2020-01-01T{h:02}:00Z,{2.9 + 0.02 * h:g}" for h in range(24))])
    widget = upload.OwnGrid().load(low)
    widget.slack.value, widget.duration.value = 4, 1
    assert "saves " in widget.text
    direct = low.replace("Z,2.", "Z,0.").replace("Z,3.", "Z,1.")
    assert "pass signal='direct'" in widget.load(direct).text
    assert "24 hours" in widget.load(direct, signal="direct emissions").text


def test_every_unit_of_the_menu_gives_grams():
    for unit, factor in upload.UNITS.items():
        text = GOOD.decode()
        rows = [f"{row.split(',')[0]},{float(row.split(',')[1]) / factor!r}" for row in text.splitlines()[1:]]
        widget = upload.OwnGrid().load("\n".join(["time,intensity", *rows]), unit=unit)
        assert widget.read is not None, widget.text
        assert widget.read.frame["intensity_g_per_kwh"].to_numpy() == pytest.approx(100 + np.arange(240) % 24)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("content", None),
        ("content", 5),
        ("unit", "stones"),
        ("unit", None),
        ("zone", 5),
        ("timezone", None),
        ("signal", "marginal"),
    ],
)
def test_arguments_of_another_kind_are_named(name, value):
    with pytest.raises((ValueError, TypeError), match=name):
        upload.OwnGrid().load(**{"content": GOOD} | {name: value})


@pytest.mark.parametrize("n_hours", [0, -1, 2.5, True, None, "5"])
def test_a_number_of_hours_that_is_none_is_refused(n_hours):
    with pytest.raises((ValueError, TypeError), match="n_hours"):
        upload.plain_csv("DE", 2019, n_hours)
