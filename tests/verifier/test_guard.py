"""The socket guard: a socket is closed the moment that what it was opened with ends, and never otherwise."""

import asyncio
import gc
import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idp.verifier import closing
from idp.verifier.deadlines import SPARE, Deadlines
from idp.verifier.guard import ENDED, EXPIRED, SESSION_ENDED, STALE, Guard
from idp.verifier.holding import Handle, OtherSessionError, SocketEndedError
from idp.verifier.rules import Claims
from tests.verifier.feeding import SID, ToldFeed, claims, until

NOW = 2_000_000_000.0


class Socket:
    """What is closed, and how often, with what."""

    def __init__(self) -> None:
        self.closings: list[tuple[int, str]] = []

    def close(self, code: int, reason: str) -> None:
        self.closings.append((code, reason))

    @property
    def is_closed(self) -> bool:
        return bool(self.closings)


@pytest.fixture
def feed() -> ToldFeed:
    return ToldFeed(NOW)


@pytest.fixture
def guard(feed: ToldFeed) -> Iterator[Guard]:
    with Guard(feed) as made:
        yield made


@pytest.fixture
def socket() -> Socket:
    return Socket()


def test_the_sessions_end_closes_its_sockets_and_no_other(guard: Guard, feed: ToldFeed) -> None:
    mine, also_mine, other = Socket(), Socket(), Socket()
    handles = [guard.bind(claims(1), None, mine.close), guard.bind(SID, NOW + 60, also_mine.close)]
    guard.bind(claims(2, sid="sid-of-bob", sub="bob"), None, other.close)
    feed.end("sid", SID)
    until(lambda: mine.is_closed and also_mine.is_closed)
    assert mine.closings == also_mine.closings == [(SESSION_ENDED, ENDED)]
    assert [handle.reason for handle in handles] == [ENDED, ENDED]
    assert (other.closings, len(guard), guard.closed[ENDED]) == ([], 1, 2)


@pytest.mark.parametrize(
    ("kind", "value"),
    [("sid", SID), ("family", f"family-of-{SID}"), ("jti", f"family-of-{SID}.1"), ("client_id", "app"), ("kid", "k1")],
)
def test_whatever_the_token_names_ends_the_socket(guard: Guard, feed: ToldFeed, socket: Socket, kind, value: str) -> None:
    guard.bind(Claims(claims(1), "k1"), None, socket.close)
    feed.end(kind, "another")
    assert len(guard) == 1
    feed.end(kind, value)
    until(lambda: socket.is_closed)
    assert len(guard) == 0


def test_a_token_that_expires_unrenewed_closes_its_socket(guard: Guard, feed: ToldFeed, socket: Socket) -> None:
    handle = guard.bind(claims(expires=NOW + 300), None, socket.close)
    feed.clock = NOW + 299.9
    guard.sweep()
    assert not handle.closed
    feed.clock = NOW + 300
    guard.sweep()
    until(lambda: socket.is_closed)
    assert socket.closings == [(SESSION_ENDED, EXPIRED)]


def test_the_guards_own_timer_closes_what_expires() -> None:
    feed, first, second = ToldFeed(), Socket(), Socket()
    with Guard(feed) as guard:
        guard.bind("later", feed.now() + 3600, Socket().close)
        guard.bind("second", feed.now() + 0.06, second.close)
        guard.bind("first", feed.now() + 0.03, first.close)
        until(lambda: first.is_closed)
        assert not second.is_closed
        until(lambda: second.is_closed)
        assert len(guard) == 1


def test_a_refresh_extends_a_socket_without_touching_it(guard: Guard, feed: ToldFeed, socket: Socket) -> None:
    handle = guard.bind(Claims(claims(1, expires=NOW + 300), "k1"), None, socket.close)
    handle.extend(Claims(claims(2, expires=NOW + 600), "k2"))
    feed.clock = NOW + 599
    guard.sweep()
    feed.end("jti", f"family-of-{SID}.1")  # what it was opened with counts no more
    feed.end("kid", "k1")
    assert (socket.closings, handle.expires, len(guard)) == ([], NOW + 600, 1)
    feed.end("kid", "k2")
    until(lambda: socket.is_closed)


@pytest.mark.parametrize(
    "other",
    [
        claims(2, sid="sid-of-bob"),
        claims(2, sub="bob"),
        claims(2, iss="https://other.example"),
        claims(2, sid=None),
    ],
    ids=["session", "person", "issuer", "no session"],
)
def test_a_token_of_another_session_or_person_extends_nothing(guard: Guard, socket: Socket, other: dict[str, object]) -> None:
    handle = guard.bind(claims(1, expires=NOW + 300), None, socket.close)
    with pytest.raises(OtherSessionError):
        handle.extend({**other, "exp": NOW + 600})
    assert (handle.expires, socket.closings, len(guard)) == (NOW + 300, [], 1)


def test_offline_tokens_extend_within_their_family_only(guard: Guard, socket: Socket) -> None:
    handle = guard.bind(claims(1, sid=None, expires=NOW + 300), None, socket.close)
    with pytest.raises(OtherSessionError):
        handle.extend(claims(2, sid=None, jti="another.1", expires=NOW + 600))
    handle.extend(claims(2, sid=None, expires=NOW + 600))
    assert handle.expires == NOW + 600


def test_a_socket_bound_to_a_sid_takes_a_token_of_it_and_is_that_persons_then(guard: Guard, socket: Socket) -> None:
    handle = guard.bind(SID, NOW + 60, socket.close)
    with pytest.raises(OtherSessionError):
        handle.extend(claims(1, sid="sid-of-bob"))
    handle.extend(claims(1))
    with pytest.raises(OtherSessionError):
        handle.extend(claims(2, sub="bob"))


def test_an_older_token_shortens_nothing(guard: Guard, feed: ToldFeed, socket: Socket) -> None:
    handle = guard.bind(claims(2, expires=NOW + 600), None, socket.close)
    handle.extend(claims(1, expires=NOW + 300))
    handle.extend(NOW + 10)
    assert handle.expires == NOW + 600
    feed.end("jti", f"family-of-{SID}.1")
    assert not handle.closed


def test_what_is_no_instant_is_refused(guard: Guard, socket: Socket) -> None:
    for wrong in (math.inf, math.nan, True, "2000000300"):
        with pytest.raises(ValueError, match="no instant"):
            guard.bind({**claims(), "exp": wrong}, None, socket.close)
    with pytest.raises(ValueError, match="no instant"):
        guard.bind({"sid": SID}, None, socket.close)
    assert len(guard) == 0


def test_binding_what_has_ended_already_closes_at_once(guard: Guard, feed: ToldFeed, socket: Socket) -> None:
    feed.end("sid", SID)
    handle = guard.bind(claims(), None, socket.close)
    assert (handle.closed, handle.reason, len(guard)) == (True, ENDED, 0)
    until(lambda: socket.is_closed)


def test_binding_what_has_expired_closes_at_once(guard: Guard, socket: Socket) -> None:
    assert guard.bind(claims(expires=NOW), None, socket.close).reason == EXPIRED
    until(lambda: socket.is_closed)


def test_an_end_between_looking_and_binding_is_not_missed(feed: ToldFeed, socket: Socket) -> None:
    """The worst moment: the ending is told to the listeners before the socket is bound, and known ever since."""

    class Racing(ToldFeed):
        def has_ended(self, names) -> bool:
            seen = super().has_ended(names)
            self.end("sid", SID)  # and at once after the guard has looked
            return seen

    with Guard(Racing(NOW)) as guard:
        assert guard.bind(claims(), None, socket.close).closed
        until(lambda: socket.is_closed)


def test_an_extension_by_an_ended_token_closes_the_socket(guard: Guard, feed: ToldFeed, socket: Socket) -> None:
    handle = guard.bind(claims(1, expires=NOW + 300), None, socket.close)
    feed.known.add(("jti", f"family-of-{SID}.2"))
    handle.extend(claims(2, expires=NOW + 600))
    assert handle.reason == ENDED


def test_a_closed_socket_cannot_be_extended(guard: Guard, feed: ToldFeed, socket: Socket) -> None:
    handle = guard.bind(claims(1), None, socket.close)
    feed.end("sid", SID)
    with pytest.raises(SocketEndedError, match=ENDED):
        handle.extend(claims(2, expires=NOW + 9000))
    assert len(guard) == 0


def test_a_released_socket_is_forgotten(guard: Guard, feed: ToldFeed, socket: Socket) -> None:
    handle = guard.bind(claims(1), None, socket.close)
    handle.release()
    handle.release()
    feed.end("sid", SID)
    with pytest.raises(SocketEndedError, match="released"):
        handle.extend(claims(2))
    assert (socket.closings, len(guard), guard._bound) == ([], 0, {})


def test_a_stale_verifier_that_refuses_closes_every_socket_and_binds_none(guard: Guard, feed: ToldFeed) -> None:
    sockets = [Socket() for _ in range(3)]
    for number, each in enumerate(sockets):
        guard.bind(claims(number, sid=f"sid-{number}"), None, each.close)
    feed.lose()
    until(lambda: all(each.closings == [(SESSION_ENDED, STALE)] for each in sockets))
    assert guard.bind(claims(), None, Socket().close).reason == STALE
    feed.find()
    assert not guard.bind(claims(), None, Socket().close).closed


def test_a_stale_verifier_that_accepts_closes_nothing(guard: Guard, feed: ToldFeed, socket: Socket) -> None:
    guard.bind(claims(), None, socket.close)
    feed.lose(refuses=False)
    assert (len(guard), socket.closings) == (1, [])


def test_a_close_that_fails_stops_no_other(guard: Guard, feed: ToldFeed) -> None:
    def broken(_code: int, _reason: str) -> None:
        raise RuntimeError("this socket cannot be closed")

    sockets = [Socket() for _ in range(20)]
    for each in sockets:
        guard.bind(claims(), None, broken)
        guard.bind(claims(), None, each.close)
    feed.end("sid", SID)
    until(lambda: all(each.is_closed for each in sockets) and guard.failures == {"RuntimeError": 20})


@pytest.mark.parametrize("hung", [10, 2 * closing.AT_ONCE + 1])
def test_closes_that_hang_hold_up_neither_the_others_nor_the_verifier(
    guard: Guard, feed: ToldFeed, monkeypatch: pytest.MonkeyPatch, hung: int
) -> None:
    monkeypatch.setattr(closing, "STUCK_SECONDS", 0.05)
    hanging, gone_on = threading.Event(), threading.Event()
    sockets = [Socket() for _ in range(50)]

    def hang(_code: int, _reason: str) -> None:
        hanging.wait(60)
        gone_on.set()

    for _ in range(hung):
        guard.bind(claims(), None, hang)
    for each in sockets:
        guard.bind(claims(), None, each.close)
    feed.end("sid", SID)
    until(lambda: all(each.is_closed for each in sockets))
    assert not gone_on.is_set(), "nobody waited for one that hangs"
    hanging.set()


@pytest.mark.parametrize("sessions", [1, 2000])
def test_two_thousand_sockets_are_all_told_to_close_and_each_once(sessions: int) -> None:
    feed = ToldFeed()
    sockets = [Socket() for _ in range(2000)]
    with Guard(feed) as guard:
        for number, each in enumerate(sockets):
            guard.bind(claims(number, sid=f"sid-{number % sessions}", expires=feed.now() + 600), None, each.close)
        began = time.monotonic()
        for number in range(sessions):
            feed.end("sid", f"sid-{number}")
        until(lambda: all(each.is_closed for each in sockets))
        print(f"\n2,000 sockets of {sessions} sessions: told to close within {(time.monotonic() - began) * 1000:.0f} ms")
        assert all(len(each.closings) == 1 for each in sockets)


def test_memory_is_bounded_by_the_live_sockets(guard: Guard) -> None:
    handles = [guard.bind(claims(number), None, Socket().close) for number in range(10)]
    for round_ in range(500):
        for number, handle in enumerate(handles):
            handle.extend(Claims(claims(round_ * 10 + number, expires=NOW + 1000 + round_), f"k{round_}"))
    assert guard._live.kept <= 2 * len(handles) + SPARE + 1
    assert len(guard._bound) == len(handles) + 4  # a `jti` each, and the session, family, client and key
    for number in range(5000):
        guard.bind(claims(number, sid=f"sid-{number}"), None, Socket().close).release()
    for handle in handles:
        handle.release()
    handles.clear()
    del handle
    gc.collect()
    assert (guard._bound, len(guard)) == ({}, 0)
    assert guard._live.kept <= SPARE
    assert sum(isinstance(each, Handle) for each in gc.get_objects()) <= SPARE


def test_many_threads_bind_extend_release_and_end_at_once() -> None:
    """Whatever the order: a socket is closed once at the most, and none of an ended session is left open."""
    feed = ToldFeed()
    sockets: list[list[Socket]] = [[] for _ in range(8)]

    with Guard(feed) as guard:

        def serve(lane: int) -> None:
            for number in range(200):
                each = Socket()
                handle = guard.bind(claims(number, sid=f"sid-{number}", expires=feed.now() + 60), None, each.close)
                try:
                    handle.extend(claims(number + 1, sid=f"sid-{number}", expires=feed.now() + 90))
                except SocketEndedError:
                    pass
                if number % 3 == 0:
                    handle.release()
                else:
                    sockets[lane].append(each)

        def end(_lane: int) -> None:
            for number in range(200):
                feed.end("sid", f"sid-{number}")

        with ThreadPoolExecutor(10) as threads:
            list(threads.map(lambda lane: serve(lane) if lane < 8 else end(lane), range(10)))
        until(lambda: all(each.is_closed for lane in sockets for each in lane))
        assert len(guard) == 0
        assert all(len(each.closings) == 1 for lane in sockets for each in lane)


def test_in_an_event_loop_close_is_called_in_that_loop_and_may_be_a_coroutine(guard: Guard, feed: ToldFeed) -> None:
    async def serve() -> None:
        loop, closed = asyncio.get_running_loop(), asyncio.Event()
        seen: list[tuple[int, str]] = []

        def at_once(code: int, reason: str) -> None:
            assert asyncio.get_running_loop() is loop
            seen.append((code, reason))

        async def with_a_wait(code: int, reason: str) -> None:
            await asyncio.sleep(0)
            seen.append((code, reason))
            closed.set()

        async def broken(_code: int, _reason: str) -> None:
            raise RuntimeError

        guard.bind(claims(1), None, at_once)
        guard.bind(claims(2), None, broken)
        guard.bind(claims(3), None, with_a_wait)
        await asyncio.to_thread(feed.end, "sid", SID)
        async with asyncio.timeout(5):
            await closed.wait()
        assert seen == [(SESSION_ENDED, ENDED)] * 2
        assert guard.failures == {"RuntimeError": 1}

    asyncio.run(serve())


def test_an_event_loop_that_is_gone_stops_no_other_socket(guard: Guard, feed: ToldFeed, socket: Socket) -> None:
    async def leave() -> None:
        guard.bind(claims(1), None, Socket().close)

    asyncio.run(leave())
    guard.bind(claims(2), None, socket.close)
    feed.end("sid", SID)
    until(lambda: socket.is_closed)


def test_a_closed_guard_takes_no_socket_and_hears_nothing(feed: ToldFeed, socket: Socket) -> None:
    guard = Guard(feed)
    guard.bind(claims(), None, socket.close)
    guard.close()
    guard.close()
    assert (feed.ended, feed.stale) == ([], [])
    with pytest.raises(SocketEndedError):
        guard.bind(claims(), None, socket.close)
    assert "idp-guard" not in {thread.name for thread in threading.enumerate()}


@settings(deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["put", "drop", "due"]), st.integers(0, 50)), max_size=200))
def test_deadlines_are_told_in_order_whatever_was_put_and_dropped(steps: list[tuple[int, str, int]]) -> None:
    deadlines, model = Deadlines[int](), dict[int, int]()
    for thing, step, at in steps:
        match step:
            case "put":
                deadlines.put(thing, at)
                model[thing] = at
            case "drop":
                deadlines.drop(thing)
                model.pop(thing, None)
            case "due":
                due = deadlines.due(at)
                assert sorted(due) == sorted(each for each, when in model.items() if when <= at)
                assert [model[each] for each in due] == sorted(model[each] for each in due)
                for each in due:
                    deadlines.drop(each)
                    del model[each]
        assert set(deadlines) == set(model)
        assert deadlines.next() == min(model.values(), default=None)
