"""What is registered, and yet is likely not what was meant: names that we do not know, scopes that give nothing. Pure.

RFC 7591 §2 has unknown members ignored, so they are no errors; whoever mistyped one is told all the same.
"""

from collections.abc import Collection, Iterator, Mapping

from idp.clients import rules
from idp.clients.metadata_fields import MEMBERS, Json
from idp.clients.similar import did_you_mean, nearest
from idp.protocol import scopes, uris

#: Members of answers, which come back when somebody edits an answer and sends it (RFC 7591 §3.2.1, RFC 7592 §3).
_OF_ANSWERS = frozenset({
    "client_id", "client_secret", "client_id_issued_at", "client_secret_expires_at", "registration_access_token",
    "registration_client_uri",
})  # fmt: skip
#: How many warnings are given at most, and how much of a stranger's word is repeated.
_MOST = 8
_LONGEST = 64
_FOR_ITSELF = (scopes.SSF_READ, scopes.SSF_MANAGE)


def warnings(sent: Mapping[str, Json], known: Mapping[str, Json]) -> list[str]:
    """What somebody who sent this is told. `known` is what was made of it."""
    found = [*_members(sent), *_scopes(known), *_patterns(known)]
    if known.get("insecure_uris"):
        found.append("insecure_uris: whoever is in the same network can read, and change, what goes there by http")
    if known.get("resources") and "access_token_header_typ" not in known:
        found.append(
            "resources: access tokens are typ at+jwt (RFC 9068), which Spring's default JwtDecoder and Dovecot 2.3 refuse;"
            " access_token_header_typ says which it is to be, at+jwt or JWT"
        )
    return found[:_MOST]


def _members(sent: Mapping[str, Json]) -> Iterator[str]:
    for name in sent:
        base, mark, _ = name.partition("#")
        if name in MEMBERS or name in _OF_ANSWERS or (mark and base in rules.LOCALISED):
            continue
        meant = nearest(base, MEMBERS if not mark else rules.LOCALISED)
        shown = "".join(char if char.isprintable() else "?" for char in name[:_LONGEST])
        hint = "" if meant is None else f" (did you mean {meant}{'#…' if mark else ''}?)"
        yield f"'{shown}' is no member that this provider knows, and was ignored{hint}"


def _scopes(known: Mapping[str, Json]) -> Iterator[str]:
    """Scopes that give nothing, whatever the client asks for."""
    grants: Collection[str] = known["grant_types"]
    for_people = {"authorization_code", rules.IMPLICIT} & set(grants)
    named = scopes.parse(known.get("scope"))
    if set(named) == set(scopes.SUPPORTED):
        return  # what a client has that names none: nobody chose them one by one
    for scope in named:
        why = _gives_nothing(scope, known, grants, for_people=bool(for_people))
        if why is not None:
            yield f"scope: {scope} gives nothing here: {why}{did_you_mean(scope, _meant(named))}"
    if named and for_people and scopes.OPENID not in named:
        yield "scope: without openid this client gets no ID token, and its people's sessions do not end there"


def _gives_nothing(scope: str, known: Mapping[str, Json], grants: Collection[str], *, for_people: bool) -> str | None:
    if scope == scopes.OFFLINE_ACCESS and "refresh_token" not in grants:
        return "it takes refresh_token in grant_types"
    if scope in scopes.SUPPORTED:
        return None if for_people else "it speaks of a person, and no grant type of this client has one"
    if scope in _FOR_ITSELF:
        return None if "client_credentials" in grants else "it takes client_credentials in grant_types"
    if known.get("resources") or "client_credentials" in grants:
        return None  # it is for a resource server, which reads it in the access token
    return f"no claims come with it; there are {scopes.join(scopes.SUPPORTED)}, and what servers named in resources understand"


def _patterns(known: Mapping[str, Json]) -> Iterator[str]:
    """Where an asterisk is let through, it is an asterisk and no pattern."""
    for name, value in known.items():
        for uri in value if isinstance(value, list) else [value]:
            if isinstance(uri, str) and "://" in uri and uris.has_wildcard(uri):
                yield f"{name}: {uri} holds a wildcard (*), which is taken to the letter and matches nothing else"


def _meant(named: Collection[str]) -> list[str]:
    return [scope for scope in (*scopes.SUPPORTED, *_FOR_ITSELF) if scope not in named]
