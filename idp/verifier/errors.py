"""Why a token, an event or a call is refused."""

from typing import ClassVar

from idp.verifier.rules import Claims, Kind


class TokenError(Exception):
    """A token is not accepted. Its text is for a log, and never holds the token. `status` is what to answer (RFC 6750 §3.1)."""

    status: ClassVar[int] = 401


class MalformedTokenError(TokenError):
    """Not a JWT of the shape that the provider signs."""


class BadSignatureError(TokenError):
    """Not signed by the key that it names."""


class ClaimError(TokenError):
    """Of another type or issuer, for another audience, or not valid yet."""


class ExpiredTokenError(TokenError):
    """Its time is over."""


class EndedTokenError(TokenError):
    """It, or what stands behind it, has ended: `kind` and `value` say what."""

    def __init__(self, kind: Kind, value: str) -> None:
        super().__init__(f"what it belongs to has ended ({kind})")
        self.kind = kind
        self.value = value


class MissingError(TokenError):
    """Something is not known here that the provider may have: it is asked for once."""


class UnknownKeyError(MissingError):
    """Signed by a key that is not in the JWKS, or no longer."""

    def __init__(self, kid: str) -> None:
        super().__init__("signed by no published key")
        self.kid = kid


class KeysUnseenError(UnknownKeyError):
    """Its key is not known, and neither is whether it is published: the JWKS could not be fetched in time."""

    status = 503


class UnknownListError(MissingError):
    """Its status list has not been fetched yet."""

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


class UncertainError(DoubtError):
    """The status list says that the provider has to be asked about this token."""

    status = 401


class EventError(Exception):
    """A security event token or logout token is refused; `code` is that of RFC 8935 §2.4.

    `is_ours` says that the provider did sign it for us, and that what it means is lost here.
    """

    def __init__(self, code: str, text: str, *, is_ours: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.is_ours = is_ours
