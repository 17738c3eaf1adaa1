"""`AsyncVerifier` walks the same flows in one event loop: the same promises, and nobody is blocked."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from idp.protocol import events
from idp.verifier import AsyncVerifier, BackChannel, EndedTokenError, Poll, StaleError, StatusList, TokenError
from idp.verifier.keyring import COOL_DOWN
from tests.support.pace import slowness
from tests.verifier.clocks import Clock
from tests.verifier.signing import AUDIENCE, CLIENT, access_token, session, signed
from tests.verifier.test_backchannel import logout_claims
from tests.verifier.test_status_list import Publisher
from tests.verifier.transmitter import Transmitter


@asynccontextmanager
async def following(transmitter: Transmitter, clock: Clock, **choices: object) -> AsyncIterator[AsyncVerifier]:
    whole = {"follow": Poll(CLIENT, "secret"), "clock": clock} | choices
    async with AsyncVerifier(transmitter.issuer, AUDIENCE, **whole) as verifier:
        assert await verifier.wait(10), verifier.state
        yield verifier


async def until(true: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it has not happened"
        await asyncio.sleep(0.002)


async def refused(verification: Awaitable[object], error: type[TokenError]) -> None:
    with pytest.raises(error):
        await verification


def test_a_session_that_ends_is_refused_and_its_stream_is_deleted_at_the_end(transmitter: Transmitter, clock: Clock) -> None:
    async def walk() -> None:
        async with following(transmitter, clock) as verifier:
            token, other = access_token(transmitter.issuer, sid="s"), access_token(transmitter.issuer)
            assert (await verifier.verify(token)).kid == "one"
            transmitter.end_session("s")
            await until(lambda: verifier.has_ended([("sid", "s")]))
            await refused(verifier.verify(token), EndedTokenError)
            await verifier.verify(other)
            began = time.monotonic()
        assert time.monotonic() - began < 2 * slowness()
        assert transmitter.streams == {}

    asyncio.run(walk())


def test_it_refuses_when_the_promise_cannot_be_kept_and_is_well_again_afterwards(
    transmitter: Transmitter, clock: Clock
) -> None:
    async def walk() -> None:
        async with following(transmitter, clock) as verifier:
            told: list[bool] = []
            verifier.on_stale(lambda staleness: told.append(staleness.is_stale))
            transmitter.fault = lambda _method, path: (503, {}, b"") if path.startswith("/ssf") else None
            transmitter.forget_streams()
            clock.elapsed_moved += 31
            await refused(verifier.verify(access_token(transmitter.issuer)), StaleError)
            await until(lambda: told == [True])
            transmitter.fault = lambda _method, _path: None
            assert await verifier.wait(10)
            assert told == [True, False]

    asyncio.run(walk())


def test_many_tokens_of_a_new_key_at_once_cause_one_fetch_and_are_all_accepted(transmitter: Transmitter, clock: Clock) -> None:
    async def walk() -> None:
        async with following(transmitter, clock) as verifier:
            clock.pass_by(COOL_DOWN)
            transmitter.published = ["two"]
            before = transmitter.count("GET /jwks")
            await asyncio.gather(*(verifier.verify(access_token(transmitter.issuer, kid="two")) for _ in range(16)))
            assert transmitter.count("GET /jwks") == before + 1

    asyncio.run(walk())


def test_a_stale_token_is_introspected_where_that_is_the_policy(transmitter: Transmitter, clock: Clock) -> None:
    async def walk() -> None:
        async with following(transmitter, clock, on_stale="introspect") as verifier:
            transmitter.fault = lambda _method, path: (503, {}, b"") if path.startswith("/ssf") else None
            transmitter.forget_streams()
            clock.elapsed_moved += 31
            await verifier.verify(access_token(transmitter.issuer))
            transmitter.active = False
            await refused(verifier.verify(access_token(transmitter.issuer)), EndedTokenError)
            assert transmitter.count("POST /introspect") == 2

    asyncio.run(walk())


def test_back_channel_logout_and_status_lists_work_alike(transmitter: Transmitter, clock: Clock) -> None:
    async def walk() -> None:
        async with following(transmitter, clock, follow=BackChannel("app"), max_staleness=None) as verifier:
            text = signed(logout_claims(transmitter.issuer), "logout+jwt")
            assert (await verifier.receive(f"logout_token={text}".encode())).status == 200
            await refused(verifier.verify(access_token(transmitter.issuer, sid="s")), EndedTokenError)
        publisher = Publisher(transmitter)
        publisher.statuses[1] = 1
        publisher.publish()
        async with following(transmitter, clock, follow=StatusList()) as verifier:
            await verifier.verify(publisher.token(0))
            await refused(verifier.verify(publisher.token(1)), EndedTokenError)

    asyncio.run(walk())


def test_the_loop_is_never_blocked_while_it_waits_and_verifies(transmitter: Transmitter, clock: Clock) -> None:
    async def walk() -> None:
        async with following(transmitter, clock) as verifier:
            blocked, stop = [0.0], asyncio.Event()

            async def watch() -> None:
                while not stop.is_set():
                    began = time.thread_time()
                    await asyncio.sleep(0)
                    blocked.append(time.thread_time() - began)

            watching = asyncio.create_task(watch())
            for number in range(50):
                transmitter.tell(events.SESSION_REVOKED, session(f"s{number}"))
                await verifier.verify(access_token(transmitter.issuer))
                await asyncio.sleep(0.002)
            await until(lambda: verifier.state.ended["sid"] == 50)
            stop.set()
            await watching
            assert max(blocked) < 0.1

    asyncio.run(walk())
