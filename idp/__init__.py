"""An OpenID Provider whose sessions can really be ended.

Rooms by domain on stacked floors; a room may use only rooms below it (docs/architecture.md, and the
import-linter contracts in pyproject.toml that enforce it).
"""


def __getattr__(name: str) -> str:
    """`__version__`, looked up when it is asked for: to find it takes longer than to import a verifier's few modules."""
    if name != "__version__":
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from importlib.metadata import version  # noqa: PLC0415

    return version("idp")
