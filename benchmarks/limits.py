"""What no provider on this machine can exceed: bare RSA-2048 signatures, and an empty Flask view served in the same way."""

import multiprocessing
import multiprocessing.synchronize
import sys
import time
from multiprocessing.connection import Connection

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from flask import Flask
from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.server import Server

BITS = 2048
#: About as long as the signing input of an access token.
_MESSAGE = b"x" * 480
_ROUNDS = 3
_AT_ONCE = 50


def signatures_per_second(processes: int, seconds: float) -> float:
    """Bare `cryptography` RSA-2048 signatures (PKCS#1 v1.5, SHA-256) of so many processes at once.

    The best of three rounds: a limit that something else on this machine has disturbed would flatter us.
    """
    return max(_round(processes, seconds / _ROUNDS) for _ in range(_ROUNDS))


def _round(processes: int, seconds: float) -> float:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    ends, workers = [], []
    for _ in range(processes):
        ours, theirs = context.Pipe(duplex=False)
        workers.append(context.Process(target=_sign, args=(seconds, barrier, theirs), name="idp-bench-rsa", daemon=True))
        ends.append(ours)
    try:
        for worker in workers:
            worker.start()
        return sum(end.recv() for end in ends)
    finally:
        for worker in workers:
            worker.join(5)
            worker.kill()
            worker.join()


def _sign(seconds: float, barrier: multiprocessing.synchronize.Barrier, result: Connection) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=BITS)
    how, digest = padding.PKCS1v15(), SHA256()
    key.sign(_MESSAGE, how, digest)
    barrier.wait(30)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        for _ in range(_AT_ONCE):
            key.sign(_MESSAGE, how, digest)
        count += _AT_ONCE
    result.send(count / (time.perf_counter() - began))


def application() -> Flask:
    """A Flask application with one view that does nothing."""
    app = Flask("empty")

    @app.get("/")
    def empty() -> str:
        return "empty"

    return app


def serve_empty(port: int, workers: int) -> None:
    """Serve it as `idp.serving` serves the provider."""
    Server(
        target="benchmarks.limits:application",
        factory=True,
        address="127.0.0.1",
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=1,
        backlog=2048,
        http1_settings=HTTP1Settings(header_read_timeout=10_000),
        websockets=False,
        log_access=False,
        log_enabled=False,
        workers_kill_timeout=5,
    ).serve()


if __name__ == "__main__":
    serve_empty(int(sys.argv[1]), int(sys.argv[2]))
