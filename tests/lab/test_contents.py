"""A notebook that Lab opens stays unchanged: it has the metadata that Lab compares with the kernel's."""

import asyncio
import json
import shutil

import pytest
from jupyter_client.manager import start_new_kernel

from greenlab.core.machine import ROOT
from greenlab.lab.contents import Contents

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def read(path, **more):
    return asyncio.run(Contents(root_dir=str(path.parent)).get(path.name, **more))


def kernel_says():
    """What a kernel answers when Lab asks who it is, and how its specification is named."""
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        info = client.kernel_info(reply=True, timeout=60)["content"]["language_info"]
        return info, manager.kernel_spec.display_name, manager.kernel_spec.language
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_the_notebooks_are_read_with_what_the_kernel_says_of_itself():
    assert NOTEBOOKS
    info, display_name, language = kernel_says()
    for path in NOTEBOOKS:
        metadata = read(path, type="notebook")["content"]["metadata"]
        assert metadata["language_info"] == info
        assert metadata["kernelspec"] == {"display_name": display_name, "language": language, "name": "python3"}


def test_the_file_on_disk_is_not_touched(tmp_path):
    path = tmp_path / "a.ipynb"
    shutil.copy(NOTEBOOKS[0], path)
    before = path.read_bytes()
    assert "language_info" in read(path)["content"]["metadata"]
    assert path.read_bytes() == before


@pytest.mark.parametrize("metadata", [{}, {"kernelspec": {"name": "ir"}}, {"language_info": {"name": "R"}}])
def test_a_notebook_of_another_kernel_is_left_alone(tmp_path, metadata):
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": [], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}))
    assert read(path)["content"]["metadata"] == metadata


def test_other_files_and_folders_are_read_as_ever(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    assert read(tmp_path / "a.txt")["content"] == "text"
    assert [entry["name"] for entry in read(tmp_path)["content"]] == ["a.txt"]
