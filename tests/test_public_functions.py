"""No public function accepts what it cannot mean.

placeholder
"""

from __future__ import annotations

import pytest
import torch

from greenlab.core import studies
from tests.public_calls import CALLS, files
from tests.public_functions import Public, bad_values, call, from_doctest, outcome, public

FOUND = public()
KINDS: dict[str, dict[str, str]] = {}
BY_NAME = {"model": "thing", "teacher": "thing", "tokenizer": "thing", "config": "thing"}
RESULTS: dict[str, str] = {}
MEANT: dict[str, dict[str, set[str]]] = {}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return files(tmp_path_factory.mktemp("made"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Nothing is written into the repository, and nothing is fetched."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GREENLAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("GREENLAB_ASSETS", str(tmp_path / "assets"))
    monkeypatch.setattr(studies, "ROOT", tmp_path)


def working_call(one: Public, made):
    if one.name in CALLS:
        return CALLS[one.name](made)
    return from_doctest(one)


@pytest.mark.parametrize("name", FOUND)
def test_refuses(name, made):
    one = FOUND[name]
    args = working_call(one, made)
    assert args is not None, "no working call"
    wrong = []
    try:
        call(one, *args)
    except BaseException as e:
        wrong.append(f"BASE {e!r:.300}")
    for parameter in one.parameters:
        kind = KINDS.get(name, {}).get(parameter.name)
        if kind is None and parameter.annotation == "Any":
            kind = BY_NAME.get(parameter.name)
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        for label, value in bad_values(parameter.annotation, kind).items():
            if label in MEANT.get(name, {}).get(parameter.name, ()):
                continue
            said = outcome(one, *working_call(one, made), parameter.name, value)
            if said:
                wrong.append(f"{parameter.name}={label}: {said}")
    assert not wrong, "\n" + "\n".join(wrong)
