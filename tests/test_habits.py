"""The pages around the book: citation, paper, licences, and a guide for contributors that fits a screen."""

from __future__ import annotations

import re
import tomllib

import yaml

from greenlab.core.machine import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def read(name):
    """A page at the top of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_guide_for_contributors_fits_one_screen():
    lines = read("CONTRIBUTING.md").splitlines()
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 100


def test_the_citation_says_what_the_package_says():
    """The keys that the Citation File Format 1.2.0 requires, and a few that it allows."""
    card = yaml.safe_load(read("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors"} <= set(card)
    assert set(card) <= {
        "cff-version", "message", "title", "type", "abstract", "keywords", "authors", "version", "license",
        "repository-code", "url", "doi", "date-released",
    }  # fmt: skip
    assert card["cff-version"] == "1.2.0"
    assert (str(card["version"]), card["license"]) == (PROJECT["version"], PROJECT["license"])
    assert len(card["authors"]) == len(set(map(str, card["authors"]))) >= 1


def test_the_paper_has_the_parts_that_the_journal_asks_for_and_cites_what_it_lists():
    """Journal of Open Source Education, "What should my paper contain?"."""
    head, text = read("paper.md").removeprefix("---\n").split("\n---\n", 1)
    settings = yaml.safe_load(head)
    assert {"title", "tags", "authors", "affiliations", "date", "bibliography"} == set(settings)
    indices = {str(place["index"]) for place in settings["affiliations"]}
    assert {str(author["affiliation"]) for author in settings["authors"]} == indices
    sections = re.findall(r"^# (.+)$", text, re.MULTILINE)
    assert sections == [
        "Summary", "Statement of need", "Learning objectives", "Content and instructional design",
        "Experience of use", "The story of the project", "References",
    ]  # fmt: skip
    entries = re.findall(r"^@\w+\{(\w+),.*doi=\{(10\.[^}]+)\}", read(settings["bibliography"]), re.MULTILINE)
    cited = set(re.findall(r"@(\w+)", text))
    assert sorted(cited) == sorted(key for key, _ in entries)
    assert "Nobody has taught with greenlab yet." in text  # to be replaced by what was seen, once somebody has


def test_both_licences_stand_in_full_and_the_page_names_real_folders():
    assert read("LICENSE").startswith("MIT License")
    text = re.sub(r"\s+", " ", read("LICENSE-TEXT"))
    assert text.startswith("Creative Commons Attribution 4.0 International")
    for number in range(1, 9):
        assert f"Section {number} – " in text
    page = read("LICENSES.md")
    folders = re.findall(r"`((?:data|greenlab|tests|locks|binder|notebooks)(?:/\w+)?)/?`", page)
    assert len(folders) >= 10
    assert [name for name in folders if not (ROOT / name).exists()] == []
    packages = set(re.findall(r"PyPI `([\w-]+)`", page))
    assert all(package in read("README.md") for package in packages)
    assert packages == set(re.findall(r'requirement="([\w-]+)==', read("greenlab/core/assets/recipes.py")))


def test_every_link_of_these_pages_leads_somewhere():
    links = [
        (name, link)
        for name in ("CONTRIBUTING.md", "SECURITY.md", "LICENSES.md", "README.md")
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", read(name))
    ]
    assert len(links) > 10
    assert [pair for pair in links if not (ROOT / pair[1]).exists()] == []
