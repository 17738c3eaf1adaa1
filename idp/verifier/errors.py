"""Why a token, an event or a call is refused."""

import re
from typing import ClassVar

from idp.verifier.rules import Claims, Kind

#: What may stand in an `error_description` (RFC 6750 §3).
_UNSAID = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")
_LONGEST_DESCRIPTION = 200
_RETRY_AFTER = "5"


class TokenError(Exception):
    """A token is not accepted. Its text is for a log, and never holds the token. `status` is what to answer (RFC 6750 §3.1).

    `reason` is one word for what was wrong. `headers` and `body` are a whole answer for an API. They tell whoever sent
    the token no more than stands in it, save that its session has ended, and that only if its signature was good.
    """

    status: ClassVar[int] = 401
    reason: str = "invalid"

    @property
    def error(self) -> str:
        """The error code (RFC 6750 §3.1)."""
        return "invalid_token" if self.status == 401 else "temporarily_unavailable"  # noqa: PLR2004 - HTTP's number

    @property
    def description(self) -> str:
        """Why, in words, as they may stand in a header."""
        return _UNSAID.sub("'", f"{self.reason}: {self}")[:_LONGEST_DESCRIPTION]

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer: the challenge with its reason, or when to come again."""
        if self.status != 401:  # noqa: PLR2004
            return {"Retry-After": _RETRY_AFTER}
        return {"WWW-Authenticate": f'Bearer error="{self.error}", error_description="{self.description}"'}

    @property
    def body(self) -> dict[str, str]:
        """The answer's body, for JSON."""
        return {"error": self.error, "error_description": self.description}


class NoTokenError(TokenError):
    """The request brought no bearer token. Then the challenge says nothing of an error (RFC 6750 §3.1)."""

    reason = "missing"

    def __init__(self) -> None:
        super().__init__("the request brought no bearer token")

    @property
    def headers(self) -> dict[str, str]:
        """The challenge alone."""
        return {"WWW-Authenticate": "Bearer"}


class MalformedTokenError(TokenError):
    """Not a JWT of the shape that the provider signs."""

    reason = "malformed"


class BadSignatureError(TokenError):
    """Not signed by the key that it names."""

    reason = "signature"


class ClaimError(TokenError):
    """Of another type or issuer, for another audience, or not valid yet. `reason` names the claim, as `audience`."""

    reason = "claims"

    def __init__(self, text: str, reason: str = reason) -> None:
        super().__init__(text)
        self.reason = reason


class ExpiredTokenError(TokenError):
    """Its time is over."""

    reason = "expired"


class EndedTokenError(TokenError):
    """It, or what stands behind it, has ended: `kind` and `value` say what."""

    reason = "ended"

    def __init__(self, kind: Kind, value: str) -> None:
        super().__init__(f"what it belongs to has ended ({kind})")
        self.kind = kind
        self.value = value


class MissingError(TokenError):
    """Something is not known here that the provider may have: it is asked for once."""


class UnknownKeyError(MissingError):
    """Signed by a key that is not in the JWKS, or no longer."""

    reason = "unknown_key"

    def __init__(self, kid: str) -> None:
        super().__init__("signed by no published key")
        self.kid = kid


class KeysUnseenError(UnknownKeyError):
    """Its key is not known, and neither is whether it is published: the JWKS could not be fetched in time."""

    reason = "keys_unseen"
    status = 503


class UnknownListError(MissingError):
    """Its status list has not been fetched yet."""

    reason = "unknown_list"
    status = 503

    def __init__(self, uri: str) -> None:
        super().__init__("its status list is not known")
        self.uri = uri


class DoubtError(TokenError):
    """The token is good as far as is known, and that is not far enough: the policy decides. `claims` are those of the token."""

    status = 503

    def __init__(self, text: str, claims: Claims) -> None:
        super().__init__(text)
        self.claims = claims


class StaleError(DoubtError):
    """What is known of endings, or of keys, is older than `max_staleness`."""

    reason = "stale"


class UncertainError(DoubtError):
    """The status list says that the provider has to be asked about this token."""

    reason = "uncertain"
    status = 401


class EventError(Exception):
    """A security event token or logout token is refused; `code` is that of RFC 8935 §2.4.

    `is_ours` says that the provider did sign it for us, and that what it means is lost here.
    """

    def __init__(self, code: str, text: str, *, is_ours: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.is_ours = is_ours
