"""What is asked of the server, one object for each connection. They travel to the load processes, so they are plain data."""

import json
from base64 import b64encode
from dataclasses import dataclass
from typing import ClassVar, Protocol
from urllib.parse import quote_plus, urlencode

from benchmarks import lane

OK = 200


class FailedRequestError(Exception):
    """An answer that is not the one that was to come."""


class Case(Protocol):
    """A sequence of requests on one connection."""

    name: ClassVar[str]
    #: How many JWTs one answer brings.
    signatures: ClassVar[int]

    def request(self) -> bytes:
        """The next request."""

    def check(self, answer: lane.Answer) -> None:
        """See that the answer is right, and remember what the next request needs. Raises FailedRequestError."""


@dataclass(frozen=True)
class Credentials:
    """A confidential client at a port of this machine."""

    port: int
    client_id: str
    client_secret: str

    def post(self, path: str, **fields: str) -> bytes:
        """A form, with the client's authentication in the header (RFC 6749 §2.3.1)."""
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"
        headers = {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
        return lane.request("POST", path, self.port, headers, urlencode(fields))


@dataclass
class _Repeated:
    """The same request again and again; the answer must hold `expected`."""

    encoded: bytes
    expected: ClassVar[bytes] = b""
    signatures: ClassVar[int] = 0

    def request(self) -> bytes:
        return self.encoded

    def check(self, answer: lane.Answer) -> None:
        if answer.status != OK or self.expected not in answer.body:
            _fail(answer)


class ClientCredentials(_Repeated):
    """`POST /token`, `grant_type=client_credentials`: one signature."""

    name = "client_credentials"
    expected = b'"access_token"'
    signatures = 1


class Introspect(_Repeated):
    """`POST /introspect` of a live access token that a session stands behind."""

    name = "/introspect"
    expected = b'"active": true'


class Jwks(_Repeated):
    """`GET /jwks`."""

    name = "/jwks"
    expected = b'"keys"'


class EmptyView(_Repeated):
    """`GET /` of a Flask application with one empty view."""

    name = "empty Flask view"


@dataclass
class Refresh:
    """`POST /token`, `grant_type=refresh_token`: a family chain of its own; two signatures (access token, ID token)."""

    client: Credentials
    refresh_token: str
    name: ClassVar[str] = "refresh_token"
    signatures: ClassVar[int] = 2

    def request(self) -> bytes:
        """The next link of the chain."""
        return self.client.post("/token", grant_type="refresh_token", refresh_token=self.refresh_token)

    def check(self, answer: lane.Answer) -> None:
        """Keep the successor, which must differ from its parent."""
        tokens = json.loads(answer.body) if answer.status == OK else {}
        successor = tokens.get("refresh_token")
        if successor is None or successor == self.refresh_token or "id_token" not in tokens:
            _fail(answer)
        self.refresh_token = successor


def _fail(answer: lane.Answer) -> None:
    message = f"{answer.status} {answer.body[:300]!r}"
    raise FailedRequestError(message)
