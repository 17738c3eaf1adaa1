"""What a single setting may be, whichever it is: how its text is read, and what it must hold to."""

import ipaddress
import re
from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from idp.protocol.uris import is_wellformed

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_MAIL = re.compile(r"mailto:[^\s@<>\"]+@[^\s@<>\"]+")


def _split(value: object) -> object:
    """Lists are written with commas in the environment, as arrays in TOML."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _colour(value: str) -> str:
    if value and not _COLOUR.fullmatch(value):
        problem = "must be a colour written as #rrggbb"
        raise ValueError(problem)
    return value


def _link(value: str) -> str:
    """An address that every page links to: nothing that runs, and nothing that others may change on the way."""
    is_web = value.startswith("https://") and is_wellformed(value) and bool(urlsplit(value).hostname)
    if value and not is_web and not _MAIL.fullmatch(value):
        problem = "must be an https address, or mailto: and an email address"
        raise ValueError(problem)
    return value


Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Seconds: TypeAlias = Annotated[int, Field(ge=1)]
#: In which header a proxy may say who came.
Header: TypeAlias = Literal["X-Forwarded-For", "Forwarded", "X-Real-IP"]
PROXY_HEADERS: tuple[Header, ...] = ("X-Forwarded-For", "Forwarded", "X-Real-IP")
Headers: TypeAlias = Annotated[tuple[Header, ...], Field(min_length=1), NoDecode, BeforeValidator(_split)]
Names: TypeAlias = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Networks: TypeAlias = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_split)]
#: `#rrggbb`, or nothing.
Colour: TypeAlias = Annotated[str, AfterValidator(_colour)]
#: An https or `mailto:` address, or nothing.
Link: TypeAlias = Annotated[str, AfterValidator(_link)]
