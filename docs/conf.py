"""Sphinx's settings for the book's site; ``python -m docs.book`` writes the sources and calls Sphinx."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from docs.book import address  # noqa: E402
from greenlab import __version__  # noqa: E402

project = "greenlab"
author = "The greenlab authors"
copyright = "The greenlab authors; text CC BY 4.0, code MIT"
release = version = __version__
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "docs.book.extension"]
exclude_patterns = ["_build", "_static", "jupyter_execute", ".jupyter_cache"]
templates_path = ["_templates"]
html_static_path = ["_static"]

nb_execution_mode = "off"  # the committed outputs are what is shown
nb_ipywidgets_js = {}  # widgets need a kernel; their scripts would come from a network
nb_merge_streams = True
nb_code_prompt_show = "Show the set-up"
nb_code_prompt_hide = "Hide the set-up"
myst_enable_extensions = ["dollarmath", "attrs_block", "deflist"]
myst_heading_anchors = 0
suppress_warnings = ["myst.header", "misc.highlighting_failure"]
default_role = "code"

autodoc_typehints = "none"  # the signature has them
toc_object_entries = False  # a page of the code lists its modules, not every function
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_attr_annotations = False

html_theme = "furo"
html_title = "greenlab"
html_copy_source = False
html_show_sourcelink = False
html_favicon = "_static/icon.svg"  # a browser asks the server's root for one where a page names none
html_css_files = ["book.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#00563f", "color-brand-content": "#005a8c"},
    "dark_css_variables": {"color-brand-primary": "#5fd0a6", "color-brand-content": "#7cc4f2"},
}
html_baseurl = address.site()
pygments_style, pygments_dark_style = "a11y-high-contrast-light", "a11y-high-contrast-dark"
html_math_renderer = "mathml"
repository = address.repository()
