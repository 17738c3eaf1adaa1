"""A client as pages show it to a person: in a language that they read, and never more than was registered."""

from collections.abc import Iterable
from dataclasses import dataclass

from idp.clients.rules import LOCALISED, Client

_MAXIMUM_LOCALES = 8


@dataclass(frozen=True, slots=True)
class ShownClient:
    """What templates see of a client. `logo_uri` is None where pictures of others are not loaded."""

    client_id: str
    client_name: str | None
    client_uri: str | None
    logo_uri: str | None
    policy_uri: str | None
    tos_uri: str | None


@dataclass(frozen=True, slots=True)
class Over:
    """An authorization request that nobody can go on with, as this browser may see it.

    `error_at` takes the person back to the app with an error, for a request that was not `answered` before it expired.
    """

    client: Client
    ui_locales: tuple[str, ...]
    answered: bool
    error_at: str | None


def show(client: Client, languages: Iterable[str], *, logos: bool) -> ShownClient:
    """The client for somebody who reads `languages` (BCP 47), the best first."""
    wanted = [shorter for language in languages for shorter in _fallbacks(language.lower())]
    values = {member: _in_a_language(client, member, wanted) for member in LOCALISED}
    if not logos:
        values["logo_uri"] = None
    return ShownClient(client.client_id, **values)


def locales(ui_locales: str | None, client: Client) -> tuple[str, ...]:
    """Those of the languages that a request asks for in which the client registered something, the best first.

    `ui_locales` is a list of language tags with spaces between (OIDC Core §3.1.2.1, RP-Initiated Logout 1.0 §2). What is
    none, or is not there, is no error.
    """
    registered = {_language(name) for name in client.localised}
    asked = dict.fromkeys((ui_locales or "").lower().split())
    return tuple(each for each in asked if not registered.isdisjoint(_fallbacks(each)))[:_MAXIMUM_LOCALES]


def _language(name: str) -> str:
    """`de-at` of `client_name#de-AT`."""
    return name.partition("#")[2].lower()


def _in_a_language(client: Client, member: str, wanted: Iterable[str]) -> str | None:
    """The first language that there is; else what was registered for everybody; else whatever there is."""
    found = {_language(name): value for name, value in client.localised.items() if name.startswith(f"{member}#")}
    for language in wanted:
        if language in found:
            return found[language]
    default: str | None = getattr(client, member)
    return default if default is not None else next(iter(found.values()), None)


def _fallbacks(language: str) -> list[str]:
    """`de-at`, then `de` (RFC 4647 §3.4)."""
    parts = language.split("-")
    return ["-".join(parts[:length]) for length in range(len(parts), 0, -1)]
