"""What an authorization response holds, and where it goes: with `state`, always with `iss` (RFC 9207)."""

from collections.abc import Iterable
from typing import TypeAlias

from authlib.oauth2.rfc6749.errors import OAuth2Error

from idp.protocol import uris

Fields: TypeAlias = list[tuple[str, str]]


def error_fields(error: OAuth2Error) -> Fields:
    """The error response (OIDC Core §3.1.2.6)."""
    return [("error", str(error.error)), ("error_description", str(error.get_error_description()))]


def whole(fields: Iterable[tuple[str, str]], state: str | None, issuer: str) -> Fields:
    """`fields` with what every response carries."""
    return [*fields, *([("state", state)] if state is not None else []), ("iss", issuer)]


def address(redirect_uri: str, response_mode: str, fields: Fields) -> str | None:
    """The address that takes `fields` to the app; None where they go by form."""
    if response_mode == "form_post":
        return None
    add = uris.with_fragment if response_mode == "fragment" else uris.with_parameters
    return add(redirect_uri, fields)
