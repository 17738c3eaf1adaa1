"""Security events that say which tokens are dead (RFC 8417, CAEP 1.0), as the transmitter writes and the verifier reads them.

Each event names its tokens by one predicate: everything of a session (`sid`), of a family (the part of a `jti` before its
dot), one token (`jti`), everything signed by a key (`kid`), or everything that a client was given. An event never brings
anything back to life, so each may be applied twice and in any order.

An event that kills says in `tokens_until` (seconds since the epoch) until when a token that it names could still be alive:
whoever verifies tokens may forget the event then.
"""

#: CAEP 1.0 §3.1: a session ended. Its subject is complex: `session` (opaque, the `sid`) and `user` (`iss_sub`).
SESSION_REVOKED = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
#: CAEP 1.0 §3.3: a password was changed. Kills nothing by itself; the sessions that end with it have events of their own.
CREDENTIAL_CHANGE = "https://schemas.openid.net/secevent/caep/event-type/credential-change"
#: SSF 1.0 §8.1.4.1: the answer to a verification request.
VERIFICATION = "https://schemas.openid.net/secevent/ssf/event-type/verification"
#: SSF 1.0 §8.1.5: the status of a stream changed.
STREAM_UPDATED = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated"

_OURS = "urn:idp:event-type:"
#: One refresh family ended; subject `opaque`, the family's id: the part of a `jti` before its dot.
FAMILY_REVOKED = _OURS + "family-revoked"
#: One access token ended; subject `jwt_id` (SSF 1.0 §3.5.1).
TOKEN_REVOKED = _OURS + "token-revoked"
#: Everything that a client was given is dead. Subject complex: `application` (opaque, the `client_id`).
TOKENS_REVOKED = _OURS + "tokens-revoked"
#: A signing key was revoked; subject `opaque`, its `kid`.
KEY_REVOKED = _OURS + "key-revoked"

DEADLY = frozenset({SESSION_REVOKED, FAMILY_REVOKED, TOKEN_REVOKED, TOKENS_REVOKED, KEY_REVOKED})
#: The `typ` of a SET (RFC 8417 §2.3).
SET_TYP = "secevent+jwt"
