"""Against `idp serve` on both databases: each thing of the matrix that ends is refused by a verifier, and nothing else is."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from idp.logout.rules import Reason
from idp.signals.requests import Status
from idp.verifier import EndedTokenError, Poll, Push, TokenError, UnknownKeyError, Verifier
from tests.endings.matrix import DEAD
from tests.endings.test_matrix import TRIGGERS
from tests.endings.world import World
from tests.house.code import ROOT
from tests.signals.follower import receiver_of
from tests.support.browsing import Person
from tests.support.databases import DIALECTS
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider, free_port
from tests.verifier.conftest import until
from tests.verifier.endpoint import pushed_to
from tests.verifier.relay import Relay

#: Access tokens by what the matrix calls them. An offline family's dies with the family.
TOKENS = {
    "access one here": "one here",
    "access two here": "two here",
    "access one there": "one there",
    "bob's access one": "bob's one",
    "bob's access two": "bob's two",
    "offline one": "offline one",
    "bob's offline one": "bob's offline one",
}
OFFLINE = {"offline one", "bob's offline one"}


@pytest.fixture(scope="module", params=DIALECTS)
def provider(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProvider]:
    """A provider of its own: one trigger kills a key."""
    url = request.getfixturevalue("postgres_databases")() if request.param == "postgresql" else ""
    running = RunningProvider(tmp_path_factory.mktemp("verifier"), url, {"SECRET_KEY": "a test secret that is long enough"})
    try:
        yield running.start()
    finally:
        running.close()


@pytest.fixture(scope="module")
def verifier(provider: RunningProvider) -> Iterator[Verifier]:
    """One for all triggers, so that it must tell them apart."""
    with Verifier(provider.issuer, provider.issuer, follow=Poll(*receiver_of(provider).auth)) as following:
        assert following.wait(20), following.state
        yield following


def accepted(verifier: Verifier, token: str) -> bool:
    try:
        verifier.verify(token)
    except (EndedTokenError, UnknownKeyError):
        return False
    return True


@pytest.mark.parametrize("trigger", DEAD)
def test_whatever_ends_its_tokens_are_refused_and_all_others_accepted(
    provider: RunningProvider, verifier: Verifier, trigger: str
) -> None:
    world = World.make(provider)
    try:
        tokens = {thing: world.tokens[name]["access_token"] for thing, name in TOKENS.items()}
        assert all(accepted(verifier, token) for token in tokens.values())
        TRIGGERS[trigger](world)
        dead = {thing for thing in TOKENS if thing in DEAD[trigger]} | (OFFLINE if "key" in trigger else set())
        until(lambda: {thing for thing, token in tokens.items() if not accepted(verifier, token)} >= dead)
        time.sleep(0.1)
        assert {thing for thing, token in tokens.items() if not accepted(verifier, token)} == dead
        assert not verifier.is_stale
    finally:
        world.close()


def test_what_ended_before_a_verifier_was_there_is_known_to_it(provider: RunningProvider) -> None:
    world = World.make(provider)
    try:
        provider.cli("session", "end", world.sids["one here"])
        with Verifier(provider.issuer, provider.issuer, follow=Poll(*receiver_of(provider).auth)) as late:
            assert late.wait(20), late.state
            assert not accepted(late, world.tokens["one here"]["access_token"])
            assert accepted(late, world.tokens["one there"]["access_token"])
    finally:
        world.close()


def test_the_client_of_the_manual_may_introspect_while_nothing_is_known(provider: RunningProvider) -> None:
    provider.add_user()
    manual = (ROOT / "docs/verifier.md").read_text(encoding="utf-8")
    (metadata,) = re.findall(r"^echo '(\{.*\})' > api.json$", manual, re.MULTILINE)
    api = RelyingParty(provider, provider.add_client(json.loads(metadata)))
    (audience,) = json.loads(metadata)["resources"]
    app = RelyingParty.register(provider, resources=[audience])
    person = Person(provider.issuer)
    token = app.sign_in(person)["access_token"]
    person.http.close()
    verifier = Verifier(provider.issuer, audience, follow=Poll(*api.auth), on_stale="introspect")  # not started: always stale
    assert verifier.verify(token)["aud"] == [provider.issuer, audience]
    assert app.revoke(token).status_code == 200
    with pytest.raises(EndedTokenError):
        verifier.verify(token)
    verifier.close()


def test_a_stream_that_is_deleted_or_paused_under_it_is_made_anew(provider: RunningProvider) -> None:
    client = receiver_of(provider)
    with Verifier(provider.issuer, provider.issuer, follow=Poll(*client.auth), max_staleness=3.0) as following:
        assert following.wait(20), following.state
        for act in ("delete", "pause"):
            stream_id = following._engine._follower._stream.stream_id
            with provider.services.database.writing() as tx:
                streams = provider.services.streams
                if act == "delete":
                    streams.end(tx, client.client_id, stream_id)
                else:
                    streams.set_status(tx, client.client_id, stream_id, Status("paused", None))
            until(lambda old=stream_id: following._engine._follower._stream.stream_id not in {old, None}, 20)
            world = World.make(provider)
            try:
                provider.cli("session", "end", world.sids["one here"])
                until(lambda world=world: not accepted(following, world.tokens["one here"]["access_token"]))
            finally:
                world.close()


def test_a_verifier_that_is_pushed_to_keeps_the_same_promise(provider: RunningProvider) -> None:
    credentials = receiver_of(provider).auth
    world = World.make(provider)
    try:
        with (
            pushed_to(lambda url: Verifier(provider.issuer, provider.issuer, follow=Push(*credentials, url))) as verifier,
            verifier as following,
        ):
            assert following.wait(20), following.state
            token, other = (world.tokens[name]["access_token"] for name in ("one here", "one there"))
            assert accepted(following, token)
            provider.cli("session", "end", world.sids["one here"])
            until(lambda: not accepted(following, token))
            assert accepted(following, other)
    finally:
        world.close()


# -- when the provider is away ----------------------------------------------------------------------------------------


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[tuple[RunningProvider, Relay]]:
    """A provider that is reached through a relay alone."""
    port = free_port()
    relay = Relay(port)
    running = RunningProvider(tmp_path, settings={"ISSUER": f"http://localhost:{relay.port}"}, port=port)
    try:
        running.start()
        running.add_user()
        yield running, relay
    finally:
        running.close()
        relay.close()


def signed_in(provider: RunningProvider) -> tuple[str, str]:
    """Somebody's access token, and their `sid`."""
    person = Person(provider.issuer)
    app = RelyingParty.register(provider)
    tokens = app.sign_in(person)
    person.http.close()
    return tokens["access_token"], str(app.verified(tokens["id_token"], audience=app.client_id, typ="JWT")["sid"])


def end(provider: RunningProvider, sid: str) -> None:
    """End a session by another process of the deployment: this one."""
    services = provider.services
    with services.database.writing() as tx:
        assert services.logout.end_session(tx, sid, Reason.OPERATOR) is not None


@pytest.mark.parametrize("how", ["the provider is killed", "every byte is swallowed", "connections are reset"])
def test_a_token_is_refused_max_staleness_after_its_session_ended_unheard(
    apart: tuple[RunningProvider, Relay], how: str
) -> None:
    provider, relay = apart
    token, sid = signed_in(provider)
    with Verifier(provider.issuer, provider.issuer, follow=Poll(*receiver_of(provider).auth), max_staleness=3.0) as following:
        assert following.wait(20), following.state
        assert accepted(following, token)
        if how == "the provider is killed":
            provider.kill()
        elif how == "every byte is swallowed":
            relay.cut = True
        else:
            relay.break_all()
        end(provider, sid)
        ended_at = time.monotonic()
        last = ended_at
        while True:
            asked_at = time.monotonic()
            try:
                following.verify(token)
            except TokenError:
                break
            last = asked_at
            assert asked_at < ended_at + 10, following.state
            time.sleep(0.002)
        print(f"{how}: last accepted {last - ended_at:.2f} s after the end, promised 3 s")
        assert last - ended_at <= 3.0
        if how == "the provider is killed":
            provider.start()
        relay.mend()
        assert following.wait(20), following.state
        with pytest.raises(EndedTokenError):
            following.verify(token)


def test_a_short_gap_is_not_noticed_and_what_ended_meanwhile_is_heard(apart: tuple[RunningProvider, Relay]) -> None:
    provider, relay = apart
    token, _ = signed_in(provider)
    ended, sid = signed_in(provider)
    with Verifier(provider.issuer, provider.issuer, follow=Poll(*receiver_of(provider).auth), max_staleness=20.0) as following:
        assert following.wait(20), following.state
        stale: list[object] = []
        following.on_stale(stale.append)
        relay.break_all()
        provider.stop()
        provider.cli("session", "end", sid)
        provider.start()
        relay.mend()
        until(lambda: not accepted(following, ended), 20)
        assert accepted(following, token)
        assert stale == []
