"""Where `templates/`, `migrations/` and the examples are.

In a wheel they lie inside the package; in a checkout beside it, where a `pyproject.toml` vouches for the place.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent


def folder(name: str) -> Path:
    """The folder `name` that was shipped with this installation. Raises FileNotFoundError when it was not."""
    inside = _PACKAGE / name
    if inside.is_dir():
        return inside
    beside = _CHECKOUT / name
    if (_CHECKOUT / "pyproject.toml").is_file() and beside.is_dir():
        return beside
    message = f"this installation of idp carries no {name!r} folder; install it again from its wheel"
    raise FileNotFoundError(message)
