"""What it costs to verify a token locally: the verifier beside bare joserfc and PyJWT, and the memory of what has ended."""

import json
import multiprocessing
import secrets
import statistics
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection

import jwt as pyjwt
import psutil
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jwt
from joserfc.jwk import RSAKey
from joserfc.jwt import JWTClaimsRegistry
from joserfc.util import urlsafe_b64decode

from idp.verifier import Poll, Verifier
from idp.verifier.revocations import Revocations

#: What the issue allows `verify` to cost: so many times what joserfc needs for signature and claims alone.
ALLOWED = 1.25
ENTRIES = 1_000_000
_ISSUER, _AUDIENCE = "https://idp.example", "https://api.example"
_ROUNDS = 15
_AT_ONCE = 50
_LIFE = 300


@dataclass(frozen=True, slots=True)
class Locally:
    """Microseconds for each token; the best of many rounds that were run in turns. `ratio` is the verifier's to joserfc's."""

    bare_rsa: float
    joserfc: float
    pyjwt: float
    verifier: float
    ratio: float
    entries: int
    traced_bytes: int
    resident_bytes: int

    def shown(self) -> dict[str, object]:
        """For `--json`."""
        return asdict(self)


def measure(seconds: float) -> Locally:
    """About `seconds` of verifying, then the memory, in a process of its own."""
    key = RSAKey.generate_key(2048, {"kid": "bench"})
    claims = _claims()
    token = jwt.encode({"alg": "RS256", "kid": "bench", "typ": "at+jwt"}, claims, key)
    ways = _ways(token, key)
    times = _in_turns(ways, seconds)
    best = {name: min(rounds) * 1e6 for name, rounds in times.items()}
    ratio = statistics.median(ours / theirs for ours, theirs in zip(times["verifier"], times["joserfc"], strict=True))
    traced, resident = _memory()
    return Locally(**best, ratio=ratio, entries=ENTRIES, traced_bytes=traced, resident_bytes=resident)


def _claims() -> dict[str, object]:
    """As the provider's own access tokens."""
    now = int(time.time())
    return {
        "scope": "openid profile email",
        "iss": _ISSUER,
        "sub": secrets.token_urlsafe(16),
        "aud": [_ISSUER, _AUDIENCE],
        "client_id": secrets.token_urlsafe(12),
        "iat": now,
        "exp": now + _LIFE,
        "jti": f"{secrets.token_urlsafe(16)}.{secrets.token_urlsafe(12)}",
        "auth_time": now,
        "acr": "1",
        "amr": ["pwd"],
        "sid": secrets.token_urlsafe(24),
    }


def _ways(token: str, key: RSAKey) -> dict[str, Callable[[], object]]:
    public = RSAKey.import_key(key.as_dict(private=False))
    rsa = public.public_key
    registry = JWTClaimsRegistry(
        iss={"essential": True, "value": _ISSUER}, aud={"essential": True, "value": _AUDIENCE}, exp={"essential": True}
    )
    signed, _, signature = token.rpartition(".")
    message, raw, how, digest = signed.encode(), urlsafe_b64decode(signature.encode()), padding.PKCS1v15(), SHA256()
    verifier = _verifier(public)

    def by_joserfc() -> None:
        registry.validate(jwt.decode(token, public, ["RS256"]).claims)

    return {
        "bare_rsa": lambda: rsa.verify(raw, message, how, digest),
        "joserfc": by_joserfc,
        "pyjwt": lambda: pyjwt.decode(token, rsa, ["RS256"], audience=_AUDIENCE, issuer=_ISSUER),
        "verifier": lambda: verifier.verify(token),
    }


def _verifier(public: RSAKey) -> Verifier:
    """A verifier that is fresh and knows of very many endings. Nothing is followed: `verify` asks nobody."""
    verifier = Verifier(_ISSUER, _AUDIENCE, follow=Poll("client", "secret"), max_staleness=3600.0)
    core = verifier._core  # noqa: SLF001 - it is told what it would have heard
    now = core.clock.elapsed()
    core.keys.take(json.dumps({"keys": [public.as_dict(private=False)]}).encode(), None, now, 3600.0)
    core.knowledge.confirm(now)  # type: ignore[attr-defined]
    _fill(core.revocations, ENTRIES // 10)
    return verifier


def _in_turns(ways: dict[str, Callable[[], object]], seconds: float) -> dict[str, list[float]]:
    """So that whatever else runs on this machine disturbs all alike."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(_ROUNDS):
        for name, once in ways.items():
            began, count = time.perf_counter(), 0
            while (passed := time.perf_counter() - began) < seconds / _ROUNDS / len(ways):
                for _ in range(_AT_ONCE):
                    once()
                count += _AT_ONCE
            times[name].append(passed / count)
    return times


def _fill(ended: Revocations, count: int) -> None:
    until = time.time() + _LIFE
    for _ in range(count):
        ended.add("sid", secrets.token_urlsafe(24), until)


def _memory() -> tuple[int, int]:
    """What a million endings take: as Python counts it, and as the system does."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_weigh, args=(theirs,), name="idp-bench-memory", daemon=True)
    process.start()
    traced, resident = ours.recv()
    process.join()
    return traced, resident


def _weigh(answer: Connection) -> None:
    before = psutil.Process().memory_info().rss
    ended = Revocations(0.0)
    _fill(ended, ENTRIES)
    resident = psutil.Process().memory_info().rss - before
    del ended
    tracemalloc.start()
    ended = Revocations(0.0)
    _fill(ended, ENTRIES)
    answer.send((tracemalloc.get_traced_memory()[0], resident))
