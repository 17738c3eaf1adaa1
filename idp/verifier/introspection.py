"""Asking the provider about one token (RFC 7662)."""

from urllib.parse import urlencode

from idp.verifier.provider import Credentials, ProviderMetadata, parsed
from idp.verifier.wire import ExchangeError, Flow, Request, ask, expect

#: Somebody waits with the token in the hand.
_SECONDS = 3.0


def is_active(provider: ProviderMetadata, credentials: Credentials, token: str) -> Flow[bool]:
    """Whether the token counts right now. Raises ExchangeError where that cannot be learnt."""
    url = yield from provider.openid("introspection_endpoint")
    form = urlencode({"token": token, "token_type_hint": "access_token"}).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json", **credentials.header()}
    answer = yield from ask(Request("POST", url, headers, form, _SECONDS))
    if answer.status == 401:  # noqa: PLR2004
        message = "the provider refuses our credentials at introspection"
        raise ExchangeError(message)
    expect(answer, "introspection", 200)
    return parsed(answer, "introspection").get("active") is True
