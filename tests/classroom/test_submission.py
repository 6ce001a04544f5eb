"""A submission comes back as it was packed, and nothing else comes in."""

import hashlib
import io
import json
import os
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenlab.core.machine import ROOT
from greenlab.lab import state
from greenlab.lab.classroom import Answer, Refused, Submission, collect, from_bytes, from_cell, read, to_bytes
from greenlab.lab.classroom import submission as form

MACHINE = {
    "system": "Linux x86_64",
    "processor": "a chip",
    "python": "3.11",
    "greenlab": "1",
    "cores": 2,
    "memory_b": 8,
}
WORK = Submission("Ada", (Answer("start-here-carbon", "x", "x = 4.0"),), {"p": {"prediction": 1.0}}, machine=MACHINE)
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)
keys = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,9}", fullmatch=True)
entries = st.dictionaries(keys, st.dictionaries(texts, st.floats(allow_nan=False, allow_infinity=False) | texts))
answers = st.lists(
    st.builds(Answer, keys, st.just("answer"), texts), unique_by=lambda answer: answer.exercise, max_size=4
).map(lambda found: tuple(sorted(found, key=lambda answer: answer.exercise)))


@settings(max_examples=40, deadline=None)
@given(answers, entries, entries)
def test_what_is_packed_comes_back_and_equal_work_gives_equal_bytes(answers, predictions, ledger):
    work = Submission("Ada", answers, predictions, ledger, machine=MACHINE)
    data = to_bytes(work)
    assert from_bytes(data) == work
    assert to_bytes(Submission("Ada", answers[::-1], predictions, ledger, machine=dict(MACHINE))) == data


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_changed_byte_is_refused_or_changes_nothing(data):
    packed = bytearray(to_bytes(WORK))
    place = data.draw(st.integers(0, len(packed) - 1))
    packed[place] ^= data.draw(st.integers(1, 255))
    try:
        found = from_bytes(bytes(packed))
    except Refused:
        return
    assert found == WORK  # a bit of a date or of a comment


def changed(**members):
    """The file with some members replaced, added, or (None) left out; the hashes stay as they were."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(to_bytes(WORK))) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
        texts = {name: old.read(name) for name in old.namelist()}
        for name, data in (texts | {key.replace("__", "."): value for key, value in members.items()}).items():
            if data is not None:
                new.writestr(name, data)
    return stream.getvalue()


def manifest(**changes):
    with zipfile.ZipFile(io.BytesIO(to_bytes(WORK))) as file:
        return changed(manifest__json=json.dumps(json.loads(file.read("manifest.json")) | changes))


def with_member(name, text):
    """The file with one member replaced and its hash made right: whoever packs can do that."""
    data = text if isinstance(text, bytes) else text.encode()
    with zipfile.ZipFile(io.BytesIO(to_bytes(WORK))) as file:
        found = json.loads(file.read("manifest.json"))
    found["sha256"][name] = hashlib.sha256(data).hexdigest()
    return changed(**{name.replace(".", "__"): data, "manifest__json": json.dumps(found)})


def renamed(old, new, mode=0o644):
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(to_bytes(WORK))) as file, zipfile.ZipFile(stream, "w") as out:
        for name in file.namelist():
            info = zipfile.ZipInfo(new if name == old else name)
            info.external_attr = mode << 16 if name == old else 0
            out.writestr(info, file.read(name))
    return stream.getvalue()


ANSWER = {"exercise": "a", "name": "x", "source": "x = 1", "context": ""}


def twice():
    stream = io.BytesIO(to_bytes(WORK))
    with zipfile.ZipFile(stream, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("answers.json", "[]")
    return stream.getvalue()


HOSTILE = {
    "no zip": (lambda: b"hello", "data"),
    "cut short": (lambda: to_bytes(WORK)[:-40], "data"),
    "too large": (lambda: bytes(form.LARGEST_FILE_B + 1), "data"),
    "traversal": (lambda: renamed("answers.json", "../../answers.json"), "members"),
    "absolute": (lambda: renamed("answers.json", "/etc/passwd"), "members"),
    "one more": (lambda: changed(run__py=b"1"), "members"),
    "one less": (lambda: changed(ledger__json=None), "members"),
    "twice": (twice, "members"),
    "link": (lambda: renamed("answers.json", "answers.json", stat.S_IFLNK | 0o777), "answers.json"),
    "bomb": (lambda: changed(answers__json=b" " * 300_000_000), "answers.json"),
    "altered": (lambda: changed(answers__json=b"[]"), "sha256.answers.json"),
    "not UTF-8": (lambda: with_member("ledger.json", b"\xff{}"), "ledger.json"),
    "key twice": (lambda: with_member("ledger.json", '{"a": {}, "a": {}}'), "ledger.json"),
    "NaN": (lambda: with_member("ledger.json", '{"a": {"b": NaN}}'), "ledger.json"),
    "infinite": (lambda: with_member("ledger.json", '{"a": {"b": 1e999}}'), "ledger.json"),
    "deep": (lambda: with_member("ledger.json", "[" * 100_000), "ledger.json"),
    "empty": (lambda: b"", "data"),
    "empty zip": (lambda: b"PK\x05\x06" + bytes(18), "members"),
    "huge number": (lambda: with_member("ledger.json", '{"a": {"b": ' + "9" * 100_000 + "}}"), "ledger.json"),
    "no object": (lambda: with_member("ledger.json", "[]"), "submission"),
    "entry no object": (lambda: with_member("receipts.json", '{"a": 1}'), "submission"),
    "key of a path": (lambda: with_member("receipts.json", '{"../a": {}}'), "submission"),
    "too many": (lambda: with_member("ledger.json", json.dumps({f"a{n}": {} for n in range(501)})), "submission"),
    "answered twice": (lambda: with_member("answers.json", json.dumps([ANSWER, ANSWER])), "submission"),
    "too long": (lambda: with_member("answers.json", json.dumps([ANSWER | {"context": "x" * 20_001}])), "answers[0]"),
    "half a letter": (lambda: with_member("answers.json", '[{"a": "\\ud800"}]'), "answers[0]"),
    "turned name": (lambda: manifest(name="\u202eadA"), "name"),
    "long name": (lambda: manifest(name="A" * 81), "name"),
    "version as text": (lambda: manifest(schema="2"), "schema"),
    "version 0": (lambda: manifest(schema=0), "schema"),
    "foreign": (lambda: manifest(format="homework"), "format"),
    "newer": (lambda: manifest(schema=form.SCHEMA + 1), "schema"),
    "no version": (lambda: manifest(schema=True), "schema"),
    "no name": (lambda: manifest(name=" "), "name"),
    "control codes": (lambda: manifest(name="\x1b[2J"), "name"),
    "no hashes": (lambda: manifest(sha256={}), "sha256"),
    "wrong answer": (
        lambda: with_member("answers.json", '[{"exercise": "a", "name": "1x", "source": "", "context": ""}]'),
        "answers[0]",
    ),
    "wrong machine": (lambda: with_member("machine.json", "{}"), "submission"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_broken_or_hostile_file_is_refused_with_the_field_named(case):
    make, field = HOSTILE[case]
    with pytest.raises(Refused) as refused:
        from_bytes(make())
    assert refused.value.field == field


def test_a_file_of_another_name_in_the_state_is_left_out_and_said(empty_state):
    state.save("receipts", "ternary.a", {"energy_j": 1.0})
    (empty_state / "receipts" / "My copy.json").write_text("{}")
    work, passed = collect("Ada")
    assert list(work.receipts) == ["ternary.a"]
    assert [line.split(" is left out")[0] for line in passed] == ["receipts/My copy.json"]


@pytest.mark.parametrize("name", ["\u0410\u0434\u0430", "\u9648\u7389", "Zo\u00eb", "Zoe\u0308", "O'Neill <b>", "=1+1"])
def test_names_of_all_alphabets_come_back(name):
    assert from_bytes(to_bytes(Submission(name, machine=MACHINE))).name == name


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_in_the_folder_is_refused(tmp_path):
    (tmp_path / "real").write_bytes(to_bytes(WORK))
    (tmp_path / "link.zip").symlink_to(tmp_path / "real")
    with pytest.raises(Refused, match="link"):
        read(tmp_path / "link.zip")


def test_the_book_s_notebooks_and_the_state_are_collected_without_a_path(empty_state):
    state.save("predictions", "p", {"prediction": 1.0, "question": f"see {ROOT}/notebooks", "unit": ""})
    work, passed = collect("Ada")
    assert passed == []
    assert len(work.answers) >= 40
    assert "start-here-carbon" in [answer.exercise for answer in work.answers]
    with zipfile.ZipFile(io.BytesIO(to_bytes(work))) as file:
        text = b"".join(file.read(name) for name in file.namelist()).decode()
    assert str(ROOT) not in text
    assert str(Path.home()) + "/" not in text
    assert "see ~/notebooks" in text


def test_the_check_is_cut_out_of_a_cell_also_where_python_cannot_read_it():
    assert from_cell('import math\n\n\ndef f(x):\n    return x\n\n\nf = check("a-f", f)') == (
        Answer("a-f", "f", "import math\n\n\ndef f(x):\n    return x"),
    )
    assert from_cell('def f(x) return x\n\nf = check("a-f", f)') == (Answer("a-f", "f", "def f(x) return x"),)
    assert from_cell("x = 1") == ()


def test_a_file_of_the_first_version_is_read():
    with zipfile.ZipFile(io.BytesIO(to_bytes(WORK))) as file:
        found = json.loads(file.read("manifest.json"))
    data = b'[{"exercise": "start-here-carbon", "name": "x", "source": "x = 4.0"}]'
    found["sha256"]["answers.json"] = hashlib.sha256(data).hexdigest()
    first = changed(answers__json=data, manifest__json=json.dumps(found | {"schema": 1}))
    assert from_bytes(first) == WORK
    mixed = changed(answers__json=data, manifest__json=json.dumps(found))
    with pytest.raises(Refused, match=r"answers\[0\]: it does not hold context"):
        from_bytes(mixed)
