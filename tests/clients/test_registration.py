"""`/register`: clients register themselves (RFC 7591, OpenID Registration 1.0) and manage what they registered (RFC 7592)."""

import json

import pytest

from idp.runtime.paging import Page
from tests.clients.keys import public, rsa
from tests.clients.registering import ISSUER, METADATA, World, refused, site


def test_a_client_registers_and_is_told_everything_that_holds_for_it(world: World) -> None:
    answer = world.try_to_register(contacts=["ops@app.example"], **{"client_name#de": "Eine App"}, unknown_member=[1])
    assert answer.status_code == 201
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"
    told = answer.json
    assert told["client_id_issued_at"] == int(world.clock.now)
    assert told["client_secret_expires_at"] == 0
    assert told["registration_client_uri"] == f"{ISSUER}/register/{told['client_id']}"
    assert len(told["registration_access_token"]) >= 43
    assert told["redirect_uris"] == METADATA["redirect_uris"]
    assert (told["grant_types"], told["response_types"]) == (["authorization_code"], ["code"])
    assert told["token_endpoint_auth_method"] == "client_secret_basic"
    assert told["id_token_signed_response_alg"] == "RS256"
    assert told["client_name#de"] == "Eine App"
    assert "unknown_member" not in told


@pytest.mark.parametrize(
    "method", ["client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none"]
)
def test_only_a_client_that_needs_a_secret_is_given_one(world: World, method: str) -> None:
    keys = {"jwks": public(rsa())} if method == "private_key_jwt" else {}
    told = world.register(token_endpoint_auth_method=method, **keys).answer
    assert ("client_secret" in told) == method.startswith("client_secret")
    assert ("client_secret_expires_at" in told) == ("client_secret" in told)


def test_a_client_that_registered_itself_can_authenticate(world: World) -> None:
    assert world.register().can_authenticate()


def test_a_client_reads_what_it_registered(world: World) -> None:
    own = world.register()
    answer = own.get()
    assert answer.status_code == 200
    assert answer.json == {name: value for name, value in own.answer.items() if not name.startswith("client_secret")}
    assert own.get().status_code == 200


def test_an_update_puts_everything_in_the_place_of_what_was_there(world: World) -> None:
    own = world.register(contacts=["ops@app.example"], token_endpoint_auth_method="client_secret_post")
    answer = own.put(client_name="Another name", token_endpoint_auth_method="client_secret_post")
    assert answer.status_code == 200, answer.text
    assert answer.json["client_name"] == "Another name"
    assert "contacts" not in answer.json
    assert answer.json["client_id"] == own.client_id
    assert "client_secret" not in answer.json
    client = world.provider.clients.find(own.client_id)
    assert client is not None
    assert client.client_name == "Another name"
    assert client.check_client_secret(str(own.answer["client_secret"]))


@pytest.mark.parametrize("use", ["get", "put", "refused put"])
def test_an_update_rotates_the_token_and_once_the_new_one_is_used_the_old_one_opens_nothing(world: World, use: str) -> None:
    own = world.register()
    rotated = str(own.put().json["registration_access_token"])
    assert rotated != own.token
    if use == "get":
        assert own.get(rotated).status_code == 200
    elif use == "put":
        rotated = str(own.put(rotated).json["registration_access_token"])
    else:
        assert own.put(rotated, client_name="").status_code == 400
    for answer in (own.get(), own.put(), own.delete()):
        refused(answer, "invalid_token", status=401)
    assert own.get(rotated).status_code == 200


def test_an_update_whose_answer_was_lost_can_be_repeated(world: World) -> None:
    own = world.register()
    lost = own.put(client_name="Another name").json
    assert own.get().json["client_name"] == "Another name"  # did it arrive? The old token may ask
    again = own.put(client_name="Another name")
    assert again.status_code == 200, again.text
    assert again.json == lost | {"registration_access_token": again.json["registration_access_token"]}
    refused(own.get(lost["registration_access_token"]), "invalid_token", status=401)
    assert own.put(client_name="Another name").status_code == 200
    rotated = str(own.put(client_name="Another name").json["registration_access_token"])
    assert own.get(rotated).json["client_name"] == "Another name"
    refused(own.put(client_name="Another name"), "invalid_token", status=401)


def test_a_client_that_lost_an_answer_can_still_remove_itself(world: World) -> None:
    own = world.register()
    lost = own.put().json
    assert own.delete().status_code == 204
    for token in (own.token, str(lost["registration_access_token"])):
        refused(own.get(token), "invalid_token", status=401)


def test_only_the_last_token_but_one_can_repeat_anything(world: World) -> None:
    own = world.register()
    second = str(own.put().json["registration_access_token"])
    own.put(second)
    refused(own.put(), "invalid_token", status=401)
    assert own.put(second).status_code == 200


@pytest.mark.parametrize("repeats_its_secret", [False, True])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("client_secret_basic", "client_secret_post"),
        ("client_secret_basic", "client_secret_jwt"),
        ("client_secret_jwt", "client_secret_jwt"),
        ("client_secret_jwt", "client_secret_basic"),
        ("none", "client_secret_basic"),
        ("none", "client_secret_jwt"),
        ("client_secret_basic", "none"),
    ],
)
def test_a_secret_that_was_in_a_lost_answer_is_given_when_it_is_repeated(
    world: World, before: str, after: str, repeats_its_secret: bool
) -> None:
    """And one that both sides know already stays what it is."""
    own = world.register(token_endpoint_auth_method=before)
    mine = {"client_secret": own.answer["client_secret"]} if repeats_its_secret and before != "none" else {}
    lost = own.put(token_endpoint_auth_method=after, **mine)
    again = own.put(token_endpoint_auth_method=after, **mine)
    assert (lost.status_code, again.status_code) == (200, 200), again.text
    assert ("client_secret" in again.json) == ("client_secret" in lost.json)
    known = again.json.get("client_secret", own.answer.get("client_secret") if after != "none" else None)
    clients = world.provider.clients
    client = clients.find(own.client_id)
    assert client is not None
    assert (known is None) == (client.secret_hash is None)
    if known is not None:
        assert client.check_client_secret(str(known))
    opened = clients.secrets.opened(client.client_id, client.secret_sealed)
    assert opened == (str(known).encode() if after == "client_secret_jwt" else None)
    if "client_secret" in lost.json:
        assert not client.check_client_secret(lost.json["client_secret"])


def test_reading_does_not_rotate(world: World) -> None:
    own = world.register()
    assert own.get().json["registration_access_token"] == own.token


def test_an_update_to_another_method_gives_the_secret_that_is_needed(world: World) -> None:
    own = world.register(token_endpoint_auth_method="none")
    own.answer |= own.put(token_endpoint_auth_method="client_secret_basic").json
    assert own.can_authenticate()
    first = str(own.answer["client_secret"])
    own.answer |= own.put(token_endpoint_auth_method="client_secret_jwt").json
    assert own.answer["client_secret"] != first  # the first is known as a hash only
    told = own.put(token_endpoint_auth_method="client_secret_basic").json
    own.answer |= told
    assert "client_secret" not in told
    assert own.can_authenticate()
    told = own.put(token_endpoint_auth_method="private_key_jwt", jwks=public(rsa())).json
    assert "client_secret" not in told
    assert not own.can_authenticate()


@pytest.mark.parametrize(
    ("members", "word"),
    [
        ({"client_id": "another"}, "client_id"),
        ({"client_id": None}, "client_id"),
        ({"client_secret": "my own"}, "client_secret"),
        ({"client_secret": 5}, "client_secret"),
        ({"registration_access_token": "x"}, "registration_access_token"),
        ({"registration_client_uri": "https://x.example"}, "registration_client_uri"),
        ({"client_secret_expires_at": 0}, "client_secret_expires_at"),
        ({"client_id_issued_at": 0}, "client_id_issued_at"),
        ({"grant_types": ["password"]}, "grant_types"),
    ],
)
def test_an_update_that_is_refused_changes_nothing(world: World, members: dict[str, object], word: str) -> None:
    own = world.register()
    refused(own.put(**members), "invalid_client_metadata", word)
    assert own.get().json["client_name"] == METADATA["client_name"]


def test_an_update_may_repeat_the_secret(world: World) -> None:
    own = world.register()
    assert own.put(client_secret=own.answer["client_secret"]).status_code == 200


def test_a_client_removes_itself(world: World) -> None:
    own = world.register()
    answer = own.delete()
    assert (answer.status_code, answer.data) == (204, b"")
    assert not own.can_authenticate()
    for answer in (own.get(), own.put(), own.delete()):
        refused(answer, "invalid_token", status=401)


@pytest.mark.parametrize(
    ("members", "error", "word"),
    [
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri", "redirect_uris"),
        ({"redirect_uris": ["https://app.example/#x"]}, "invalid_redirect_uri", "redirect_uris"),
        ({"redirect_uris": []}, "invalid_redirect_uri", "redirect_uris"),
        ({"redirect_uris": None}, "invalid_redirect_uri", "redirect_uris"),
        ({"client_name": ""}, "invalid_client_metadata", "client_name"),
        ({"token_endpoint_auth_method": "tls_client_auth"}, "invalid_client_metadata", "token_endpoint_auth_method"),
        ({"software_statement": "e30.e30.x"}, "unapproved_software_statement", "software_statement"),
        ({"jwks": {"keys": []}}, "invalid_client_metadata", "jwks"),
        ({"tos_uri": "ftp://app.example"}, "invalid_client_metadata", "tos_uri"),
    ],
)
def test_what_cannot_be_registered_is_refused_with_the_specs_code(
    world: World, members: dict[str, object], error: str, word: str
) -> None:
    refused(world.try_to_register(**members), error, word)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 60_000, b'{"a": 1, "a": 2}', b'{"a": NaN}']
)
def test_a_body_that_is_no_json_object_is_refused(world: World, body: bytes) -> None:
    refused(world.send("POST", "/register", None, body), "invalid_client_metadata")
    own = world.register()
    refused(world.send("PUT", own.path, own.token, body), "invalid_client_metadata")


@pytest.mark.parametrize("authorization", [None, "Basic YTpi", "Bearer", "Bearer  ", "Token x"])
def test_who_shows_no_token_is_challenged_without_an_error_code(
    world: World, by_token: World, authorization: str | None
) -> None:
    """RFC 6750 §3.1: an error code is for a token that was shown."""
    own = world.register()
    shown = {} if authorization is None else {"Authorization": authorization}
    for method in ("GET", "PUT", "DELETE"):
        answer = world.web.open(own.path, method=method, headers=shown)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="register"')
    answer = by_token.web.post("/register", json=METADATA, headers=shown)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="register"')
    assert 'error="invalid_token"' in own.get("wrong").headers["WWW-Authenticate"]


def test_http_is_spoken_as_it_should_be(world: World) -> None:
    own = world.register()
    answer = world.web.post("/register", data="client_name=x")
    assert answer.status_code == 415
    answer = world.web.get("/register")
    assert (answer.status_code, answer.json["error"]) == (405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"]
    allowed = world.web.post(own.path).headers["Allow"]
    assert {"GET", "PUT", "DELETE"} <= set(allowed.split(", "))
    answer = world.send("POST", "/register", None, METADATA | {"x": "y" * 70_000})
    assert answer.status_code == 413
    assert "Access-Control-Allow-Origin" not in world.web.post("/register", headers={"Origin": "https://app.example"}).headers


def test_the_members_of_every_registration_are_answered_as_they_were_sent(world: World) -> None:
    sent = {
        "application_type": "web",
        "logo_uri": "https://app.example/logo.png",
        "policy_uri": "https://app.example/policy",
        "tos_uri": "https://app.example/tos",
        "jwks": public(rsa()),
        "subject_type": "public",
        "default_max_age": 3600,
        "require_auth_time": True,
        "default_acr_values": ["1"],
        "initiate_login_uri": "https://app.example/begin",
        "post_logout_redirect_uris": ["https://app.example/bye"],
        "backchannel_logout_session_required": True,
        "frontchannel_logout_uri": "https://app.example/front",
        "frontchannel_logout_session_required": True,
        "software_id": "x",
        "software_version": "1",
    }
    told = world.register(**sent).answer
    assert {name: told[name] for name in sent} == sent


# -- what is seen from outside ----------------------------------------------------------------------------------------


def test_a_sector_names_everybody_in_it(world: World) -> None:
    documents: dict[str, object] = {"/uris": ["https://app.example/callback", "https://other.example/cb"]}
    with site(documents) as home:
        uri = f"{home}/uris"
        both = ["https://app.example/callback", "https://other.example/cb"]
        own = world.register(redirect_uris=both, subject_type="pairwise", sector_identifier_uri=uri)
        client = world.provider.clients.find(own.client_id)
        assert client is not None
        assert client.sector == "127.0.0.1"
        refused(
            world.try_to_register(redirect_uris=["https://evil.example/cb"], sector_identifier_uri=uri),
            "invalid_client_metadata",
            "sector_identifier_uri",
            "evil.example",
        )
        for document in ({}, [1], b"[", b"[]", None, "x", [["https://app.example/callback"]]):
            documents["/uris"] = document
            refused(own.put(sector_identifier_uri=uri), "invalid_client_metadata", "sector_identifier_uri")
    refused(world.try_to_register(sector_identifier_uri=uri), "invalid_client_metadata", "sector_identifier_uri")


def test_the_keys_of_a_client_are_found_where_it_says(world: World) -> None:
    documents: dict[str, object] = {"/jwks": public(rsa())}
    with site(documents) as home:
        own = world.register(token_endpoint_auth_method="private_key_jwt", jwks_uri=f"{home}/jwks")
        client = world.provider.clients.find(own.client_id)
        assert client is not None
        assert [key.kid for key in world.provider.clients.keys_of(client).keys] == ["rsa"]


# -- initial access tokens --------------------------------------------------------------------------------------------


def test_where_a_token_is_demanded_nobody_registers_without_one(by_token: World) -> None:
    for bearer in (None, "x", "\x7f", "a" * 5000):
        answer = by_token.try_to_register(bearer)
        refused(answer, "invalid_token", status=401)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    before = by_token.count()
    by_token.register(by_token.initial_token())
    assert by_token.count() == before + 1


def test_an_initial_token_is_good_for_so_many_and_so_long(by_token: World) -> None:
    token = by_token.initial_token(uses=2)
    by_token.register(token)
    refused(by_token.try_to_register(token, grant_types=["password"]), "invalid_client_metadata")  # uses nothing up
    by_token.register(token)
    refused(by_token.try_to_register(token), "invalid_token", status=401)
    short = by_token.initial_token(lifetime=60)
    by_token.clock.now += 60
    refused(by_token.try_to_register(short), "invalid_token", status=401)


def test_an_initial_token_can_be_listed_and_revoked_and_is_not_in_the_database(by_token: World) -> None:
    database, registrations = by_token.provider.database, by_token.provider.registrations
    with database.writing() as tx:
        kept, token = registrations.make_token(tx, uses=5, lifetime=3600)
    with database.reading() as tx:
        assert kept in registrations.listed_tokens(tx, Page(10))
        assert registrations.listed_tokens(tx, Page(10, 2)) == []
        assert token not in json.dumps(
            [list(map(str, row)) for row in tx.connection.exec_driver_sql("SELECT * FROM registration_tokens")]
        )
    with database.writing() as tx:
        assert registrations.revoke_token(tx, kept.token_id)
        assert not registrations.revoke_token(tx, kept.token_id)
    refused(by_token.try_to_register(token), "invalid_token", status=401)


def test_a_token_opens_more_than_an_open_door(world: World) -> None:
    refused(world.try_to_register(grant_types=["client_credentials"]), "invalid_client_metadata", "grant_types")
    own = world.register(world.initial_token(), grant_types=["client_credentials"])
    assert own.put(grant_types=["client_credentials"]).status_code == 200
    refused(world.try_to_register("not good"), "invalid_token", status=401)


# -- time -------------------------------------------------------------------------------------------------------------


def test_a_registration_that_nobody_uses_ends_and_one_in_use_goes_on(narrow: World) -> None:
    idle, busy = narrow.register(), narrow.register()
    with narrow.provider.database.writing() as tx:
        added = narrow.provider.clients.add(tx, METADATA).client
    for _ in range(4):
        narrow.clock.now += 50_000
        assert busy.can_authenticate()
        narrow.provider.reaper.reap()
    assert not idle.can_authenticate()
    refused(idle.get(), "invalid_token", status=401)
    assert busy.can_authenticate()
    assert narrow.provider.clients.find(added.client_id) is not None
    narrow.clock.now += 86_400 + 1
    narrow.provider.reaper.reap()
    assert not busy.can_authenticate()
    assert narrow.provider.clients.find(added.client_id) is not None


def test_use_is_written_down_seldom(narrow: World) -> None:
    own = narrow.register()
    narrow.clock.now += 9000
    assert own.can_authenticate()
    until = narrow.provider.clients.find(own.client_id)
    assert until is not None
    first = until.expires_at
    narrow.clock.now += 8000
    assert own.can_authenticate()
    again = narrow.provider.clients.find(own.client_id)
    assert again is not None
    assert again.expires_at == first


def test_what_is_over_is_forgotten(by_token: World) -> None:
    by_token.initial_token(lifetime=60)
    by_token.clock.now += 8000
    by_token.provider.housekeeper.tidy()
    with by_token.provider.database.reading() as tx:
        for table in ("registration_tokens", "registration_quotas", "client_assertions"):
            assert tx.connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one() == 0
