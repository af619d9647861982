"""How Sphinx builds these pages: ``make docs``."""

from __future__ import annotations

import sys
from configparser import ConfigParser
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import performance_tables  # noqa: E402 - these four are found in the folder named above
import persona_fields  # noqa: E402
import reliability_tables  # noqa: E402
import settings_page  # noqa: E402

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_metadata = ConfigParser()
_metadata.read(HERE.parent / "setup.cfg", encoding="utf-8")

project = "Flask-Anam"
author = "the Flask-Anam contributors"
release = version = _metadata["metadata"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "_generated_*"]
default_role = "code"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.strikethrough"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_display_short_literal_types = True

html_theme = "furo"
html_title = "Flask-Anam"
html_favicon = html_logo = "_static/logo.svg"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_copyright = False
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#0b6b6f",
        "color-brand-content": "#0b6b6f",
        "color-brand-visited": "#4c5f8f",
        "color-api-name": "#0b6b6f",
        "color-api-pre-name": "#0b6b6f",
    },
    "dark_css_variables": {
        "color-brand-primary": "#62cdc8",
        "color-brand-content": "#62cdc8",
        "color-brand-visited": "#a8b8e8",
        "color-api-name": "#62cdc8",
        "color-api-pre-name": "#62cdc8",
    },
}


#: Files made from the code, by name.
GENERATED = {
    "configuration.md": settings_page.render,
    "_generated_caches.md": reliability_tables.render_caches,
    "_generated_faults.md": reliability_tables.render_faults,
    "_generated_about.md": performance_tables.render_about,
    **{
        f"_generated_{name}.md": partial(performance_tables.render, name)
        for name in performance_tables.TABLES
    },
    **{
        f"_generated_{name}.svg": partial(performance_tables.picture, name)
        for name in performance_tables.PICTURES
    },
}


def write_generated(_app: Sphinx) -> None:
    """Write what is made from the code; a file that stays the same is not touched."""
    persona_fields.write_persona_page()
    for name, render in GENERATED.items():
        page, text = HERE / name, render()
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Let Sphinx write the generated page before it reads the others."""
    app.connect("builder-inited", write_generated)
