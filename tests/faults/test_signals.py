"""Security events survive `kill -9`: nothing is lost, the order is kept, and a follower goes on where it was."""

import threading
import time
from collections.abc import Callable

import httpx
import pytest

from idp.protocol import events
from tests.signals.follower import Follower, only_event
from tests.signals.pushed import PushReceiver
from tests.support.serving import RunningProvider

ROUNDS = 3
PUSH = "urn:ietf:rfc:8935"


def caught_up(follower: Follower) -> Follower:
    while follower.follow():
        pass
    follower.heard.clear()
    return follower


def end_one(provider: RunningProvider, name: str) -> None:
    with provider.services.database.writing() as tx:
        assert provider.services.logout.end_access_token(tx, name, tx.now + 300)


def go_on(follower: Follower, until: Callable[[], bool], seconds: float = 30) -> None:
    """Follow, whatever happens to the server meanwhile."""
    deadline = time.monotonic() + seconds
    while not until() and time.monotonic() < deadline:
        try:
            follower.follow(wait=1)
        except (httpx.TransportError, AssertionError):
            time.sleep(0.05)
    assert until()


def names(follower: Follower) -> list[str]:
    """What it heard, in order, each once: what came again after a kill has the same `jti`."""
    by_jti = {claims["jti"]: claims for claims in follower.heard}
    return [claims["sub_id"]["jti"] for claims in by_jti.values() if only_event(claims)[0] == events.TOKEN_REVOKED]


def test_what_was_committed_while_nobody_served_is_heard_afterwards(deployment: RunningProvider) -> None:
    follower = caught_up(Follower.of(deployment))
    deployment.kill()
    for name in ("a", "b", "c"):
        end_one(deployment, name)
    deployment.start()
    go_on(follower, lambda: len(names(follower)) == 3)
    assert names(follower) == ["a", "b", "c"]


def test_whenever_the_server_is_killed_a_follower_hears_of_everything_once_and_in_order(deployment: RunningProvider) -> None:
    """Endings go on by another process while the server dies and comes back; the follower polls and acknowledges."""
    follower = caught_up(Follower.of(deployment))
    ended: list[str] = []
    stopping = threading.Event()

    def keep_ending() -> None:
        while not stopping.wait(0.05):
            name = f"token-{len(ended):04}"
            end_one(deployment, name)
            ended.append(name)

    ending = threading.Thread(target=keep_ending)
    ending.start()
    try:
        for round_ in range(ROUNDS):
            before = len(names(follower))
            go_on(follower, lambda before=before: len(names(follower)) > before + 10, 60)
            time.sleep(0.007 * round_)  # the moment of the kill is what varies
            deployment.kill()
            deployment.start()
    finally:
        stopping.set()
        ending.join()
    go_on(follower, lambda: len(names(follower)) >= len(ended), 60)
    assert names(follower) == ended


def test_pushes_go_on_in_order_after_a_kill(deployment: RunningProvider) -> None:
    receiver = PushReceiver().open()
    delivery = {"method": PUSH, "endpoint_url": receiver.url}
    follower = Follower.of(deployment, delivery=delivery)
    sent = [f"pushed-{number:03}" for number in range(60)]
    try:
        for start in (0, 20, 40):
            for name in sent[start : start + 20]:
                end_one(deployment, name)
            receiver.wait(lambda start=start: len(receiver.came) > start + 5)
            deployment.kill()
            deployment.start()
        receiver.wait(lambda: len({one.claims["jti"] for one in receiver.came}) >= 60, 60)
    finally:
        receiver.close()
        follower.close()
    first_times = list(dict.fromkeys(one.claims["sub_id"]["jti"] for one in receiver.came))
    assert first_times == sent


@pytest.mark.parametrize("deployment", ["postgresql"], indirect=True)
def test_while_the_database_is_away_no_poll_says_that_nothing_happened(deployment: RunningProvider) -> None:
    """An empty answer would be a lie of a kind that lets ended tokens in."""
    from sqlalchemy import create_engine, make_url, text

    follower = caught_up(Follower.of(deployment))
    url = make_url(deployment.database_url.replace("postgresql://", "postgresql+psycopg://"))
    admin = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    name = url.database
    with admin.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"))
        try:
            answers = [follower.poll(), follower.poll(wait=1)]
        finally:
            connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
    admin.dispose()
    assert [answer.status_code for answer in answers] == [503, 503]
    assert all("Retry-After" in answer.headers for answer in answers)
    go_on(follower, lambda: follower.poll().status_code == 200)


@pytest.mark.parametrize("deployment", ["postgresql"], indirect=True)
def test_a_database_that_goes_while_a_follower_waits_is_no_quiet_one(deployment: RunningProvider) -> None:
    """What the follower hears then either rests on a look that began after its question, or is a 503."""
    from sqlalchemy import create_engine, make_url, text

    follower = caught_up(Follower.of(deployment))
    url = make_url(deployment.database_url.replace("postgresql://", "postgresql+psycopg://"))
    admin = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    answers: list[httpx.Response] = []
    waiting = threading.Thread(target=lambda: answers.append(follower.poll(wait=3)))
    with admin.connect() as connection:
        waiting.start()
        time.sleep(0.5)
        connection.execute(text(f"ALTER DATABASE {url.database} ALLOW_CONNECTIONS false"))
        connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{url.database}'"))
        waiting.join()
        answers.append(follower.poll())
        connection.execute(text(f"ALTER DATABASE {url.database} ALLOW_CONNECTIONS true"))
    admin.dispose()
    # The first question was answered by a look that began after it came, and before the database went.
    assert (answers[0].status_code, answers[0].json()) == (200, {"sets": {}, "moreAvailable": False})
    assert answers[1].status_code == 503
