"""What Lab reads from disk: notebooks with the metadata that Lab would write into them on opening.

Lab compares a notebook's ``language_info`` with the kernel's, and marks the notebook as changed where they differ. The
kernel's holds the exact version of Python, so no committed value is right for every reader. This contents manager adds
the value of the Python that runs; the file on disk is not touched. ``make lab`` passes it as
``--ServerApp.contents_manager_class=greenlab.lab.contents.Contents``.
"""

from __future__ import annotations

from typing import Any

from ipykernel.ipkernel import IPythonKernel
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager

KERNEL = "python3"  # of this environment: the server and the kernel are the same Python


def opened(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return a notebook's metadata as they are after Lab has opened it with this Python's kernel.

    >>> sorted(opened({"kernelspec": {"name": "python3"}}))
    ['kernelspec', 'language_info']
    >>> opened({"kernelspec": {"name": "ir"}})
    {'kernelspec': {'name': 'ir'}}
    """
    if metadata.get("kernelspec", {}).get("name") != KERNEL or "language_info" in metadata:
        return metadata
    return {**metadata, "language_info": dict(IPythonKernel.language_info)}


class Contents(AsyncLargeFileManager):
    """Jupyter's own contents manager; a notebook that is opened unchanged stays so."""

    async def get(self, *args: Any, **options: Any) -> dict[str, Any]:
        """Return a file, a folder or a notebook, as Jupyter's manager does."""
        model = await super().get(*args, **options)
        if model["type"] == "notebook" and model["content"] is not None:
            notebook = model["content"]
            notebook["metadata"] = type(notebook["metadata"])(opened(notebook["metadata"]))
        return model
