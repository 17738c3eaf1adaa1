"""`python -m idp` is the `idp` command, and what the command is where only the verifier is installed: one clear sentence."""

import sys

_INSTEAD = (
    "idp: this installation verifies tokens and has no provider in it ({} is missing):"
    ' install it with pip install "idp[server]".\n'
)
_USAGE = 2


def main() -> None:
    """The entry point."""
    try:
        from idp.cli import main as command  # noqa: PLC0415 - what it needs may not be there

        command()
    except ModuleNotFoundError as error:
        if (error.name or "idp").partition(".")[0] == "idp":
            raise
        sys.stderr.write(_INSTEAD.format(error.name))
        sys.exit(_USAGE)


if __name__ == "__main__":
    main()
