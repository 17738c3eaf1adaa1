"""Settings that stand in files: each in one of its own, as secrets are mounted, or all in TOML.

`IDP_SECRET_KEY_FILE=/run/secrets/idp` is of the first kind.

Any setting may be given so. The environment and the list of processes then hold a path, and no secret.
"""

import tomllib
from collections.abc import Collection, Container, Mapping
from pathlib import Path
from typing import Any

SUFFIX = "_FILE"
#: No setting is as long; what is longer is no setting, whatever else it is.
MAXIMUM_SIZE = 65_536


class SettingFileError(Exception):
    """A file that gives no setting. Its text is one sentence, and holds nothing of what stands in the file."""


def named(prefix: str, settings: Collection[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Which settings stand in files: the setting's name, and its file's. `settings` are names without the prefix, in capitals.

    `IDP_OUTBOUND_CA_FILE` is a setting itself, and names no file of `IDP_OUTBOUND_CA`. Raises SettingFileError for a
    setting that is given twice: which of the two counts must not have to be guessed.
    """
    found = {}
    for setting in settings:
        variable = f"{prefix}{setting}{SUFFIX}"
        if variable not in environment or f"{setting}{SUFFIX}" in settings:
            continue
        if f"{prefix}{setting}" in environment:
            message = f"{prefix}{setting} and {variable} are both set: unset one of them."
            raise SettingFileError(message)
        found[setting] = environment[variable]
    return found


def read(variable: str, path: str) -> str:
    """What stands in the file that `variable` names, without the end of its line. Raises SettingFileError."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAXIMUM_SIZE + 1)
        value = content.decode("utf-8-sig").rstrip("\r\n")
    except OSError as error:
        message = f"{variable}: the file {path!r} cannot be read ({error.strerror}): correct the path or its permissions."
        raise SettingFileError(message) from None
    except ValueError:  # no text in UTF-8; or no path, with a NUL in it
        message = f"{variable}: the file {path!r} is no text in UTF-8: write the value into it, and nothing else."
        raise SettingFileError(message) from None
    if not value.strip():
        message = f"{variable}: the file {path!r} is empty: write the value into it, or unset {variable}."
        raise SettingFileError(message)
    if len(content) > MAXIMUM_SIZE or not value.isprintable():
        message = f"{variable}: the file {path!r} holds more than one line of text: write the value into it, and nothing else."
        raise SettingFileError(message)
    return value


def values(prefix: str, settings: Collection[str], environment: Mapping[str, str]) -> dict[str, str]:
    """The settings that stand in files, by their names. Raises SettingFileError."""
    found = named(prefix, settings, environment)
    return {setting: read(f"{prefix}{setting}{SUFFIX}", path) for setting, path in found.items()}


def toml(path: Path, known: Container[str]) -> dict[str, Any]:
    """The settings in a TOML file, by their names; a table's name prefixes its keys. Raises SettingFileError."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        message = f"The settings file {path} cannot be read ({error}): correct it, or point IDP_CONFIG elsewhere."
        raise SettingFileError(message) from None
    flat: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, dict):
            flat |= {f"{name}_{key}": inner for key, inner in value.items()}
        else:
            flat[name] = value
    for name in flat:
        if name not in known:
            message = f"{name} in the settings file {path} is no setting of idp: correct its name or remove it."
            raise SettingFileError(message)
    return flat


def is_text(value: str) -> bool:
    """Whether a variable of the environment was UTF-8: what was not comes with half characters in it."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
