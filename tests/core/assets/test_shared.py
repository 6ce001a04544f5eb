"""One copy of the weights for all kernels of a machine: mapped from the file, never copied, whoever owns the folder."""

import os
import subprocess
import sys

import pytest

from greenlab.core import assets

linux = pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="/proc is Linux")
LOOK = """
import sys
from greenlab.core import assets

name = sys.argv[1]
model, _ = getattr(assets, f"load_{name}")()
file = str((assets.assets_folder() / name / "model.safetensors").resolve())
mapped = []
for line in open("/proc/self/maps"):
    parts = line.split(maxsplit=5)
    if len(parts) == 6 and parts[5].strip() == file:
        mapped.append([int(end, 16) for end in parts[0].split("-")])
for where, tensor in model.named_parameters():
    start, stop = tensor.data_ptr(), tensor.data_ptr() + tensor.numel() * tensor.element_size()
    if not any(low <= start and stop <= high for low, high in mapped):
        print("a copy:", where)
"""


@linux
@pytest.mark.assets
@pytest.mark.parametrize("name", ["smollm2", "minilm"])
def test_every_weight_lies_in_the_mapped_file(name):
    assets.fetch(name)
    done = subprocess.run([sys.executable, "-c", LOOK, name], capture_output=True, text=True, check=True)
    assert done.stdout == ""


@linux
@pytest.mark.assets
def test_loading_the_tokenizer_leaves_nothing_behind_that_was_freed():
    """What a trim after loading would give back is what every learner would hold for nothing."""
    code = (
        "import torch\nfrom greenlab.core import assets\nfrom greenlab.core.machine import release_memory\n"
        "def own():\n    return int(open('/proc/self/status').read().split('RssAnon:')[1].split()[0]) * 1024\n"
        "tokenizer = assets._tokenizer(assets.fetch('smollm2'))\nbefore = own()\n"
        "release_memory()\nprint(before - own())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 4e6  # without the trim in it: 31 MB


def test_the_tokenizer_and_the_model_are_those_of_transformers():
    from transformers import AutoTokenizer

    folder = assets.assets_folder() / "smollm2"
    if assets.problems("smollm2"):
        pytest.skip("needs smollm2: run make lab once")
    _, tokenizer = assets.load_smollm2()
    theirs = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    text = "The capital of France is Paris. 12,345 élan"
    assert tokenizer(text).input_ids == theirs(text).input_ids
    assert tokenizer.pad_token_id == theirs.pad_token_id
