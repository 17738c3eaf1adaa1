"""What is asked of the provider again and again: its documents, and an access token of our own to ask with."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote_plus, urlencode, urlsplit

from idp.protocol import strict_json
from idp.protocol.uris import is_loopback_host, is_wellformed
from idp.verifier.clock import Clock
from idp.verifier.wire import MAXIMUM_ANSWER, Answer, ExchangeError, Flow, Request, ask, expect

#: A token of ours is renewed when this part of its life is over.
_RENEWED = 0.75
_OPENID, _SSF = "/.well-known/openid-configuration", "/.well-known/ssf-configuration"


@dataclass(frozen=True, slots=True)
class Credentials:
    """How a client says who it is: `client_secret_basic` (RFC 6749 §2.3.1)."""

    client_id: str
    client_secret: str

    def header(self) -> dict[str, str]:
        """The `Authorization` header, each part form-encoded first as the RFC demands."""
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"
        return {"Authorization": "Basic " + b64encode(pair.encode()).decode()}

    def __repr__(self) -> str:
        return f"Credentials({self.client_id!r})"


class ProviderMetadata:
    """The provider's addresses, learnt from its own documents and kept."""

    def __init__(self, issuer: str) -> None:
        """Raises ValueError for an issuer that is no https URL (http is for the loopback interface)."""
        self.issuer = issuer
        self._documents: dict[str, Mapping[str, object]] = {}
        self.check_address(issuer, ValueError)

    def openid(self, name: str) -> Flow[str]:
        """The URL `name` of OpenID Connect Discovery 1.0 §3."""
        return (yield from self._address(_OPENID, name))

    def ssf(self, name: str) -> Flow[str]:
        """The URL `name` of the transmitter's configuration (SSF 1.0 §7.1)."""
        return (yield from self._address(_SSF, name))

    def forget(self) -> None:
        """Learn the addresses anew: something is not where it was."""
        self._documents.clear()

    def check_address(self, url: str, error: type[Exception] = ExchangeError) -> str:
        """`url`, if secrets may be sent there: https, or http on this machine where the issuer is."""
        parts = urlsplit(url if is_wellformed(url) else "")
        local = parts.scheme == "http" and is_loopback_host(parts.hostname) and self.issuer.startswith("http:")
        if parts.hostname and (parts.scheme == "https" or local):
            return url
        message = f"{url[:200]!r} is no https URL"
        raise error(message)

    def _address(self, document: str, name: str) -> Flow[str]:
        if document not in self._documents:
            url = self.issuer.rstrip("/") + document
            answer = yield from ask(Request("GET", url))
            expect(answer, url, 200)
            found = parsed(answer, url)
            if found.get("issuer") != self.issuer:
                message = f"{url} is of another issuer: {str(found.get('issuer'))[:200]!r}, not {self.issuer!r}"
                raise ExchangeError(message)
            self._documents[document] = found
        return self.check_address(str(self._documents[document].get(name)))


def parsed(answer: Answer, what: str) -> dict[str, object]:
    """The JSON object of an answer. Raises ExchangeError."""
    found = _json(answer)
    if not isinstance(found, dict):
        message = f"{what} was answered with something else than a JSON object"
        raise ExchangeError(message)
    return found


def listed(answer: Answer, what: str) -> list[dict[str, object]]:
    """The JSON objects of an answer that is an array of them. Raises ExchangeError."""
    found = _json(answer)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        message = f"{what} was answered with something else than an array of JSON objects"
        raise ExchangeError(message)
    return found


def _json(answer: Answer) -> object:
    try:
        found: object = strict_json.loads(answer.body, maximum=MAXIMUM_ANSWER)
    except ValueError:
        return None
    return found


class Access:
    """Requests with an access token of our own, by client_credentials (RFC 6749 §4.4), renewed before it expires."""

    SCOPE = "ssf.manage ssf.read"

    def __init__(self, provider: ProviderMetadata, credentials: Credentials, clock: Clock) -> None:
        self._provider = provider
        self._credentials = credentials
        self._clock = clock
        self._token = ""
        self._renew_at = 0.0

    def ask(self, request: Request) -> Flow[Answer]:
        """Send it with the token; once more with a new one where the provider refuses it. Raises ExchangeError."""
        for _ in range(2):
            if not self._token or self._clock.elapsed() >= self._renew_at:
                yield from self._renew()
            headers = {**request.headers, "Authorization": f"Bearer {self._token}"}
            answer = yield from ask(Request(request.method, request.address, headers, request.body, request.seconds))
            if answer.status != 401:  # noqa: PLR2004
                break
            self._token = ""
        return answer

    def _renew(self) -> Flow[None]:
        url = yield from self._provider.openid("token_endpoint")
        form = urlencode({"grant_type": "client_credentials", "scope": self.SCOPE}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded", **self._credentials.header()}
        asked_at = self._clock.elapsed()
        answer = yield from ask(Request("POST", url, headers, form))
        expect(answer, f"the request for a token with the scope {self.SCOPE}", 200)
        found = parsed(answer, url)
        token, lasts = found.get("access_token"), found.get("expires_in")
        if not isinstance(token, str) or not token.isascii() or not isinstance(lasts, int | float):
            message = f"{url} was answered without a token"
            raise ExchangeError(message)
        self._token, self._renew_at = token, asked_at + _RENEWED * lasts
