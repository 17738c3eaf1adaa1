"""Whether this instance is well, answered in the event loop: no request, no thread and no pool has to be free for it."""

import asyncio
import json
from collections.abc import Callable, Sequence

from idp.discovery import store
from idp.runtime import audit
from idp.runtime.database import Database, Transaction
from idp.runtime.inbound.long_poll import Answer, WaitingRequest
from idp.runtime.pool import Pool
from idp.runtime.pulse import Pulse
from idp.runtime.web.headers import HSTS, NO_STORE, STRICT, content_security_policy

LIVE, READY = "/health/live", "/health/ready"
RETRY_AFTER = 5
#: Seconds after which whoever asks is told that something is not well, whatever it is that does not answer.
_PATIENCE = 4.0
_METHODS = ("GET", "HEAD")


class Health:
    """What must hold for this instance to do its work: each of `checks` says what is wrong, as a sentence, or None."""

    def __init__(self, checks: Sequence[Callable[[], str | None]]) -> None:
        self._checks = tuple(checks)

    def problem(self) -> str | None:
        """The first thing that is wrong. It may take a few seconds."""
        return next((problem for check in self._checks if (problem := check()) is not None), None)


def prove(tx: Transaction) -> None:
    """Write something that nobody reads, to see that it can be."""
    store.prove(tx)


def pulse_of(database: Database) -> Pulse:
    """Whether the database does its work."""
    return Pulse(database, store.prove)


def live() -> tuple[int, dict[str, str]]:
    """The process answers."""
    return 200, {"status": "live"}


def ready(problem: str | None) -> tuple[int, dict[str, str]]:
    """The process can do its work, or what keeps it from it."""
    return (200, {"status": "ready"}) if problem is None else (503, {"status": "not ready", "problem": problem})


class HealthLane:
    """`/health/live` and `/health/ready`, below the issuer's path or without it: a probe knows the machine alone."""

    def __init__(self, health: Health, *, issuer_path: str, secure: bool) -> None:
        self._health = health
        self._live = {LIVE, issuer_path + LIVE}
        self._ready = {READY, issuer_path + READY}
        policy = {"content-security-policy": content_security_policy()}
        headers = {**STRICT, **NO_STORE, **policy, **dict([HSTS] if secure else [])}
        self._headers = [(name.lower(), value) for name, value in headers.items()]
        # One thread: those who ask while somebody is waiting for the answer get the same one.
        self._executor = Pool(1, "idp-health")
        self._asked: asyncio.Future[str | None] | None = None

    def serves(self, path: str) -> bool:
        """Whether it is a question for our health."""
        return path in self._live or path in self._ready

    async def answer(self, request: WaitingRequest) -> Answer:
        """Answer it."""
        if request.method not in _METHODS:
            description = f"{request.method[:20]} is not possible here: use GET or HEAD."
            body = {"error": "method_not_allowed", "error_description": description}
            return self._json(request, 405, body, [("allow", ", ".join(_METHODS))])
        if request.path in self._live:
            return self._json(request, *live())
        status, body = ready(await self._problem())
        more = [("retry-after", str(RETRY_AFTER))] if status != live()[0] else []
        return self._json(request, status, body, more)

    async def _problem(self) -> str | None:
        if self._asked is None or self._asked.done():
            self._asked = asyncio.get_running_loop().run_in_executor(self._executor, self._health.problem)
        try:
            async with asyncio.timeout(_PATIENCE):
                return await asyncio.shield(self._asked)
        except TimeoutError:
            return "What this instance needs does not answer in time."
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not well
            audit.warn("health.unknown", error=type(error).__name__)
            return "It cannot be found out whether this instance is well."

    def _json(self, request: WaitingRequest, status: int, body: object, more: Sequence[tuple[str, str]] = ()) -> Answer:
        content = json.dumps(body).encode()
        described = [("content-type", "application/json"), ("content-length", str(len(content)))]
        return status, [*described, *self._headers, *more], b"" if request.method == "HEAD" else content
