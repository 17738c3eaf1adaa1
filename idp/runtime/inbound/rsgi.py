"""Between granian and the WSGI application: a request is read whole, and in time, before a thread is spent on it.

Under plain WSGI a worker's threads would wait for every body that comes slowly, and two hundred of them would hold up
everybody (docs/threats.md 50). Here they wait on the event loop, which costs a few kilobytes each. Whoever has to wait for
longer than a request takes waits here as well, in a lane of its own (a long poll: `idp.signals.poll`). What waits for
less, for somebody else's server or for a password, keeps its thread and lets the others run (`idp.runtime.inbound.threads`).
"""

import asyncio
import contextlib
import io
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from queue import SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING, TypeAlias

from granian.rsgi import HTTPProtocol, ProtocolClosed, ProtocolError, Scope

from idp.runtime import audit
from idp.runtime.inbound.long_poll import Answer, LongPoll, WaitingRequest
from idp.runtime.inbound.threads import FullError, RequestThreads
from idp.runtime.web import brought
from idp.runtime.web.headers import HSTS, NO_STORE, STRICT, content_security_policy

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

#: Seconds from the end of a request's headers to the end of its body.
BODY_SECONDS = 10
#: Bytes of a body that is too long which are read and thrown away, so that a proxy that still sends hears the answer: it
#: would make a 502 of a connection that is closed on it. nginx itself takes no more than 1 MiB unless it is told to.
DROPPED = 8 * 1024 * 1024
#: More than may wait in requests at once, all limits together: registrations, keys and request objects that are fetched
#: (4, 8, 4), passwords (36). So those limits are what is met first, each with an answer of its own.
THREADS = 64
#: Requests that wait for a thread: two or three seconds of a busy process. Whoever came after them would be answered when
#: most clients have given up, and does better to come again.
QUEUE = 2048
#: Seconds after which one that found no room may come again.
RETRY_AFTER = 2
_CLOSE = [("connection", "close"), ("content-length", "0")]
#: A request's path as it stands behind the issuer's host, by the path, the peer, and what a proxy says it took off.
Locate: TypeAlias = Callable[[str, str, str | None], str]


_TOO_MANY = f"Too many requests wait at this moment: try again in {RETRY_AFTER} seconds."
#: For people, without a template: whoever would render one has no time. The link asks for this very address again.
_BUSY_PAGE = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>Very busy at this moment</title></head>
<body><main id="error-page"><h1>Very busy at this moment</h1>
<p>Nothing was done yet. Please wait a few seconds, then <a id="try-again" href="">try again</a>.</p>
<p><code id="error-code">temporarily_unavailable</code> <span id="error-description">{_TOO_MANY}</span></p></main></body></html>
"""


def _busy(kind: str, content: bytes, *more: tuple[str, str]) -> Answer:
    headers = {"content-type": kind, "content-length": str(len(content)), "retry-after": str(RETRY_AFTER)}
    return 503, [*headers.items(), *NO_STORE.items(), *more], content


_BUSY = _busy("application/json", json.dumps({"error": "temporarily_unavailable", "error_description": _TOO_MANY}).encode())
_BUSY_FOR_PEOPLE = _busy(
    "text/html; charset=utf-8", _BUSY_PAGE.encode(), ("Content-Security-Policy", content_security_policy())
)
_LATE: Answer = (408, _CLOSE, b"")
_FAILURE = json.dumps({"error": "server_error", "error_description": "Internal Server Error"}).encode()
_FAILED: Answer = (
    500,
    [("content-type", "application/json"), ("content-length", str(len(_FAILURE))), *NO_STORE.items()],
    _FAILURE,
)
_SECOND = 1.0


class TooLargeError(Exception):
    """A body that is longer than any request may be."""


class RsgiApplication:
    """The RSGI application of a worker process. `is_quick` names the paths that are answered without waiting for anything.

    `lanes` answer what may have to wait for long, before the application is asked. `stop` is called once, in a thread of
    its own, when the process is told to end; some requests are still answered then. What is in `each_second` is called
    about once a second in the event loop, which shows that it goes round. `secure`: the issuer is https.
    """

    def __init__(
        self,
        application: "WSGIApplication",
        *,
        maximum_body: int,
        is_quick: Callable[[str], bool],
        lanes: Sequence[LongPoll] = (),
        stop: Callable[[], object] = lambda: None,
        locate: Locate = lambda path, _peer, _taken: path,
        secure: bool = False,
        each_second: Sequence[Callable[[], object]] = (),
    ) -> None:
        self._application = application
        self._lanes = tuple(lanes)
        self._maximum = maximum_body
        self._is_quick = is_quick
        self._locate = locate
        self._always = {**STRICT, **dict([HSTS] if secure else [])}
        self._stop = stop
        # There from the start, and told by the one thing that a signal's handler may do whatever it interrupts: to start a
        # thread, or to set an event, takes locks that the interrupted code may hold.
        self._stopping = threading.Thread(target=self._stop_when_told, name="idp-stop", daemon=True)
        self._told: SimpleQueue[None] = SimpleQueue()
        self._each_second = tuple(each_second)
        self._turns = RequestThreads(THREADS, QUEUE)

    @property
    def turns(self) -> RequestThreads:
        """The threads of the requests, for whoever looks whether they still work."""
        return self._turns

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stop what runs beside the requests as soon as the process is told to end, and not when granian has served them all.

        Who sends slowly, or waits, keeps granian serving until it is killed. Its own handlers are called as before.
        """
        self._stopping.start()
        if self._each_second:
            loop.call_later(_SECOND, self._go_round, loop)
        for number in (signal.SIGTERM, signal.SIGINT):
            before = signal.getsignal(number)

            def told(number: int, frame: FrameType | None, before: "signal._HANDLER" = before) -> None:
                self._told.put(None)
                if callable(before):
                    before(number, frame)

            signal.signal(number, told)
        # `serving` blocks them before anything begins: who is told to end in between hears of it when the loop runs. What came
        # before that would be lost to the loop now and then, and the process would wait to be killed.
        loop.call_soon(signal.pthread_sigmask, signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))

    def __rsgi_del__(self, _loop: asyncio.AbstractEventLoop) -> None:
        """Granian serves no more, and the process ends when this returns: when what runs beside the requests has stopped."""
        self._told.put(None)
        if self._stopping.ident is not None:
            self._stopping.join()

    def _stop_when_told(self) -> None:
        self._told.get()
        try:
            self._stop()
        except Exception as error:  # noqa: BLE001 - whatever it was, the process ends now
            audit.fail("process.stop_failed", error)

    def _go_round(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(_SECOND, self._go_round, loop)  # first of all: what fails below is to be called again
        for call in self._each_second:
            call()

    async def __rsgi__(self, scope: Scope, protocol: HTTPProtocol) -> None:
        """Answer one request."""
        with contextlib.suppress(ProtocolClosed, ProtocolError):  # the client went away
            status, headers, content = await self._answer(scope, protocol)
            named = {name.lower() for name, _ in headers}
            # A page of ours that may be framed says so by its policy, and leaves out what would forbid it.
            if "content-security-policy" not in named:
                headers = [*headers, *(pair for pair in self._always.items() if pair[0].lower() not in named)]
            if content:
                protocol.response_bytes(status, headers, content)
            else:
                protocol.response_empty(status, headers)

    async def _answer(self, scope: Scope, protocol: HTTPProtocol) -> Answer:
        body: bytes | None = None
        try:
            try:
                body = await self._body(scope, protocol)
            except TimeoutError:
                return _LATE
            except TooLargeError:
                body = None
            return await self._apply(scope, protocol, body)
        except (ProtocolClosed, ProtocolError):
            raise
        except Exception as error:  # noqa: BLE001 - nobody foresaw it, and granian's own answer has no headers of ours
            hidden = brought.values(scope.headers.items(), scope.query_string, body or b"")
            audit.fail("request.failed", error, hidden=hidden, path=scope.path)
            return _FAILED

    async def _apply(self, scope: Scope, protocol: HTTPProtocol, body: bytes | None) -> Answer:
        environ = _environ(scope, body or b"")
        environ["PATH_INFO"] = self._locate(
            environ["PATH_INFO"], environ["REMOTE_ADDR"], environ.pop("HTTP_X_FORWARDED_PREFIX", None)
        )
        path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
        lane = next((lane for lane in self._lanes if lane.serves(path)), None)
        if lane is not None and body is not None:
            return await lane.answer(_request(scope, path, body, protocol))
        if body is None:  # the application refuses it in its own words, by the length alone
            environ["CONTENT_LENGTH"] = str(self._maximum + 1)
        if self._is_quick(environ["PATH_INFO"]):
            return self._run(environ)
        try:
            answer = self._turns.submit(partial(self._run, environ))
        except FullError:
            return _BUSY_FOR_PEOPLE if "text/html" in environ.get("HTTP_ACCEPT", "") else _BUSY
        return await asyncio.wrap_future(answer)

    async def _body(self, scope: Scope, protocol: HTTPProtocol) -> bytes:
        """The whole body. Raises TimeoutError where it does not come in time, TooLargeError where it is too long."""
        length = scope.headers.get("content-length")
        if length is None and scope.headers.get("transfer-encoding") is None:
            return b""
        declared = int(length) if length is not None and length.isdecimal() else 0
        # Whoever asks before it sends (RFC 9110 §10.1.1) is told at once, and so is who announces more than is worth reading.
        if declared > self._maximum and (declared > DROPPED or "expect" in scope.headers):
            raise TooLargeError
        body, size = bytearray(), 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for chunk in protocol:
                    size += len(chunk)
                    if size > DROPPED:
                        break
                    if max(size, declared) <= self._maximum:
                        body += chunk
        except TimeoutError:
            if max(size, declared) <= self._maximum:
                raise
        if max(size, declared) > self._maximum:
            raise TooLargeError
        return bytes(body)

    def _run(self, environ: "WSGIEnvironment") -> Answer:
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], _exc_info: object = None) -> Callable[[bytes], object]:
            started[:] = [(status, headers)]
            return lambda _data: None

        parts: Iterable[bytes] = self._application(environ, start_response)
        try:
            content = b"".join(parts)
        finally:
            close = getattr(parts, "close", None)
            if close is not None:
                close()
        status, headers = started[0]
        return int(status[:3]), headers, content


def _request(scope: Scope, path: str, body: bytes, protocol: HTTPProtocol) -> WaitingRequest:
    """The request as a lane reads it. A header that stands there twice is one list (RFC 9110 §5.3)."""
    headers: dict[str, str] = {}
    for name, value in scope.headers.items():
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return WaitingRequest(scope.method, path, headers, body, protocol.client_disconnect)


def _environ(scope: Scope, body: bytes) -> "WSGIEnvironment":
    """The request as PEP 3333 has it."""
    host, _, port = scope.server.rpartition(":")
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope.headers.items():
        # A name with an underscore would become another's: `X_Forwarded_For` must not pass for the proxy's header.
        # The body is here, whole: were it still called chunked, Werkzeug would take it for empty.
        if "_" in name or name in {"content-length", "transfer-encoding"}:
            continue
        key = name.upper().replace("-", "_")
        key = key if key == "CONTENT_TYPE" else f"HTTP_{key}"
        separator = "; " if name == "cookie" else ","
        environ[key] = f"{environ[key]}{separator}{value}" if key in environ else value
    return environ
