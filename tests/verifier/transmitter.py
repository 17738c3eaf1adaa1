"""A small provider over real HTTP that a test can make do anything: what a real one would never do, too."""

import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from idp.protocol import events
from tests.verifier import signing

#: What a fault does to one request: an answer of its own, or None to let it pass.
Answer = tuple[int, dict[str, str], bytes]
Fault = Callable[[str, str], Answer | None]


@dataclass
class Stream:
    """One follower, and what it was not told yet or has not acknowledged."""

    stream_id: str
    delivery: dict[str, str]
    owed: dict[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> dict[str, object]:
        return {"stream_id": self.stream_id, "delivery": self.delivery}


class Transmitter:
    """Discovery, JWKS, tokens, streams, polls, introspection and status lists. What was asked is in `asked`."""

    def __init__(self) -> None:
        self.published = ["one"]
        self.max_age: int | None = 300
        #: Whether a shared cache stands before the JWKS, and what it keeps.
        self.has_cache = False
        self._kept: Answer | None = None
        self.history: dict[str, str] = {}
        self.streams: dict[str, Stream] = {}
        self.delivered = sorted(events.DEADLY)
        self.asked: list[str] = []
        self.polls: list[dict[str, Any]] = []
        self.verifications: list[dict[str, Any]] = []
        self.tokens: set[str] = set()
        self.token_lasts = 300
        self.active = True
        self.unchanged = 0
        self.interval = 1
        self.documents: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.fault: Fault = lambda _method, _path: None
        self.batch = 256
        self.longest_wait = 30.0
        self.changed = threading.Condition()
        transmitter = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = urlsplit(self.path)
                with transmitter.changed:
                    transmitter.asked.append(f"{self.command} {path.path}")
                answer = transmitter.fault(self.command, path.path)
                if answer is None:
                    answer = transmitter.answer(self.command, path.path, parse_qs(path.query), dict(self.headers), body)
                status, headers, content = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if status not in {204, 304}:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if status not in {204, 304}:
                    self.wfile.write(content)

            do_GET = do_POST = do_DELETE = _serve

            def log_message(self, *_: object) -> None:
                """Tests are quiet."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: object) -> None:
                """A follower may go away in the middle of an answer."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.issuer = f"http://localhost:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        with self.changed:
            self.changed.notify_all()

    # -- what a test does -----------------------------------------------------------------------------------------

    def count(self, what: str) -> int:
        """How often something was asked for, by the beginning of `METHOD /path`."""
        return sum(each.startswith(what) for each in self.asked)

    def tell(self, event: str, subject: object, *, kid: str | None = None, **claims: object) -> str:
        """Something happened: every stream is owed it. The SET's `jti`."""
        made = signing.event_claims(self.issuer, event, subject, **claims)
        return self.owe(signing.signed(made, events.SET_TYP, kid or self.published[0]), str(made.get("jti")))

    def owe(self, text: str, jti: str) -> str:
        """Every stream is owed this very text, genuine or not."""
        with self.changed:
            self.history[jti] = text
            for stream in self.streams.values():
                stream.owed[jti] = text
            self.changed.notify_all()
        return jti

    def end_session(self, sid: str) -> str:
        return self.tell(events.SESSION_REVOKED, signing.session(sid))

    def forget_streams(self) -> None:
        with self.changed:
            self.streams.clear()
            self.changed.notify_all()

    # -- what it answers ------------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, query: dict[str, list[str]], headers: dict[str, str], body: bytes) -> Answer:
        plain = {
            "/.well-known/openid-configuration": self._openid,
            "/.well-known/ssf-configuration": self._ssf,
            "/jwks": lambda: self._through_a_cache(headers) if self.has_cache else self._jwks(headers),
            "/token": self._token,
            "/introspect": lambda: as_json({"active": self.active}),
        }
        if path in plain:
            return plain[path]()
        if path in self.documents:
            content, more = self.documents[path]
            return 200, more, content
        if headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return 401, {"WWW-Authenticate": 'Bearer error="invalid_token"'}, b""
        if path == "/ssf/streams":
            if method == "GET":
                return as_json([each.shown for each in self.streams.values()])
            return self._make(json.loads(body)) if method == "POST" else self._delete(query["stream_id"][0])
        if path == "/ssf/verify":
            with self.changed:
                self.verifications.append(json.loads(body))
                self.changed.notify_all()
            return (204, {}, b"") if json.loads(body)["stream_id"] in self.streams else (404, {}, b"")
        if path.startswith("/ssf/poll/"):
            return self._poll(path.removeprefix("/ssf/poll/"), json.loads(body), headers.get("Prefer", ""))
        return 404, {}, b""

    def _openid(self) -> Answer:
        return as_json(
            {"issuer": self.issuer}
            | {
                f"{name}_{'uri' if name == 'jwks' else 'endpoint'}": f"{self.issuer}/{path}"
                for name, path in (("jwks", "jwks"), ("token", "token"), ("introspection", "introspect"))
            }
        )

    def _ssf(self) -> Answer:
        addresses = {
            f"{name}_endpoint": f"{self.issuer}/ssf/{path}"
            for name, path in (("configuration", "streams"), ("verification", "verify"))
        }
        return as_json({"issuer": self.issuer, "spec_version": "1_0"} | addresses)

    def _through_a_cache(self, headers: dict[str, str]) -> Answer:
        if self._kept is None or "no-cache" in headers.get("Cache-Control", ""):
            self._kept = self._jwks({})
        return self._kept

    def _jwks(self, headers: dict[str, str]) -> Answer:
        keys = [signing.key(kid).as_dict(private=False) | {"use": "sig", "alg": "RS256"} for kid in self.published]
        etag = '"' + "-".join(self.published) + '"'
        cached = {"ETag": etag} | ({} if self.max_age is None else {"Cache-Control": f"public, max-age={self.max_age}"})
        if headers.get("If-None-Match") == etag:
            self.unchanged += 1
            return 304, cached, b""
        status, more, content = as_json({"keys": keys})
        return status, more | cached, content

    def _token(self) -> Answer:
        token = secrets.token_urlsafe(8)
        self.tokens.add(token)
        return as_json({"access_token": token, "token_type": "Bearer", "expires_in": self.token_lasts})

    def _make(self, wanted: dict[str, Any]) -> Answer:
        stream = Stream(secrets.token_urlsafe(8), wanted["delivery"])
        with self.changed:
            stream.owed.update(self.history)
            self.streams[stream.stream_id] = stream
            self.changed.notify_all()
        endpoint = wanted["delivery"].get("endpoint_url", f"{self.issuer}/ssf/poll/{stream.stream_id}")
        shown = {"stream_id": stream.stream_id, "delivery": {**wanted["delivery"], "endpoint_url": endpoint}}
        return as_json(
            shown
            | {
                "iss": self.issuer,
                "aud": signing.CLIENT,
                "events_delivered": self.delivered,
                "min_verification_interval": self.interval,
            },
            201,
        )

    def _delete(self, stream_id: str) -> Answer:
        with self.changed:
            self.streams.pop(stream_id, None)
            self.changed.notify_all()
        return 204, {}, b""

    def _poll(self, stream_id: str, asked: dict[str, Any], prefer: str) -> Answer:
        self.polls.append(asked)
        wait = 0.0 if asked.get("returnImmediately") else min(self.longest_wait, float(prefer.removeprefix("wait=") or 30))
        until = time.monotonic() + wait
        with self.changed:
            stream = self.streams.get(stream_id)
            if stream is not None:
                for jti in asked.get("ack", []):
                    stream.owed.pop(jti, None)
            while stream is not None and not stream.owed and (left := until - time.monotonic()) > 0:
                self.changed.wait(left)
                stream = self.streams.get(stream_id)
            if stream is None:
                return 404, {}, b""
            sets = dict(list(stream.owed.items())[: min(self.batch, asked.get("maxEvents", 256))])
            return as_json({"sets": sets, "moreAvailable": len(stream.owed) > len(sets)})


def as_json(body: object, status: int = 200) -> Answer:
    return status, {"Content-Type": "application/json"}, json.dumps(body).encode()
