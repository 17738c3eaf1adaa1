"""Sectors (OIDC Core §8.1): who gets the same names of people. Only an https host makes one, for only its owner is found there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp.clients import sectors
from idp.clients.metadata import MetadataError
from idp.clients.metadata import parse as parse_metadata
from idp.clients.sectors import sector_of
from idp.logout.rules import Reason
from idp.sessions.rules import SignIn
from idp.signals import store as signals_store
from idp.signals.requests import Configuration
from tests.clients.registering import World, refused

VICTIM = "https://victim.example/cb"
#: Redirect URIs that anybody may register, and that have the victim's host or everybody's in them.
ANYBODYS = [
    "com.evil.app://victim.example/cb",
    "com.evil.app://victim.example:443/cb",
    "com.evil.app:/cb",
    "com.evil.app:victim.example",
    "evil.https://victim.example/cb",
    "http://victim.example/cb",
    "http://127.0.0.1/cb",
    "http://127.0.0.1:8080/cb",
    "http://[::1]/cb",
    "http://localhost/cb",
    "https://localhost/cb",
    "https://app.localhost/cb",
    "https://127.0.0.1/cb",
    "https://[::1]:8443/cb",
    "https://192.168.1.7/cb",
    "https://10.0.0.1/cb",
]


@pytest.mark.parametrize("uri", ANYBODYS)
def test_what_is_no_https_host_of_the_public_net_is_a_sector_of_the_clients_own(uri: str) -> None:
    own = {sector_of(client_id, [uri], None) for client_id in ("a", "b", "victim.example", "127.0.0.1", "localhost")}
    assert len(own) == 5
    assert all(sectors.is_own(sector) for sector in own)
    assert sector_of("a", [VICTIM], None) not in own
    # Nor does one that is the victim's beside it, in whichever order.
    for both in ([VICTIM, uri], [uri, VICTIM]):
        assert sectors.is_own(sector_of("a", both, None))


def test_clients_of_one_https_host_share_its_sector() -> None:
    for uris in ([VICTIM], [VICTIM, "https://victim.example:8443/other"], ["https://VICTIM.example/cb"]):
        assert sector_of("a", uris, None) == sector_of("b", uris, None) == "victim.example"
    assert sector_of("a", ["https://8.8.8.8/cb"], None) == "8.8.8.8"


@pytest.mark.parametrize("uris", [[VICTIM], ["https://other.example/cb"], *([uri] for uri in ANYBODYS), []])
def test_a_sector_identifier_uri_says_otherwise(uris: list[str]) -> None:
    assert sector_of("a", uris, "https://sector.example/uris.json") == "sector.example"


def test_a_client_without_redirect_uris_has_a_sector_of_its_own() -> None:
    assert sectors.is_own(sector_of("a", [], None))


_HOSTS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z]{2,5}){1,3}", fullmatch=True)


@given(_HOSTS, st.text("abcdefghijklmnopqrstuvwxyzABC0123456789-_", min_size=1, max_size=20), st.sampled_from(ANYBODYS))
def test_no_client_can_be_named_so_that_its_own_sector_is_a_host(host: str, client_id: str, uri: str) -> None:
    assert sector_of("x", [f"https://{host}/cb"], None) != sector_of(client_id, [uri], None)


def test_several_https_hosts_must_say_which_is_their_sector() -> None:
    native = {"application_type": "native", "token_endpoint_auth_method": "none"}
    for uris in ([VICTIM, "https://b.example/cb"], [VICTIM, "https://b.example/cb", "com.app:/cb"]):
        with pytest.raises(MetadataError, match="sector_identifier_uri"):
            parse_metadata({"subject_type": "pairwise", "redirect_uris": uris, **native}, loopback_http=False)
    for uris in ([VICTIM, "com.example.app:/cb"], ["com.example.app:/cb", "http://127.0.0.1/cb"], ["com.example.app:/cb"]):
        assert parse_metadata({"subject_type": "pairwise", "redirect_uris": uris, **native}, loopback_http=False)


def sub_of(world: World, client_id: str, subject: str = "alice") -> tuple[str, str]:
    """What a client calls a person, and a session of theirs."""
    provider = world.provider
    client = provider.clients.find(client_id)
    assert client is not None
    with provider.database.writing() as tx:
        sub = provider.tokens.subjects.sub_in(tx, client.pairwise_sector, subject)
        return sub, provider.sessions.sid_for(tx, client, "the session of alice")


@pytest.mark.parametrize("uri", [uri for uri in ANYBODYS if not uri.startswith("http://victim")])
def test_a_native_client_that_registers_itself_gets_nobodys_names(world: World, uri: str) -> None:
    native = {"application_type": "native", "token_endpoint_auth_method": "none", "subject_type": "pairwise"}
    victim = world.register(redirect_uris=[VICTIM], subject_type="pairwise")
    answer = world.try_to_register(redirect_uris=[uri], **native)
    if answer.status_code != 201:
        refused(answer, "invalid_redirect_uri")
        return
    again = world.register(redirect_uris=[uri], **native)
    names = [sub_of(world, each) for each in (victim.client_id, answer.json["client_id"], again.client_id)]
    assert len({sub for sub, _ in names}) == len({sid for _, sid in names}) == 3


def test_who_registers_anothers_redirect_uris_is_not_told_its_names_at_the_sign_out(world: World) -> None:
    """The code goes to the victim; a logout token with its names would go to whoever registered."""
    uris = {"redirect_uris": [VICTIM], "subject_type": "pairwise"}
    for uri in ("http://127.0.0.1:9/logout", "https://127.0.0.1/logout"):
        refused(world.try_to_register(**uris, backchannel_logout_uri=uri), "invalid_client_metadata", "backchannel_logout_uri")
    own = world.register(**uris)
    refused(
        own.put(**uris, backchannel_logout_uri="http://127.0.0.1:9/logout"), "invalid_client_metadata", "backchannel_logout_uri"
    )
    native = {"application_type": "native", "redirect_uris": ["com.example.app:/cb"], "subject_type": "pairwise"}
    world.register(**native, backchannel_logout_uri="http://127.0.0.1:9/logout")


def test_a_client_that_changes_its_sector_changes_the_names_that_it_gets_next(world: World) -> None:
    own = world.register(redirect_uris=[VICTIM], subject_type="pairwise")
    before = sub_of(world, own.client_id)
    moved = own.put(redirect_uris=["https://other.example/cb"], subject_type="pairwise")
    assert moved.status_code == 200, moved.text
    after = sub_of(world, own.client_id)
    assert before != after
    back = own.put(moved.json["registration_access_token"], redirect_uris=[VICTIM], subject_type="pairwise")
    assert back.status_code == 200
    assert sub_of(world, own.client_id) == before


def test_a_stream_hears_the_names_of_the_sector_that_its_client_has_now(world: World) -> None:
    """A client that moves leaves the sessions in which it knew people by other names, and is told so; it hears of the new ones."""
    provider = world.provider
    own = world.register(redirect_uris=[VICTIM], subject_type="pairwise")
    neighbour = world.register(redirect_uris=["https://other.example/cb"], subject_type="pairwise")
    nothing = Configuration(None, None, None)

    def take_part(sid: str, *client_ids: str) -> str:
        with provider.database.writing() as tx:
            session = provider.sessions.hold(tx, sid)
            assert session is not None
            for client_id in client_ids:
                client = provider.clients.get(tx, client_id)
                assert client is not None
                provider.sessions.take_part(tx, session, client)
            first = provider.clients.get(tx, client_ids[0])
            assert first is not None
            return provider.sessions.sid_for(tx, first, sid)

    with provider.database.writing() as tx:
        sids = [provider.sessions.start(tx, SignIn(f"person-{n}", "pwd", "-", "-")).session.sid for n in range(3)]
        before = provider.streams.create(tx, own.client_id, nothing)
    told = [take_part(sids[0], own.client_id)]
    moved = own.put(redirect_uris=["https://other.example/cb"], subject_type="pairwise")
    assert moved.status_code == 200, moved.text
    told.append(take_part(sids[1], own.client_id, neighbour.client_id))
    others = take_part(sids[2], neighbour.client_id)
    with provider.database.writing() as tx:
        after = provider.streams.create(tx, own.client_id, nothing)
        for sid in sids:
            provider.logout.end_session(tx, sid, Reason.OPERATOR)
    with provider.database.reading() as tx:
        streams = provider.streams.found(tx, [before.stream_id, after.stream_id])
        events = signals_store.of_sessions(tx, sids)
    assert {stream.sector for stream in streams.values()} == {"other.example"}
    for stream in streams.values():
        heard = {signal.subject["session"]["id"] for signal in events if stream.hears(signal)}
        assert heard == {told[1], others}
        assert not heard & set(sids)
