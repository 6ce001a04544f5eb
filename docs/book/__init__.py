"""The book as a web site: how its pages are made from the committed notebooks, the facts, the studies and the code.

``python -m docs.book`` (or ``make book``) writes the sources of the site into ``build/book/source`` and lets Sphinx
turn them into ``build/book/html``. No notebook is executed.
"""
