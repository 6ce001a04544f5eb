"""The configuration of notebooks/JUPYTERHUB.md: it parses, sets what exists, and serves two learners in a real hub."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import urllib.error

import pytest
from traitlets.config.loader import Config, PyFileConfigLoader

from greenlab.classroom import code_cells
from greenlab.core.machine import ROOT
from tests.load import hub
from tests.workshop.prose import violations


@pytest.fixture
def config(tmp_path) -> Config:
    (text,) = hub.blocks("python")
    (tmp_path / "jupyterhub_config.py").write_text(text)
    return PyFileConfigLoader("jupyterhub_config.py", path=str(tmp_path)).load_config()


def test_every_number_of_the_page_resolves():
    assert violations(hub.PAGE.read_text(encoding="utf-8")) == []


def test_the_configuration_says_what_the_page_promises(config):
    assert config.JupyterHub.spawner_class == "systemd"
    assert len(config.Authenticator.allowed_users) == 30
    assert config.JupyterHub.active_server_limit >= 30
    assert config.Spawner.environment["GREENLAB_ASSETS"] == "/srv/greenlab/assets"
    assert config.Spawner.environment["OMP_NUM_THREADS"] == "1"
    assert any("cull_idle_timeout" in argument for argument in config.Spawner.args)
    (role,) = config.JupyterHub.load_roles
    (service,) = config.JupyterHub.services
    assert role["services"] == [service["name"]]


def test_two_learners_have_different_states(config):
    from types import SimpleNamespace

    state = config.Spawner.environment["GREENLAB_STATE"]
    made = {state(SimpleNamespace(user=SimpleNamespace(name=name))) for name in ("learner01", "learner02")}
    assert made == {"/home/learner01/.greenlab", "/home/learner02/.greenlab"}


WHERE = {
    "JupyterHub": "jupyterhub.app", "Authenticator": "jupyterhub.auth", "Spawner": "jupyterhub.spawner",
    "SystemdSpawner": "systemdspawner", "ConfigurableHTTPProxy": "jupyterhub.proxy",
}  # fmt: skip


def test_every_setting_exists(config):
    """A name that JupyterHub does not know would be passed over with a warning."""
    for module in {*WHERE.values(), "jupyterhub_idle_culler"}:
        pytest.importorskip(module, reason="needs JupyterHub, its systemdspawner and its idle culler")
    for section, settings in config.items():
        known = getattr(importlib.import_module(WHERE[section]), section)
        assert settings, section
        assert set(settings) <= set(known.class_trait_names(config=True)), section
        made = known.class_traits(config=True)
        for name, value in settings.items():
            made[name]._validate(known.__new__(known), value)  # the type is right


@pytest.mark.parametrize("number", range(len(hub.blocks("bash"))))
def test_the_shell_lines_parse(number):
    assert shutil.which("bash")
    done = subprocess.run(["bash", "-n"], input=hub.blocks("bash")[number], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_commands_of_the_page_exist():
    """Every module and make target that the page names is there."""
    import re

    text = hub.PAGE.read_text(encoding="utf-8")
    modules = set(re.findall(r"python -m (greenlab[\w.]*|tests[\w.]*)", text))
    assert {
        "greenlab.core.assets",
        "greenlab.lab.widget_script",
        "greenlab.workshop",
        "greenlab",
        "tests.load",
    } <= modules
    for module in modules:
        assert importlib.util.find_spec(module) or importlib.util.find_spec(f"{module}.__main__"), module
    targets = set(re.findall(r"^make (\w+)", text, re.M))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets == {"setup"}
    assert all(re.search(rf"^{target}:", makefile, re.M) for target in targets)


@pytest.mark.assets
def test_two_learners_log_in_and_run_the_first_half_of_chapter_6(tmp_path):
    pytest.importorskip("jupyterhub", reason="needs JupyterHub")
    if not shutil.which("configurable-http-proxy"):
        pytest.skip("needs configurable-http-proxy on the PATH")
    with hub.running_hub(tmp_path, ["learner01", "learner02"]) as address:
        stranger = hub.Browser(address, "learner99")
        with pytest.raises(urllib.error.HTTPError, match="403"):
            stranger.log_in(hub.PASSWORD)
        printed = {}
        for name in ("learner01", "learner02"):
            browser = hub.Browser(address, name)
            with pytest.raises(urllib.error.HTTPError, match="403"):
                hub.Browser(address, name).log_in("another password")
            browser.log_in(hub.PASSWORD)
            browser.start_server()
            listed = browser.ask(f"/user/{name}/api/contents/notebooks")["content"]
            assert "06_layer_pruning.ipynb" in [entry["name"] for entry in listed]
            facts = browser.ask(f"/user/{name}/api/contents/data/facts/README.md?content=0")
            assert facts["type"] == "file"
            look = (
                f"from greenlab.lab import state\nstate.save('notes', 'own', {{'by': {name!r}}})\n"
                "import os\nprint(os.environ['GREENLAB_STATE'], os.environ['OMP_NUM_THREADS'], torch.get_num_threads())"
            )
            printed[name] = browser.run([*code_cells(), look])
            other = {"learner01": "learner02", "learner02": "learner01"}[name]
            with pytest.raises(urllib.error.HTTPError, match=r"40[34]"):
                browser.ask(f"/user/{other}/api/contents")
    for name, outputs in printed.items():
        assert "SmolLM2 has 30 layers" in "".join(outputs)
        assert f"homes/{name}/.greenlab 1 1" in outputs[-1]
        assert name in (tmp_path / "homes" / name / ".greenlab/notes/own.json").read_text()
