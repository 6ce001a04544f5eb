"""JupyterLab on 127.0.0.1, driven by Playwright in Debian's Chromium, with everything outside of this machine blocked.

A page that asks for the outside is remembered (``LabPage.outside``) and fails the test that looks at it; so are errors
of the page. Lab gets configuration, data and workspace folders of its own, so a developer's settings change nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from greenlab.core.machine import ROOT

PICTURES = Path(os.environ.get("GREENLAB_PICTURES", ROOT / "build" / "pictures"))  # screenshots are kept there
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},  # else cells out of sight are not in the page
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},  # Lab's save adds a PNG to each chart
}
START_TIMEOUT_S = 60
# Lab 4.6 asks its own server for these and logs the answers as errors; nothing is wrong with the page.
HARMLESS = ("favicon", "/lsp/", "ResizeObserver loop", "/api/contents/", "404 (Not Found)")


def picture_path(name: str) -> Path:
    """Where a screenshot of this name is kept; the folder is made."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    return PICTURES / name


def find_chromium() -> str:
    """Path of Chromium; without it the test is skipped, or fails where GREENLAB_REQUIRE_BROWSER=1."""
    path = shutil.which("chromium")
    if path is None:
        message = "Chromium is not installed; on Debian: apt-get install chromium"
        if os.environ.get("GREENLAB_REQUIRE_BROWSER") == "1":
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    return path


WATCH_REPAINTS = """cell => {
    const look = () => { const e = cell.querySelector('svg.marks, canvas.marks');
        return e && (e.tagName === 'CANVAS' ? e.toDataURL() : e.outerHTML); };
    window.repaints = [];
    cell.addEventListener('keydown', () => {
        const start = performance.now(), before = look();
        const frame = () => look() === before
            ? requestAnimationFrame(frame)
            : window.repaints.push(performance.now() - start);
        requestAnimationFrame(frame);
    }, {capture: true});
}"""


@dataclass(frozen=True)
class LabServer:
    """A running JupyterLab whose root folder is ``root``."""

    base: str
    token: str
    root: Path


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def start_lab(root: Path) -> Iterator[LabServer]:
    """Start JupyterLab in ``root`` with the interpreter that runs the tests; its python3 kernel is the same one."""
    tmp = Path(tempfile.mkdtemp(prefix="lab-"))
    for plugin, values in SETTINGS.items():
        file = tmp / "settings" / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    folders = {"CONFIG_DIR": "config", "DATA_DIR": "data", "RUNTIME_DIR": "runtime"}
    env = os.environ | {f"JUPYTER_{name}": str(tmp / folder) for name, folder in folders.items()}
    env |= {"JUPYTERLAB_SETTINGS_DIR": str(tmp / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(tmp / "workspaces")}
    env |= {"IPYTHONDIR": str(tmp / "ipython")}
    port, token = _free_port(), secrets.token_hex(16)
    options = ["--no-browser", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"]
    options += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root}"]
    options += ["--LabApp.expose_app_in_browser=True", "--ServerApp.allow_root=True"]
    log = tmp / "lab.log"
    with log.open("w") as out:
        command = [sys.executable, "-m", "jupyterlab", *options]
        process = subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT)
    try:
        _wait_for(f"http://127.0.0.1:{port}/api/status?token={token}", process, log)
        yield LabServer(f"http://127.0.0.1:{port}", token, root)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(tmp, ignore_errors=True)


def _wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).read()
            return
        except (urllib.error.URLError, OSError) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}") from error
            time.sleep(0.1)


class LabPage:
    """One browser page on a Lab server.

    Attributes:
        page: the Playwright page, for what the helpers do not cover.
        outside: requests that wanted to leave the machine; they were blocked.
        errors: uncaught exceptions and console errors of the page.
    """

    def __init__(self, page: Any, server: LabServer | None) -> None:
        self.page, self.server = page, server  # no server: a page from a file
        self.outside: list[str] = []
        self.errors: list[str] = []
        page.context.route("**/*", self._route)
        page.context.route_web_socket(lambda url: not _is_local(url), lambda socket: self.outside.append(socket.url))
        page.on("pageerror", lambda error: self._note(f"uncaught: {error}"))
        page.on("console", lambda message: self._note(f"console: {message.text}") if message.type == "error" else None)

    def _route(self, route: Any) -> None:
        if _is_local(route.request.url):
            route.continue_()
        else:
            self.outside.append(route.request.url)
            route.abort()

    def _note(self, text: str) -> None:
        if not any(known in text for known in HARMLESS):
            self.errors.append(text[:400])

    def open_notebook(self, name: str) -> None:
        """Open a notebook below the server's root and wait until its kernel answers."""
        assert self.server is not None
        self.page.goto(f"{self.server.base}/lab/tree/{quote(name)}?token={self.server.token}&reset")
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
        self.page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.sessionContext", timeout=60_000)
        self.page.evaluate(
            "async () => { const c = jupyterapp.shell.currentWidget.sessionContext;"
            " await c.ready; await c.session?.kernel?.info; }"
        )

    def run_all(self, timeout_s: float = 180) -> list[tuple[int, str, str]]:
        """Run every cell; gives the stored errors as (cell number, name, text)."""
        # side roads stand folded; a test looks into them too
        self.page.evaluate("async () => { await jupyterapp.commands.execute('notebook:expand-all-headings'); }")
        self.page.evaluate("async () => { await jupyterapp.commands.execute('notebook:run-all-cells'); }")
        self.page.wait_for_function(
            """() => { const prompts = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputArea-prompt')];
                return prompts.length && prompts.every(p => /\\d+/.test(p.innerText)); }""",
            timeout=timeout_s * 1000,
        )
        return [
            (index, output["ename"], output["evalue"])
            for index, outputs in enumerate(self.outputs())
            for output in outputs
            if output["output_type"] == "error"
        ]

    def outputs(self) -> list[list[dict[str, Any]]]:
        """The outputs of every cell as nbformat has them; markdown cells have none."""
        return self.page.evaluate(
            """() => { const cells = jupyterapp.shell.currentWidget.content.model.cells;
                return [...cells].map(c => c.type === 'code'
                    ? [...Array(c.outputs.length).keys()].map(i => c.outputs.get(i).toJSON()) : []); }"""
        )

    def cell(self, index: int) -> Any:
        """The cell with this number, counted from 0, as a Playwright locator."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def chart(self, index: int) -> Any:
        """The drawn chart (SVG or canvas) of a cell; waits until it is there."""
        drawing = self.cell(index).locator("svg.marks, canvas.marks").first
        drawing.wait_for(state="visible", timeout=20_000)
        return drawing

    def fingerprint(self, index: int) -> str:
        """A hash of what a cell's chart looks like now: it changes when the drawing does."""
        drawn = self.chart(index).evaluate("e => e.tagName === 'CANVAS' ? e.toDataURL() : e.outerHTML")
        return hashlib.sha256(drawn.encode()).hexdigest()

    def wait_for_change(self, index: int, before: str, timeout_s: float = 10) -> str:
        """Wait until a cell's chart differs from ``before``; gives its new fingerprint."""
        deadline = time.monotonic() + timeout_s
        while (now := self.fingerprint(index)) == before:
            if time.monotonic() > deadline:
                raise AssertionError(f"the chart of cell {index} did not change within {timeout_s:g} s")
            time.sleep(0.01)
        return now

    def press_slider(self, index: int, key: str = "ArrowRight", number: int = 0) -> None:
        """Move the ipywidgets slider of a cell by keyboard, as a reader without a mouse does."""
        handle = self.cell(index).locator(".noUi-handle").nth(number)
        handle.focus()
        handle.press(key)

    def press_vega_slider(self, index: int, key: str = "ArrowRight") -> None:
        """Move the slider that Vega draws under a chart, by keyboard."""
        slider = self.cell(index).locator(".vega-bind input[type=range]").first
        slider.focus()
        slider.press(key)

    def repaint_ms(
        self, index: int, keys: tuple[str, ...] = ("ArrowRight", "ArrowLeft"), repeats: int = 10, number: int = 0
    ) -> float:
        """Median time from a key on a cell's slider to the changed chart [ms], by the page's own clock.

        Looked at in each frame of the page: seen from the test, its own polling took two thirds of the time.
        """
        self.cell(index).evaluate(WATCH_REPAINTS)
        for turn in range(repeats):
            self.press_slider(index, keys[turn % len(keys)], number)
            self.page.wait_for_function("n => window.repaints.length > n", arg=turn, timeout=20_000)
        return statistics.median(self.page.evaluate("window.repaints"))


def _is_local(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("data", "blob", "about", "file") or parts.hostname == "127.0.0.1"


@contextlib.contextmanager
def honest_page(server: LabServer | None = None) -> Iterator[LabPage]:
    """A page that, when the test is done, must not have asked for the outside, nor raised an error."""
    with open_page(server) as page:
        yield page
        assert page.outside == [], f"the page asked for the outside: {page.outside}"
        assert page.errors == [], f"the page reported errors: {page.errors}"


@contextlib.contextmanager
def open_page(server: LabServer | None, **context: Any) -> Iterator[LabPage]:
    """A page in a fresh Chromium without cookies or history."""
    from playwright.sync_api import sync_playwright

    executable = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, headless=True, args=FLAGS)
        try:
            yield LabPage(browser.new_context(viewport={"width": 1280, "height": 900}, **context).new_page(), server)
        finally:
            browser.close()
