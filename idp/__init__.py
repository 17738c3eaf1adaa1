"""An OpenID Provider whose sessions can really be ended.

Rooms by domain on stacked floors; a room may use only rooms below it (docs/architecture.md, and the
import-linter contracts in pyproject.toml that enforce it).
"""

from importlib.metadata import version

__version__ = version("idp")
