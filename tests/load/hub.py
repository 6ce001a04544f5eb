"""A real JupyterHub on this machine, with the configuration of notebooks/JUPYTERHUB.md, for tests.

What differs from the page: the folders, the port, the spawner (no systemd) and the passwords (made up). Everything that
is asked goes over HTTP and WebSocket through the hub's proxy, as from a browser.
"""

from __future__ import annotations

import contextlib
import http.cookiejar
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from greenlab.classroom.load import _free_port
from greenlab.core.assets import assets_folder
from greenlab.core.machine import ROOT

PAGE = ROOT / "notebooks" / "JUPYTERHUB.md"
PASSWORD = "rehearsal-of-the-class"
# Set where JupyterHub stands in a virtual environment beside the book's
LAB_PATHS = ("JUPYTER_PATH", "JUPYTER_CONFIG_PATH", "JUPYTERLAB_DIR")
WHERE_LAB_IS = {name: os.environ[name] for name in LAB_PATHS if name in os.environ}


def blocks(language: str) -> list[str]:
    """The code blocks of the page that are written in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)


def moved(config: str, folder: Path, proxy: str, port: int) -> str:
    """The page's configuration with folders of a test, and the simple spawner in the place of systemd's."""
    for name, value in {
        "BOOK": ROOT, "ASSETS": assets_folder(), "HUB": folder / "hub", "PROXY": proxy, "HOMES": folder / "homes",
    }.items():  # fmt: skip
        config, n = re.subn(rf'^{name} = ".*?"', f"{name} = {str(value)!r}", config, flags=re.M)
        assert n == 1, f"the page sets {name} {n} times"
    config = config.replace('f"{BOOK}/.venv/bin/python"', repr(sys.executable))
    config = config.replace(
        '[f"{BOOK}/.venv/bin/jupyterhub-singleuser"]', f'[{sys.executable!r}, "-m", "jupyterhub.singleuser"]'
    )
    return config + "\n".join(
        [
            "",
            f"c.JupyterHub.bind_url = 'http://127.0.0.1:{port}'",
            f"c.JupyterHub.hub_port = {_free_port()}",
            f"c.ConfigurableHTTPProxy.api_url = 'http://127.0.0.1:{_free_port()}'",
            "c.JupyterHub.spawner_class = 'simple'",
            f"c.SimpleLocalProcessSpawner.home_dir_template = {str(folder / 'homes')!r} + '/{{username}}'",
            "c.JupyterHub.authenticator_class = 'dummy'",
            f"c.DummyAuthenticator.password = {PASSWORD!r}",
            f"c.Spawner.environment['PYTHONPATH'] = {str(ROOT)!r}",
            f"c.Spawner.environment.update({WHERE_LAB_IS!r})",
            "c.Spawner.args = [*c.Spawner.args, '--allow-root']",
            "",
        ]
    )


@contextlib.contextmanager
def running_hub(folder: Path, learners: list[str]) -> Iterator[str]:
    """A hub with homes for some learners; its address."""
    proxy = shutil.which("configurable-http-proxy")
    assert proxy, "configurable-http-proxy is not on the PATH"
    (config,) = blocks("python")
    port = _free_port()
    (folder / "hub").mkdir()
    for name in learners:
        home = folder / "homes" / name / "greenlab"
        (home / "notebooks").mkdir(parents=True)
        for notebook in (ROOT / "notebooks").glob("0*.ipynb"):
            shutil.copy(notebook, home / "notebooks")
        (home / "data").symlink_to(ROOT / "data")
    file = folder / "hub" / "jupyterhub_config.py"
    file.write_text(moved(config, folder, proxy, port))
    log = (folder / "hub" / "log").open("w")
    command = [sys.executable, "-m", "jupyterhub", "-f", str(file)]
    hub = subprocess.Popen(command, cwd=folder / "hub", stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        _until(lambda: _opener().open(f"{address}/hub/api/", timeout=5).status == 200, hub, folder / "hub" / "log")
        yield address
    finally:
        hub.send_signal(signal.SIGTERM)
        try:
            hub.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(hub.pid, signal.SIGKILL)
            hub.wait()
        log.close()


def _opener(jar: http.cookiejar.CookieJar | None = None) -> urllib.request.OpenerDirector:
    cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar() if jar is None else jar)
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies)


def _until(true: Any, process: subprocess.Popen, log: Path, limit_s: float = 180.0) -> None:
    end = time.monotonic() + limit_s
    while True:
        with contextlib.suppress(OSError):
            if true():
                return
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < end, log.read_text()[-3000:]
        time.sleep(0.5)


class Browser:
    """What a browser does for one learner."""

    def __init__(self, address: str, name: str) -> None:
        self.address, self.name = address, name
        self.jar = http.cookiejar.CookieJar()
        self.opener = _opener(self.jar)

    def ask(self, path: str, data: Any = None, method: str | None = None) -> Any:
        """Ask for a path; JSON goes in and comes out."""
        body = None if data is None else json.dumps(data).encode()
        headers = {"Content-Type": "application/json", "Referer": self.address + path}
        if body is not None or method:
            headers["X-XSRFToken"] = self._xsrf_of(path)
        request = urllib.request.Request(self.address + path, body, headers, method=method)
        with self.opener.open(request, timeout=120) as answer:
            said = answer.read()
            return json.loads(said) if answer.headers.get_content_type() == "application/json" else said.decode()

    def _xsrf_of(self, path: str) -> str:
        """The token that a form sends back; the hub and each server have one of their own."""
        place = [c for c in self.jar if c.name == "_xsrf" and path.startswith(c.path)]
        return max(place, key=lambda c: len(c.path)).value or "" if place else ""

    def log_in(self, password: str) -> str:
        """Send the login form; the address that the hub leads to."""
        self.opener.open(f"{self.address}/hub/login", timeout=60).read()
        form = {"username": self.name, "password": password, "_xsrf": self._xsrf_of("/hub/login")}
        data = urllib.parse.urlencode(form).encode()
        with self.opener.open(f"{self.address}/hub/login", data, timeout=180) as answer:
            answer.read()
            return str(answer.url)

    def start_server(self) -> None:
        """Ask for the server's page, as a browser that waits does, until JupyterLab answers."""
        end = time.monotonic() + 180
        while time.monotonic() < end:
            with (
                contextlib.suppress(urllib.error.HTTPError),
                self.opener.open(f"{self.address}/user/{self.name}/lab", timeout=120) as answer,
            ):
                page = answer.read().decode()
                if f"/user/{self.name}/" in answer.url and "jupyter-config-data" in page:
                    return
            with contextlib.suppress(urllib.error.HTTPError):
                self.opener.open(f"{self.address}/hub/spawn/{self.name}", timeout=120).read()
            time.sleep(1)
        raise AssertionError(f"the server of {self.name} did not start")

    def run(self, cells: list[str], limit_s: float = 600.0) -> list[str]:
        """Run cells in a new kernel of the learner's server; what each printed."""
        import websocket  # websocket-client, which jupyter_server brings

        base = f"/user/{self.name}/api/kernels"
        kernel = self.ask(base, {"name": "python3", "path": "notebooks"})["id"]
        cookies = "; ".join(f"{c.name}={c.value}" for c in self.jar if base.startswith(c.path))
        address = self.address.replace("http", "ws", 1) + f"{base}/{kernel}/channels?session_id={uuid.uuid4().hex}"
        line = websocket.create_connection(address, cookie=cookies, origin=self.address, timeout=limit_s)
        try:
            return [self._run_cell(line, cell) for cell in cells]
        finally:
            line.close()
            self.ask(f"{base}/{kernel}", method="DELETE")

    @staticmethod
    def _run_cell(line: Any, cell: str) -> str:
        own = uuid.uuid4().hex
        header = {"msg_id": own, "msg_type": "execute_request", "username": "", "session": own, "version": "5.3"}
        content = {"code": cell, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        line.send(json.dumps(message))
        printed: list[str] = []
        replied = idle = False
        while not (replied and idle):
            got = json.loads(line.recv())
            if got["parent_header"].get("msg_id") != own:
                continue
            if got["msg_type"] == "stream" and got["content"]["name"] == "stdout":
                printed.append(got["content"]["text"])
            if got["msg_type"] == "execute_reply":
                assert got["content"]["status"] == "ok", f"{got['content'].get('evalue')}: {cell[:80]}"
                replied = True
            idle = idle or (got["msg_type"] == "status" and got["content"]["execution_state"] == "idle")
        return "".join(printed)
