"""The committed comparison is that of today's default service, and its steps lead from our figure to the peers'."""

import math
import tomllib

import numpy as np
import pytest

from greenlab.core.machine import ROOT
from greenlab.green_service import DEFAULT, evaluate, peers


@pytest.fixture
def tables():
    return peers.load()


@pytest.mark.parametrize("peer", ["EcoLogits", "mlsysim"])
def test_our_column_is_the_default_service_of_today(tables, peer):
    figures, gap = tables
    ours = figures[figures["peer"] == peer].set_index("quantity")["ours"]
    outcome = evaluate(DEFAULT)
    assert ours["energy"] == pytest.approx(outcome.energy.total_j, rel=1e-5)
    assert ours["carbon of electricity"] + ours["carbon of manufacture"] == pytest.approx(outcome.sci_g, rel=1e-5)
    assert ours["water"] == pytest.approx(outcome.water.total_ml, rel=1e-5)
    assert ours["whole answer"] == pytest.approx(outcome.latency.total_s, rel=1e-5)
    assert gap[gap["peer"] == peer]["energy_j"].iloc[0] == pytest.approx(outcome.energy.total_j, rel=1e-5)


@pytest.mark.parametrize("peer", ["EcoLogits", "mlsysim"])
def test_the_steps_of_the_gap_lead_to_the_peers_figure(tables, peer):
    figures, gap = tables
    part = gap[gap["peer"] == peer]
    theirs = figures[(figures["peer"] == peer) & (figures["quantity"] == "energy")]["theirs"].item()
    assert part["energy_j"].iloc[-1] == pytest.approx(theirs, rel=1e-5)
    assert np.allclose(part["energy_j"].diff().iloc[1:], part["change_j"].iloc[1:], rtol=1e-3, atol=1e-3)
    assert part["why"].iloc[1:].str.len().gt(10).all()
    assert len(part) >= 5


def test_ecologits_is_its_published_formula(tables):
    """Methodology of ecologits.ai: (alpha exp(beta B) P + gamma) Wh a token, 64 at once, host 1.2 kW for 8 and 64."""
    parameters = 8.03
    gpu_wh = 300 * (1.1665273e-6 * math.exp(-0.011205921 * 64) * parameters + 4.0529281e-5)
    latency_s = 300 * (0.00067850881 * parameters + 0.00031193103 * 64 + 0.019473718)
    host_wh = latency_s / 3600 * 1200 / 8 / 64
    joules = 1.54 * 3600 * (gpu_wh + host_wh)
    figures = tables[0].set_index(["peer", "quantity"])["theirs"]
    assert figures["EcoLogits", "energy"] == pytest.approx(joules, rel=1e-3)
    assert figures["EcoLogits", "whole answer"] == pytest.approx(latency_s, rel=1e-3)
    embodied_g = 1e3 * (273 + 5700 / 8) * latency_s / (3 * 365 * 86_400 * 64)
    assert figures["EcoLogits", "carbon of manufacture"] == pytest.approx(embodied_g, rel=1e-3)


def test_what_users_ask_for_is_there_and_missing_elsewhere(tables):
    figures, gap = tables
    steps = set(gap[gap["peer"] == "EcoLogits"]["step"])
    assert {"input tokens", "batch"} <= steps
    theirs = figures.set_index(["peer", "quantity"])["theirs"]
    assert theirs["mlsysim", "carbon of manufacture"] == 0  # accelerators only if the user brings a number
    assert (figures["ours"] > 0).all()


def test_versions_are_those_that_are_pinned(tables):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["dev"]
    for peer, version in peers.VERSIONS.items():
        assert f"{peer.lower()}=={version}" in extras
        assert set(tables[0][tables[0]["peer"] == peer]["version"].astype(str)) == {version}


@pytest.mark.parametrize(("package", "compute"), [("ecologits", peers.ecologits), ("mlsysim", peers.mlsysim)])
def test_the_committed_tables_are_what_the_packages_say(package, compute, tables):
    pytest.importorskip(package)
    for committed, computed in zip(tables, compute(), strict=True):
        rows = committed[committed["peer"].str.lower() == package].reset_index(drop=True)
        for column in ("theirs", "energy_j"):
            if column in computed:
                assert np.allclose(rows[column], computed[column], rtol=1e-4)
