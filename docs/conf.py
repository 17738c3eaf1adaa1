"""Sphinx: MyST pages in Furo's clothes."""

project = "idp"
author = "The idp maintainers"
copyright = "The idp maintainers"
extensions = ["myst_parser"]
html_theme = "furo"
exclude_patterns = ["_build"]
myst_heading_anchors = 3
