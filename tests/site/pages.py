"""Runs a chapter's explorer in node, where no page is: many settings in one process."""

import json
import subprocess
from pathlib import Path
from shutil import which

from docs.book import explorers
from greenlab.core.machine import ROOT

SCRIPTS = ROOT / "docs" / "_static" / explorers.FOLDER
NODE = which("node")
_RUN = """
const fs = require("node:fs"), vm = require("node:vm");
const [, , cases, ...files] = process.argv;
for (const file of files) vm.runInThisContext(fs.readFileSync(file, "utf8"), { filename: file });
(async () => {
  const found = [];
  for (const [name, chosen] of JSON.parse(fs.readFileSync(cases, "utf8"))) {
    const [chapter, part] = name.split(".");
    const one = greenlab.explorers[name]
      ? await greenlab.explorers[name].at(greenlab.data[chapter][part], chosen)
      : greenlab.words[part](...chosen);
    found.push(one);
  }
  process.stdout.write(JSON.stringify(found));
})();
"""


def run(folder: Path, chapter: str, cases: list) -> list:
    """What the page's script gives for each case: a name of an explorer or of a function of words, and its values."""
    (folder / "run.cjs").write_text(_RUN, encoding="utf-8")
    (folder / "data.js").write_text(explorers.script(chapter), encoding="utf-8")
    (folder / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    files = [SCRIPTS / "explorer.js", folder / "data.js", SCRIPTS / f"{chapter}.js"]
    for name, text in explorers.later(chapter).items():
        (folder / name).write_text(text, encoding="utf-8")
        files.append(folder / name)
    done = subprocess.run(
        [NODE, folder / "run.cjs", folder / "cases.json", *files],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)
