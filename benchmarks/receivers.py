"""Receivers of back-channel logout that cost next to nothing, for they share the cores: one process, one port for each of them."""

import multiprocessing
import random
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.connection import Connection

SAMPLE = 50
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nCache-Control: no-store\r\n\r\n"
_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length:"
_PATIENCE = 120
#: As far away as a neighbour in a data centre. Were they woken for each request, that would cost more than they do.
_LATENCY = 0.001


@dataclass
class Received:
    """How many came, in how many seconds from the first to the last, what that cost, and some of the bodies."""

    count: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    sample: list[bytes] = field(default_factory=list)


class Receivers:
    """`ports` is where they listen."""

    def __init__(self, ports: list[int], end: Connection) -> None:
        self.ports = ports
        self._end = end

    def wait(self) -> Received:
        """What came, once everything has. Raises TimeoutError when that takes for ever."""
        if not self._end.poll(_PATIENCE):
            message = f"the deliveries did not arrive within {_PATIENCE} s"
            raise TimeoutError(message)
        received: Received = self._end.recv()
        return received


@contextmanager
def receiving(parties: int, expected: int) -> Iterator[Receivers]:
    """So many receivers, until `expected` requests have come to them all together."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_receive, args=(parties, expected, theirs), name="idp-bench-receivers", daemon=True)
    process.start()
    try:
        yield Receivers(ours.recv(), ours)
    finally:
        process.kill()
        process.join()


def _receive(parties: int, expected: int, end: Connection) -> None:
    listening = {each.fileno(): each for each in (socket.create_server(("127.0.0.1", 0), backlog=64) for _ in range(parties))}
    events = select.epoll()
    for number, each in listening.items():
        each.settimeout(0)
        events.register(number, select.EPOLLIN)
    end.send([each.getsockname()[1] for each in listening.values()])
    received, began, cpu = Received(), 0.0, 0.0
    connections: dict[int, socket.socket] = {}
    halves: dict[int, bytes] = {}
    while received.count < expected:
        time.sleep(_LATENCY)
        for number, _ in events.poll():
            if number in listening:
                if began == 0.0:
                    began, cpu = time.perf_counter(), time.process_time()
                sock, _ = listening[number].accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[sock.fileno()] = sock
                events.register(sock.fileno(), select.EPOLLIN)
                continue
            sock = connections[number]
            data = _read(sock)
            if not data:
                events.unregister(number)
                halves.pop(number, None)
                connections.pop(number).close()
                continue
            data = halves.pop(number, b"") + data
            body = _body(data)
            if body is None:
                halves[number] = data
                continue
            sock.send(_ANSWER)
            received.count += 1
            if len(received.sample) < SAMPLE:
                received.sample.append(body)
            elif (place := int(random.random() * received.count)) < SAMPLE:
                received.sample[place] = body
    received.seconds, received.cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    end.send(received)
    time.sleep(_PATIENCE)  # the last answers are being read; whoever asked ends this process


def _read(sock: socket.socket) -> bytes:
    try:
        return sock.recv(65536)
    except OSError:
        return b""


def _body(data: bytes) -> bytes | None:
    """The body of a whole request, or None."""
    head, found, body = data.partition(_END_OF_HEAD)
    return body if found and len(body) == _length(head) else None


@cache
def _length(head: bytes) -> int:
    """As a party's requests have one head and one length, this is worked out once."""
    return int(head.lower().partition(_LENGTH)[2].partition(b"\r\n")[0])
