"""One guarded socket: what it was opened with, of which session and whose it is, and until when it lasts."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeAlias

from idp.verifier.rules import Claims, Kind, names, place, status_of

#: Those of a verified token. Where they are `rules.Claims`, they know its `kid` too.
AnyClaims: TypeAlias = Mapping[str, object]
#: What something that can end is called.
Name: TypeAlias = tuple[Kind, str]


class OtherSessionError(ValueError):
    """The new token is of another session or person than the socket."""


class SocketEndedError(Exception):
    """The socket was closed or released before, so nothing extends it. The text is the reason."""


def instant(value: object) -> float:
    """`value` as seconds since the epoch. Raises ValueError where it is none: a socket must not last for ever."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        message = f"{value!r} is no instant at which a socket expires."
        raise ValueError(message)
    return float(value)


def names_of(claims: AnyClaims) -> frozenset[Name]:
    """Whatever ends a token with these claims."""
    status = status_of(claims)
    listed: tuple[Name, ...] = () if status is None else (("status", place(*status)), ("status_list", status[0]))
    return frozenset((*names(claims, claims.kid if isinstance(claims, Claims) else None), *listed))


@dataclass(frozen=True, slots=True)
class Owner:
    """Of which session, and whose, a socket is; as far as that is known."""

    known: Mapping[str, object]

    @classmethod
    def of(cls, claims: AnyClaims) -> Self:
        """A token's. Where no session stands behind it, its family stands for one."""
        told = {name: claims.get(name) for name in ("iss", "sub", "sid")}
        if told["sid"] is None:
            told["family"] = str(claims.get("jti", "")).partition(".")[0]
        return cls(told)

    def then(self, claims: AnyClaims) -> "Owner":
        """The same, with what a newer token says beside it. Raises OtherSessionError where it is somebody else's."""
        other = Owner.of(claims)
        if any(other.known.get(name) != value for name, value in self.known.items()):
            message = "The token is of another session or person than the socket."
            raise OtherSessionError(message)
        return other


class Keeper(Protocol):
    """The guard, as a handle knows it."""

    def extend(self, handle: "Handle", given: AnyClaims | float) -> None:
        """See `Handle.extend`."""

    def end(self, handle: "Handle", reason: str) -> None:
        """See `Handle.end`."""

    def release(self, handle: "Handle") -> None:
        """See `Handle.release`."""


@dataclass(eq=False, slots=True)
class Handle:
    """One socket. `expires` is when it will be closed unless it is extended.

    `reason` is why it was closed, and `closed_at` when that was decided, by `time.monotonic`; None until then.
    """

    keeper: Keeper = field(repr=False)
    close: Callable[[int, str], None] = field(repr=False)
    owner: Owner
    names: frozenset[Name] = field(repr=False)
    expires: float
    reason: str | None = None
    closed_at: float | None = None

    @property
    def closed(self) -> bool:
        """Whether the guard has closed it."""
        return self.reason is not None

    def extend(self, given: AnyClaims | float) -> None:
        """Go on with a newer token (its verified claims), or until a later instant. The socket itself is not touched.

        What expires earlier than the socket does changes nothing; of two tokens that expire in one second, the last one
        brought counts. Raises OtherSessionError for a token of another session or person, and SocketEndedError when the
        socket was closed or released.
        """
        self.keeper.extend(self, given)

    def end(self, reason: str) -> None:
        """Close it for a reason of the app's own: its person signed out here, say."""
        self.keeper.end(self, reason)

    def release(self) -> None:
        """Forget the socket: it has closed by itself."""
        self.keeper.release(self)
