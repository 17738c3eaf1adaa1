"""docs/threats.md 3, 16, 40 to 44, 46: what strangers may do at `/register`, and what a registered client may do to people and to us."""

import base64
import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest

from idp.runtime.secrets import digest
from tests.clients.conftest import by_token, narrow, world
from tests.clients.registering import METADATA, Own, World, refused
from tests.clients.registering import site as a_site

__all__ = ["by_token", "narrow", "world"]

# -- 3: redirect URIs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "http://app.example/cb",
        "https://*.app.example/cb",
        "https://app.example/cb#fragment",
        "https://user:password@app.example/cb",
        "https://app.example\\@evil.example/cb",
        "https://app.example/c b",
        "https://app.example/\x00",
        "https://app.example/\r\nX: y",
        "//app.example/cb",
        "app.example/cb",
        "https:///cb",
        "https://",
        "",
        "https://app.example:0/cb",
        "https://app.example:99999/cb",
        "https://аpp.example/cb",
    ],
)
def test_a_redirect_uri_that_could_lead_astray_is_not_registered(world: World, uri: str) -> None:
    refused(world.try_to_register(redirect_uris=["https://app.example/callback", uri]), "invalid_redirect_uri", "redirect_uris")
    own = world.register()
    refused(own.put(redirect_uris=[uri]), "invalid_redirect_uri")


# -- 40: addresses ----------------------------------------------------------------------------------------------------

PLACES = [
    "127.0.0.1",
    "169.254.169.254",
    "10.1.2.3",
    "100.64.0.1",
    "[::1]",
    "[::ffff:10.0.0.1]",
    "[64:ff9b::a00:1]",
    "224.0.0.1",
]
ODD = ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "1.2.3.08"]


@pytest.fixture(scope="module")
def public_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Under an https issuer nothing local is allowed."""
    url = f"sqlite:///{tmp_path_factory.mktemp('https') / 'idp.sqlite3'}"
    return World.build(url, issuer="https://idp.example", clients_registration_hourly=100_000)


@pytest.mark.parametrize("name", ["backchannel_logout_uri", "jwks_uri", "sector_identifier_uri", "request_uris"])
@pytest.mark.parametrize("place", PLACES + ODD)
def test_an_address_that_we_must_not_contact_is_not_registered(public_world: World, name: str, place: str) -> None:
    uri = f"https://{place}/x"
    answer = public_world.try_to_register(**{name: [uri] if name == "request_uris" else uri})
    refused(answer, "invalid_client_metadata", name)


def test_a_name_that_leads_to_us_is_not_registered_nor_contacted_later(
    public_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is public while it is looked at, and private when it is to be fetched."""
    found: list[str] = ["93.184.216.34"]
    resolve: Sequence[str] = found
    outbound = public_world.provider.outbound
    monkeypatch.setattr(outbound._lookups, "_resolver", lambda _host, _port: list(resolve))
    answer = public_world.try_to_register(jwks_uri="https://rebinding.example/jwks")
    assert answer.status_code == 201
    found[:] = ["169.254.169.254"]
    refused(public_world.try_to_register(jwks_uri="https://rebinding.example/jwks"), "invalid_client_metadata", "jwks_uri")
    client = public_world.provider.clients.find(answer.json["client_id"])
    assert client is not None
    from idp.clients.keys import ClientKeysError

    with pytest.raises(ClientKeysError):
        public_world.provider.clients.keys_of(client)


def test_request_uris_do_not_make_us_look_up_names_without_end(world: World) -> None:
    uris = [f"https://{number}.example/r" for number in range(32)]
    refused(world.try_to_register(request_uris=uris), "invalid_client_metadata", "request_uris")


# -- 42: floods -------------------------------------------------------------------------------------------------------


def test_an_address_has_so_many_tries_an_hour_and_refused_ones_count(narrow: World) -> None:
    narrow.address = "203.0.113.1"
    for _ in range(5):
        refused(narrow.try_to_register(client_name=""), "invalid_client_metadata")
    answer = narrow.try_to_register()
    refused(answer, "temporarily_unavailable", status=429)
    assert 0 < int(answer.headers["Retry-After"]) <= 3600
    narrow.address = "203.0.113.2"
    assert narrow.register().delete().status_code == 204
    narrow.address = "203.0.113.1"
    narrow.clock.now += 3601
    assert narrow.register().delete().status_code == 204


def test_a_whole_network_of_ipv6_is_one_address(narrow: World) -> None:
    for number in range(5):
        narrow.address = f"2001:db8:1:2::{number:x}"
        refused(narrow.try_to_register(client_name=""), "invalid_client_metadata")
    narrow.address = "2001:db8:1:2:ffff:ffff:ffff:ffff"
    refused(narrow.try_to_register(), "temporarily_unavailable", status=429)


def test_what_a_client_says_of_its_address_changes_nothing(narrow: World) -> None:
    narrow.address = "203.0.113.9"
    for number in range(6):
        answer = narrow.web.post(
            "/register",
            data=json.dumps(METADATA | {"client_name": ""}),
            content_type="application/json",
            headers={"X-Forwarded-For": f"198.18.0.{number}", "Forwarded": f"for=198.18.0.{number}"},
            environ_overrides={"REMOTE_ADDR": narrow.address},
        )
    assert answer.status_code == 429


def test_no_number_of_addresses_at_once_registers_more_than_may_live(narrow: World) -> None:
    def attempt(number: int) -> int:
        other = World(narrow.provider, narrow.clock, f"192.0.2.{number}")
        return other.try_to_register().status_code

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(attempt, range(40)))
    assert narrow.count() == 8
    assert answers.count(201) <= 8
    assert set(answers) == {201, 429}
    narrow.clock.now += 86_401
    narrow.provider.reaper.reap()
    assert narrow.count() == 0
    narrow.address = "192.0.2.200"
    assert narrow.register()


def test_an_initial_token_registers_no_more_than_its_uses_however_many_try_at_once(by_token: World) -> None:
    token = by_token.initial_token(uses=3)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: by_token.try_to_register(token).status_code, range(24)))
    assert sorted(answers) == [201] * 3 + [401] * 21


def test_where_a_token_is_demanded_strangers_make_us_fetch_nothing(by_token: World) -> None:
    asked: list[str] = []

    class Documents(dict[str, object]):
        def get(self, path: str, default: object = None) -> object:
            asked.append(path)
            return default

    with a_site(Documents()) as home:
        refused(by_token.try_to_register(sector_identifier_uri=f"{home}/uris"), "invalid_token", status=401)
        refused(by_token.try_to_register("x", sector_identifier_uri=f"{home}/uris"), "invalid_token", status=401)
    assert asked == []


# -- 43: tokens and reach ---------------------------------------------------------------------------------------------


def test_the_token_of_one_client_opens_no_other(world: World) -> None:
    one, other = world.register(), world.register()
    for answer in (one.get(other.token), one.put(other.token), one.delete(other.token)):
        refused(answer, "invalid_token", status=401)
    assert one.get().status_code == 200
    assert one.can_authenticate()


def jwt_of_alg_none(client_id: str) -> str:
    parts = [{"alg": "none"}, {"sub": client_id, "client_id": client_id, "aud": "registration", "exp": 2**40}]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + "."


def test_nothing_but_its_own_token_opens_a_registration(world: World) -> None:
    own = world.register(grant_types=["authorization_code"])
    secret = str(own.answer["client_secret"])
    trusted = world.register(world.initial_token(), grant_types=["client_credentials"])
    access_token = world.web.post(
        "/token", data={"grant_type": "client_credentials"}, auth=(trusted.client_id, str(trusted.answer["client_secret"]))
    ).json["access_token"]
    guesses = [
        jwt_of_alg_none(own.client_id),
        own.client_id,
        secret,
        access_token,
        world.initial_token(),
        own.token[:-1],
        own.token + "x",
        own.token.swapcase(),
        "",
        "null",
        "\x7f",
    ]
    for guess in guesses:
        for answer in (own.get(guess or " "), own.put(guess or " "), own.delete(guess or " ")):
            refused(answer, "invalid_token", status=401)
    refused(trusted.get(access_token), "invalid_token", status=401)
    assert own.get().status_code == 200


def test_a_registration_token_registers_nobody_and_authenticates_nobody(by_token: World) -> None:
    own = by_token.register(by_token.initial_token(uses=2))
    refused(by_token.try_to_register(own.token), "invalid_token", status=401)
    assert by_token.web.post("/revoke", data={"token": "x"}, auth=(own.client_id, own.token)).status_code == 401
    assert by_token.web.get("/userinfo", headers={"Authorization": f"Bearer {own.token}"}).status_code == 401


def test_a_token_counts_in_the_header_only(world: World) -> None:
    own = world.register()
    for path in (f"{own.path}?access_token={own.token}", f"{own.path}?registration_access_token={own.token}"):
        refused(world.send("GET", path), "invalid_token", status=401)
        refused(world.send("DELETE", path), "invalid_token", status=401)
    for scheme in ("Basic", "Token", ""):
        answer = world.web.get(own.path, headers={"Authorization": f"{scheme} {own.token}".strip()})
        refused(answer, "invalid_token", status=401)


@pytest.mark.parametrize("client_id", ["unknown", "%00", "a%00b", "%ff", "..", "' OR 1=1 --", "x" * 4000, "%F0%9F%92%A9"])
def test_an_unknown_client_and_a_wrong_token_cannot_be_told_apart(world: World, client_id: str) -> None:
    own = world.register()
    wrong = own.get("wrong")
    for method in ("GET", "DELETE"):
        answer = world.send(method, f"/register/{client_id}", "wrong")
        if answer.status_code != 404:  # a path that is no client's at all
            assert (answer.status_code, answer.data) == (wrong.status_code, wrong.data)


def test_a_client_that_an_operator_added_has_no_token(world: World) -> None:
    with world.provider.database.writing() as tx:
        client_id = world.provider.clients.add(tx, METADATA).client.client_id
    for guess in ("", "None", "null", client_id):
        refused(world.send("GET", f"/register/{client_id}", guess or None), "invalid_token", status=401)


def test_of_two_updates_with_one_token_one_wins(world: World) -> None:
    own = world.register()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: own.put(client_name=f"Name {number}"), range(8)))
    winners = [answer for answer in answers if answer.status_code == 200]
    assert len(winners) == 1
    assert {answer.status_code for answer in answers} == {200, 401}
    assert own.get(winners[0].json["registration_access_token"]).json["client_name"] == winners[0].json["client_name"]


def test_the_token_before_an_update_repeats_that_update_and_makes_no_other(world: World) -> None:
    """Else whoever kept an old token could undo what its owner did."""
    own, other = world.register(), world.register()
    updated = own.put(client_name="By the owner").json
    refused(own.put(redirect_uris=["https://evil.example/cb"], client_name="By the owner"), "invalid_token", status=401)
    refused(own.put(), "invalid_token", status=401)
    for answer in (other.get(own.token), other.put(own.token, client_name="By the owner"), other.delete(own.token)):
        refused(answer, "invalid_token", status=401)
    found = own.get(str(updated["registration_access_token"])).json
    assert (found["client_name"], found["redirect_uris"]) == ("By the owner", METADATA["redirect_uris"])
    refused(own.get(), "invalid_token", status=401)


def test_however_often_one_update_comes_at_once_the_last_answer_holds(world: World) -> None:
    own = world.register()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: own.put(client_name="Once"), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    with world.provider.database.reading() as tx:
        kept = world.provider.clients.get(tx, own.client_id)
    assert kept is not None
    tokens = [str(answer.json["registration_access_token"]) for answer in answers]
    good = [token for token in tokens if digest(token) == kept.registration_hash]
    assert len(good) == 1
    assert [token for token in tokens if own.get(token).status_code == 200] == good


REACH = [
    ({"first_party": True}, "first_party"),
    ({"resources": ["https://api.example/"]}, "resources"),
    ({"scope": "openid admin"}, "scope"),
    ({"scope": "reports:read"}, "scope"),
]


@pytest.mark.parametrize(("members", "word"), REACH)
def test_nobody_registers_what_only_an_operator_may_give(
    world: World, by_token: World, members: dict[str, object], word: str
) -> None:
    refused(world.try_to_register(**members), "invalid_client_metadata", word)
    refused(by_token.try_to_register(by_token.initial_token(), **members), "invalid_client_metadata", word)
    refused(world.register().put(**members), "invalid_client_metadata", word)


def test_nobody_widens_their_grants_by_an_update(world: World) -> None:
    own = world.register()
    refused(own.put(grant_types=["authorization_code", "client_credentials"]), "invalid_client_metadata", "grant_types")


@pytest.mark.parametrize(
    "members", [{"client_id": "mine"}, {"client_secret": "mine"}, {"registration_access_token": "mine"}, {"created_at": 0}]
)
def test_nobody_chooses_what_is_given(world: World, members: dict[str, object]) -> None:
    own = world.register(**members)
    assert "mine" not in json.dumps(own.answer)
    world.send("DELETE", own.path, own.token)


@pytest.mark.parametrize(
    "name",
    [
        "secret_hash",
        "secret_sealed",
        "registration_hash",
        "expires_at",
        "registration_hash_before",
        "secret_hash_before",
        "localised",
        "__class__",
        "metadata",
        "ended_at",
    ],
)
def test_our_own_fields_are_no_metadata(world: World, name: str) -> None:
    own = world.register(**{name: {"client_name#de": "<x>"}})
    assert name not in own.answer
    assert own.can_authenticate()


# -- 41, 44: what people see ------------------------------------------------------------------------------------------

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'{{7*7}}"


def login_page(own: Own, **headers: str) -> tuple[str, str]:
    """The sign-in page of a request, and its content security policy."""
    query = {
        "client_id": own.client_id,
        "redirect_uri": "https://app.example/callback",
        "response_type": "code",
        "scope": "openid",
        "state": "x",
    }
    answer = own.world.web.get(f"/authorize?{urlencode(query)}", headers=headers, follow_redirects=True)
    assert answer.status_code == 200
    return answer.text, answer.headers["Content-Security-Policy"]


def test_a_name_with_markup_is_text(world: World) -> None:
    own = world.register(client_name=MARKUP, **{"client_name#de": MARKUP + "de"})
    for language in ("en", "de"):
        page, _ = login_page(own, **{"Accept-Language": language})
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "{{7*7}}" in page


@pytest.mark.parametrize("name", ["Evil\u202egpj.exe", "a\u2066b", "\ufeffx", "a\u0000b", "a\nb", "x" * 10_240, " \u200b"])
def test_a_name_that_prints_as_something_else_or_has_no_end_is_refused(world: World, name: str) -> None:
    refused(world.try_to_register(client_name=name), "invalid_client_metadata", "client_name")
    refused(world.try_to_register(**{"client_name#de": name}), "invalid_client_metadata", "client_name")


def test_metadata_is_bounded_however_it_is_spread(world: World) -> None:
    many = {f"client_name#{first}{second}": "x" * 400 for first in "abcdef" for second in "abcdefghijklmnopqrst"}
    refused(world.try_to_register(**many), "invalid_client_metadata")


@pytest.mark.parametrize(
    "uri", ["http://app.example/logo.png", "javascript:alert(1)", "data:image/svg+xml,x", 'https://app.example/"onerror="x']
)
def test_a_link_or_logo_that_is_not_https_is_refused(world: World, uri: str) -> None:
    for name in ("logo_uri", "policy_uri", "tos_uri", "client_uri", "logo_uri#de"):
        refused(world.try_to_register(**{name: uri}), "invalid_client_metadata", name)


def test_a_logo_is_not_loaded_unless_the_operator_lets_it(world: World) -> None:
    page, policy = login_page(world.register(logo_uri="https://tracker.example/logo.png"))
    assert "tracker.example" not in page
    assert "img-src 'self';" in policy


def test_where_logos_are_allowed_only_that_one_origin_may_be_loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('logos') / 'idp.sqlite3'}"
    world = World.build(url, clients_logos=True)
    own = world.register(logo_uri="https://img.example:8443/logo.png?a=1&b=<2>".replace("<2>", "2"))
    page, policy = login_page(own)
    assert 'id="client-logo" src="https://img.example:8443/logo.png?a=1&amp;b=2"' in page
    assert "img-src 'self' https://img.example:8443;" in policy
    _, policy = login_page(world.register())
    assert "img-src 'self';" in policy
    assert "img-src 'self';" in world.web.get("/login").headers["Content-Security-Policy"]
    world.provider.database.dispose()


# -- 46, 47: what a thief finds ---------------------------------------------------------------------------------------


def test_no_secret_and_no_token_of_a_registration_is_in_the_database(world: World) -> None:
    own = world.register()
    updated = own.put()
    assert updated.status_code == 200
    with world.provider.database.reading() as tx:
        found = [tx.connection.exec_driver_sql(f"SELECT * FROM {table}").all() for table in ("clients", "registration_quotas")]
    assert own.token not in repr(found)
    assert updated.json["registration_access_token"] not in repr(found)
    assert str(own.answer["client_secret"]) not in repr(found)
    assert world.address not in repr(found)


def test_no_secret_and_no_token_of_a_registration_is_in_the_log(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    own = world.register()
    own.put()
    own.get("a-wrong-token-that-was-presented")
    captured = capsys.readouterr()
    logged = captured.out + captured.err
    for secret in (own.token, str(own.answer["client_secret"]), "a-wrong-token-that-was-presented"):
        assert not re.search(re.escape(secret), logged)
