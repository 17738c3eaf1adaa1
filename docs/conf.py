"""Sphinx: MyST pages in Furo's clothes."""

project = "idp"
author = "The idp maintainers"
copyright = "The idp maintainers"  # noqa: A001 - Sphinx's name
extensions = ["myst_parser"]
html_theme = "furo"
exclude_patterns = ["_build"]
myst_heading_anchors = 3
