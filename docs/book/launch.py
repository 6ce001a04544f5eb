"""The buttons at the top of a chapter: start it at mybinder.org, or take the notebook."""

from __future__ import annotations

import html
import posixpath

from docs.book import address


def buttons(notebook: str, page: str, repository: str) -> str:
    """The buttons of a chapter as HTML; without an address of the repository, one of them explains.

    Args:
        notebook: the file in ``notebooks/``.
        page: the page that shows the buttons.
        repository: the repository's public address, or "".
    """
    up = posixpath.relpath(".", posixpath.dirname(page) or ".")
    take = f'<a class="gl-button" href="{up}/notebooks/{html.escape(notebook)}" download>Download the notebook</a>'
    if repository:
        start = f'<a class="gl-button" href="{html.escape(address.binder(repository, notebook))}">Start on Binder</a>'
        return f'<div class="gl-launch">{start} {take}</div>'
    return (
        f'<div class="gl-launch"><details class="gl-button"><summary>Start on Binder</summary>'
        "<p>This copy of the book does not know the public address of its repository. If you have it, paste it at "
        '<a href="https://mybinder.org">mybinder.org</a>, and write '
        f"<code>lab/tree/notebooks/{html.escape(notebook)}</code> as the URL to open. On your own machine, "
        "<code>make lab</code> in the repository starts the same page.</p></details> "
        f"{take}</div>"
    )
