"""What a security event says of a token, read by hand: the rules that a verifier must hold to."""

from typing import Any

import jwt

from idp.protocol import events


def named(heard: dict[str, Any], token: str) -> bool:
    """Whether a SET names an access token as dead."""
    claims = jwt.decode(token, options={"verify_signature": False})
    subject = heard["sub_id"]
    ((event, payload),) = heard["events"].items()
    if event not in events.DEADLY:
        return False
    found = {
        events.SESSION_REVOKED: lambda: claims.get("sid") == subject["session"]["id"],
        events.FAMILY_REVOKED: lambda: claims["jti"].partition(".")[0] == subject["id"],
        events.TOKEN_REVOKED: lambda: claims["jti"] == subject["jti"],
        events.TOKENS_REVOKED: lambda: claims["client_id"] == subject["application"]["id"],
        events.KEY_REVOKED: lambda: jwt.get_unverified_header(token)["kid"] == subject["id"],
    }[event]()
    assert not found or payload["tokens_until"] >= claims["exp"], "it may be forgotten while the token is alive"
    return found
