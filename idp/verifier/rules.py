"""What ends, and which tokens an ending names: values that everything here speaks in.

An ending names its tokens by one thing that stands in them: their session (`sid`), their family (the part of the `jti` before
its dot, ADR 0006), themselves (`jti`), their client (`client_id`) or the key that signed them (`kid`). A status list knows
none of these: it names their place in it (`status`); and it may itself be followed no more (`status_list`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["sid", "family", "jti", "client_id", "kid", "status", "status_list"]
#: Those that a source tells of and that are remembered here; a status list is kept whole.
KINDS: tuple[Kind, ...] = ("sid", "family", "jti", "client_id", "kid")
_CLAIMS: tuple[Kind, ...] = ("sid", "jti", "client_id")


class Claims(dict[str, object]):
    """The claims of a verified token. `kid` names the key that signed it."""

    __slots__ = ("kid",)

    def __init__(self, claims: dict[str, object], kid: str) -> None:
        super().__init__(claims)
        self.kid = kid


@dataclass(frozen=True, slots=True)
class Ending:
    """Something ended: every token that has `value` as its `kind` is dead. `at` is the provider's wall clock, in seconds."""

    kind: Kind
    value: str
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class Staleness:
    """How fresh the knowledge of endings is, told whenever `is_stale` changes. `seconds` is its age: infinite at first."""

    is_stale: bool
    seconds: float
    problem: str


#: Called in whatever thread took the ending in, once for each ending that was not known. It must return at once.
EndedListener: TypeAlias = Callable[[Ending], None]
#: Called in a thread of the verifier when it becomes stale and when it no longer is. It must return at once.
StaleListener: TypeAlias = Callable[[Staleness], None]


def names(claims: Mapping[str, object], kid: str | None) -> Iterator[tuple[Kind, str]]:
    """What may end that a token with these claims, signed by `kid`, would die of."""
    for kind in _CLAIMS:
        value = claims.get(kind)
        if isinstance(value, str):
            yield kind, value
    family = family_of(claims)
    if family is not None:
        yield "family", family
    if kid is not None:
        yield "kid", kid


def status_of(claims: Mapping[str, object]) -> tuple[str, int] | None:
    """The list in which the status of a token with these claims stands, and where in it; None where it says none."""
    status = claims.get("status")
    found = status.get("status_list") if isinstance(status, dict) else None
    uri, index = (found.get("uri"), found.get("idx")) if isinstance(found, dict) else (None, None)
    if not isinstance(uri, str) or not isinstance(index, int) or isinstance(index, bool):
        return None
    return uri, index


def place(uri: str, index: int) -> str:
    """The name of a place in a status list."""
    return f"{index} {uri}"


def family_of(claims: Mapping[str, object]) -> str | None:
    """The family that an access token belongs to, or None (ADR 0006)."""
    jti = claims.get("jti")
    if not isinstance(jti, str):
        return None
    family, dot, _ = jti.partition(".")
    return family if dot else None
