"""SmolLM2 in a browser's tab against transformers on one thread: tokens a second, the first token, memory.

Both write the same tokens after the same prompt, in turn, in one run; a ratio is the median over rounds. The tab is
Chromium without a window, on this machine. Run it without ``nice``: Chromium sets the priority of a page itself, so
that the ratio would be that of two priorities. Marks: at least 3 tokens a second, at most 150 MB to download.
"""

from __future__ import annotations

import functools
import http.server
import re
import statistics
import tempfile
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from greenlab.core import assets, speed
from greenlab.core.model.decoder import keep_layers
from greenlab.layer_pruning.study import PROMPTS
from greenlab.tab import build, cuts
from tests.browser.driver import open_page

ROUNDS, MARK_PER_S, MARK_MB = 5, 3.0, 150.0
REMOVED = (0, 6, 12)
DONE = "n => document.querySelectorAll('[data-part=rows] tr').length === n"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A web server that prints nothing."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def write(page: Any, rows: int) -> tuple[float, float, int]:
    """Let the tab write after its prompt; gives tokens a second, seconds to the first token, tokens written."""
    page.locator("[data-do=write]").click()
    page.wait_for_function(DONE, arg=rows, timeout=120_000)
    status, per_s = page.locator("[data-part=status]").inner_text(), page.locator("[data-part=speed]").inner_text()
    return float(per_s.split()[0]), float(re.search(r"after ([\d.]+) s", status)[1]), int(status.split()[0])


def private_mb(name: str) -> float:
    """Private memory of the largest process whose command line holds a word [MB]: the page with its worker."""
    sizes = [0.0]
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if name in (folder / "cmdline").read_text():
                found = re.findall(
                    r"^Private_\w+:\s+(\d+) kB", (folder / "smaps_rollup").read_text(), flags=re.MULTILINE
                )
                sizes.append(sum(map(int, found)) / 1e3)
        except OSError:
            continue  # the process has ended meanwhile
    return max(sizes)


def run() -> pd.DataFrame:
    """Time each cut in the tab and in transformers."""
    torch.set_num_threads(1)
    model, tokenizer = assets.load_smollm2()
    ids = torch.tensor([tokenizer(PROMPTS[1]).input_ids])
    dropped = {cut["n_removed"]: cut["dropped"] for cut in cuts()["angular"]}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        manifest = build(folder)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with open_page(None) as opened:
            page, done = opened.page, 1
            page.goto(f"http://127.0.0.1:{server.server_port}/")
            page.locator("[data-do=load]:enabled").click()
            page.wait_for_function(DONE, arg=1, timeout=120_000)
            page.get_by_label("How the text begins").fill(PROMPTS[1])
            for n_removed in REMOVED:
                pruned = keep_layers(model, [i for i in range(30) if i not in dropped[n_removed]])
                place = [cut["n_removed"] for cut in cuts()["angular"]].index(n_removed)
                page.locator("#prune-tab-cut").fill(str(place))  # begins a text of its own
                done += 1
                page.wait_for_function(DONE, arg=done, timeout=120_000)
                times = []
                for _ in range(ROUNDS):
                    done += 1
                    per_s, first_s, written = write(page, done)
                    timed = speed.interleave({"torch": functools.partial(speed.run_decode, pruned, ids, 32)}, rounds=1)
                    times.append((per_s, first_s, written, 32 / timed["time_s"].median()))
                tab, first, written, torch_per_s = (statistics.median(column) for column in zip(*times, strict=True))
                rows.append(
                    {
                        "removed": n_removed, "written": written, "tab_per_s": tab, "first_token_s": first,
                        "torch_per_s": torch_per_s, "ratio": statistics.median(t[0] / t[3] for t in times),
                        "tab_private_mb": private_mb("--type=renderer"), "download_mb": manifest["bytes"] / 1e6,
                        "holds": tab >= MARK_PER_S and manifest["bytes"] / 1e6 <= MARK_MB,
                    }
                )  # fmt: skip
        server.shutdown()
    return pd.DataFrame(rows)
