"""What somebody may register who is no operator, how often, and for how long (RFC 7591 §5, OIDC Registration §9). Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from idp.clients import sectors
from idp.clients.metadata_fields import Json, MetadataError
from idp.clients.similar import did_you_mean
from idp.protocol import scopes
from idp.runtime.clock import Instant

Mode: TypeAlias = Literal["off", "token", "open"]
#: The window in which tries to register are counted, in seconds.
WINDOW = 3600
#: Grants by which a client acts for a person. Acting for itself takes more trust than an open door gives.
_FOR_A_PERSON = frozenset({"authorization_code", "refresh_token", "implicit"})


@dataclass(frozen=True, slots=True)
class RegistrationPolicy:
    """What the operator decided. `limit` is how many registrations may live, `hourly` how many tries an address has."""

    mode: Mode
    limit: int
    hourly: int
    unused: int


@dataclass(frozen=True, slots=True)
class InitialToken:
    """An initial access token, as operators see it."""

    token_id: str
    uses_left: int
    created_at: Instant
    expires_at: Instant


def check_reach(known: Mapping[str, Json], *, trusted: bool, already: Collection[str] = ()) -> None:
    """Refuse what only an operator may give a client: then nobody widens what they can reach by registering.

    `trusted` says that an operator gave somebody a token for it, `already` what grant types the client has. Raises
    MetadataError.
    """
    if known.get("first_party"):
        message = "first_party: only the operator can say that people need not be asked"
        raise MetadataError(message)
    if known.get("insecure_uris"):
        message = "insecure_uris: only the operator can say that http and private schemes are safe enough"
        raise MetadataError(message)
    if known.get("resources"):
        message = "resources: only the operator can name audiences of access tokens"
        raise MetadataError(message)
    _check_names_stay(known)
    unknown = [name for name in scopes.parse(known.get("scope")) if name not in scopes.SUPPORTED]
    if unknown:
        meant = did_you_mean(unknown[0], scopes.SUPPORTED)
        message = f"scope: {unknown[0]} can be given by the operator only; there is {scopes.join(scopes.SUPPORTED)}{meant}"
        raise MetadataError(message)
    wider = [each for each in known["grant_types"] if each not in _FOR_A_PERSON and each not in already]
    if not trusted and wider:
        message = f"grant_types: {wider[0]} takes a client that the operator knows: register with an initial access token"
        raise MetadataError(message)


def _check_names_stay(known: Mapping[str, Json]) -> None:
    """Who registers another's redirect URIs gets no code; but the names in its logout tokens would be that sector's."""
    uri, uris = known.get("backchannel_logout_uri"), known.get("redirect_uris", [])
    if uri is None or known.get("subject_type") != "pairwise":
        return
    shared = not sectors.is_own(sectors.sector_of("", uris, known.get("sector_identifier_uri")))
    if shared and not sectors.https_hosts([uri]) & sectors.https_hosts(uris):
        message = "backchannel_logout_uri: with pairwise subjects its host must be that of one of the redirect_uris"
        raise MetadataError(message)
