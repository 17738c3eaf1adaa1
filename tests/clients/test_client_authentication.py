"""Client authentication (RFC 6749 §2.3): one method, the registered one, and every refusal the same."""

from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import quote_plus

import pytest
from authlib.oauth2.rfc6749.errors import InvalidRequestError, OAuth2Error
from hypothesis import example, given, settings
from hypothesis import strategies as st

from idp.clients import ending
from idp.clients.authentication import ClientAuthenticationError, Presented, authenticate
from idp.clients.models import ClientOriginRow, ClientRow
from idp.clients.rules import Client
from idp.clients.service import ClientService, Registration
from idp.runtime.database import Base, Database, table_of

METADATA = {"redirect_uris": ["https://app.example/callback"]}
ENDPOINTS = ("token", "introspection", "revocation")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path_factory.mktemp('clients') / 'db.sqlite3'}")
    Base.metadata.create_all(made.engine, tables=[table_of(ClientRow), table_of(ClientOriginRow)])
    yield made
    made.dispose()


@pytest.fixture(scope="module")
def clients(database: Database) -> ClientService:
    return ClientService(database, cache_seconds=5, loopback_http=False)


@pytest.fixture(scope="module")
def registered(database: Database, clients: ClientService) -> dict[str, Registration]:
    """One client for each method."""
    with database.writing() as tx:
        methods = ("client_secret_basic", "client_secret_post", "none")
        return {method: clients.add(tx, METADATA | {"token_endpoint_auth_method": method}) for method in methods}


def basic(client_id: str, secret: str, *, encode: bool = True) -> dict[str, str]:
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}" if encode else f"{client_id}:{secret}"
    return {"Authorization": "Basic " + b64encode(pair.encode()).decode()}


def refusal(clients: ClientService, headers: dict[str, str], form: dict[str, str], endpoint: str = "token") -> OAuth2Error:
    with pytest.raises(OAuth2Error) as refused:
        authenticate(clients, headers, form, endpoint)
    return refused.value


def sent(registration: Registration) -> tuple[dict[str, str], dict[str, str]]:
    """Headers and form with which a client authenticates as it registered."""
    client, secret = registration.client, registration.secret
    match client.token_endpoint_auth_method:
        case "client_secret_basic":
            return basic(client.client_id, str(secret)), {}
        case "client_secret_post":
            return {}, {"client_id": client.client_id, "client_secret": str(secret)}
    return {}, {"client_id": client.client_id}


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "none"])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_registered_method_is_accepted_everywhere(
    clients: ClientService, registered: dict[str, Registration], method: str, endpoint: str
) -> None:
    headers, form = sent(registered[method])
    assert authenticate(clients, headers, form, endpoint) == registered[method].client


def test_basic_may_repeat_the_client_id_in_the_form(clients: ClientService, registered: dict[str, Registration]) -> None:
    headers, _ = sent(registered["client_secret_basic"])
    client_id = registered["client_secret_basic"].client.client_id
    assert authenticate(clients, headers, {"client_id": client_id}, "token").client_id == client_id
    other = registered["client_secret_post"].client.client_id
    assert isinstance(refusal(clients, headers, {"client_id": other}), InvalidRequestError)


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
def test_the_scheme_is_case_insensitive(clients: ClientService, registered: dict[str, Registration], scheme: str) -> None:
    headers, _ = sent(registered["client_secret_basic"])
    credentials = headers["Authorization"].partition(" ")[2]
    assert authenticate(clients, {"Authorization": f"{scheme} {credentials}"}, {}, "token")


def test_both_parts_of_basic_are_form_encoded(clients: ClientService, registered: dict[str, Registration]) -> None:
    registration = registered["client_secret_basic"]
    pair = "".join(f"%{byte:02X}" for byte in registration.client.client_id.encode())
    pair += ":" + "".join(f"%{byte:02x}" for byte in str(registration.secret).encode())
    headers = {"Authorization": "Basic " + b64encode(pair.encode()).decode()}
    assert authenticate(clients, headers, {}, "token") == registration.client


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "none"])
def test_another_method_than_the_registered_one_is_refused_at_the_token_endpoint(
    clients: ClientService, registered: dict[str, Registration], method: str
) -> None:
    client, secret = registered[method].client, registered[method].secret or "guessed"
    ways: dict[str, tuple[dict[str, str], dict[str, str]]] = {
        "client_secret_basic": (basic(client.client_id, secret), {}),
        "client_secret_post": ({}, {"client_id": client.client_id, "client_secret": secret}),
        "none": ({}, {"client_id": client.client_id}),
    }
    del ways[method]
    for headers, form in ways.values():
        assert isinstance(refusal(clients, headers, form), ClientAuthenticationError)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_client_with_a_secret_cannot_leave_it_out_anywhere(
    clients: ClientService, registered: dict[str, Registration], endpoint: str
) -> None:
    for method in ("client_secret_basic", "client_secret_post"):
        form = {"client_id": registered[method].client.client_id}
        assert isinstance(refusal(clients, {}, form, endpoint), ClientAuthenticationError)


@pytest.mark.parametrize("endpoint", ["introspection", "revocation"])
def test_elsewhere_a_secret_may_come_by_either_way_but_must_be_right(
    clients: ClientService, registered: dict[str, Registration], endpoint: str
) -> None:
    for method in ("client_secret_basic", "client_secret_post"):
        client, secret = registered[method].client, str(registered[method].secret)
        assert authenticate(clients, basic(client.client_id, secret), {}, endpoint) == client
        assert authenticate(clients, {}, {"client_id": client.client_id, "client_secret": secret}, endpoint) == client
        refusal(clients, basic(client.client_id, secret + "x"), {}, endpoint)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_public_client_cannot_pretend_to_have_a_secret(
    clients: ClientService, registered: dict[str, Registration], endpoint: str
) -> None:
    client_id = registered["none"].client.client_id
    for secret in ("x", "None", "null"):
        assert isinstance(refusal(clients, basic(client_id, secret), {}, endpoint), ClientAuthenticationError)
        form = {"client_id": client_id, "client_secret": secret}
        assert isinstance(refusal(clients, {}, form, endpoint), ClientAuthenticationError)


def test_two_methods_at_once_are_refused_even_when_both_are_right(
    clients: ClientService, registered: dict[str, Registration]
) -> None:
    registration = registered["client_secret_basic"]
    headers, _ = sent(registration)
    for secret in (str(registration.secret), "wrong"):
        form = {"client_id": registration.client.client_id, "client_secret": secret}
        assert isinstance(refusal(clients, headers, form), InvalidRequestError)
    assert isinstance(refusal(clients, headers, {"client_secret": "x"}), InvalidRequestError)


def test_an_assertion_is_refused_beside_anything(clients: ClientService, registered: dict[str, Registration]) -> None:
    headers, form = sent(registered["client_secret_basic"])
    for name in ("client_assertion", "client_assertion_type"):
        assert isinstance(refusal(clients, headers, form | {name: "x"}), InvalidRequestError)


SECRET_CHANGES = {
    "nul appended": lambda secret: secret + "\x00",
    "nuls appended": lambda secret: secret + "\x00" * 20,
    "shortened": lambda secret: secret[:-1],
    "space appended": lambda secret: secret + " ",
    "newline appended": lambda secret: secret + "\n",
    "other case": lambda secret: secret.swapcase(),
    "empty": lambda _: "",
    "very long": lambda secret: secret * 1000,
}


@pytest.mark.parametrize("change", SECRET_CHANGES.values(), ids=SECRET_CHANGES.keys())
def test_a_secret_that_is_nearly_right_is_wrong(clients: ClientService, registered: dict[str, Registration], change) -> None:
    registration = registered["client_secret_basic"]
    client_id, secret = registration.client.client_id, str(registration.secret)
    for encode in (True, False):
        error = refusal(clients, basic(client_id, change(secret), encode=encode), {})
        assert isinstance(error, ClientAuthenticationError)


@pytest.mark.parametrize(
    "credentials",
    [
        "",
        "=",
        "!!!!",
        "ä",
        "\x00",
        b64encode(b"").decode(),
        b64encode(b":").decode(),
        b64encode(b"id").decode(),
        b64encode(b"id:").decode(),
        b64encode(b":secret").decode(),
        b64encode(b"\xff\xfe:\xff").decode(),
        b64encode(b"%ff:%fe").decode(),
        b64encode(b"%00:%00").decode(),
        b64encode(b"\x00:\x00").decode(),
        b64encode(b"a\x00b:secret").decode(),
        b64encode(b"id:secret").decode() + "\n",
        b64encode(b"id:secret").decode() + " x",
        b64encode(b"id" * 5000 + b":secret").decode(),
    ],
)
@pytest.mark.parametrize("scheme", ["Basic ", "Basic", "Bearer ", "", "Basic  "])
def test_credentials_that_are_garbage_are_refused_like_any_others(
    clients: ClientService, scheme: str, credentials: str
) -> None:
    assert isinstance(refusal(clients, {"Authorization": scheme + credentials}, {}), ClientAuthenticationError)


def test_an_unknown_client_and_a_wrong_secret_cannot_be_told_apart(
    clients: ClientService, registered: dict[str, Registration]
) -> None:
    known = registered["client_secret_basic"].client.client_id
    post = registered["client_secret_post"].client.client_id
    public = registered["none"].client.client_id
    answers = [
        refusal(clients, basic(known, "wrong"), {})(),
        refusal(clients, basic("unknown", "wrong"), {})(),
        refusal(clients, {}, {"client_id": "unknown"})(),
        refusal(clients, {}, {"client_id": known})(),
        refusal(clients, {}, {"client_id": post, "client_secret": "wrong"})(),
        refusal(clients, {}, {"client_id": public, "client_secret": "wrong"})(),
        refusal(clients, {}, {})(),
        refusal(clients, {"Authorization": "Basic garbage"}, {})(),
    ]
    assert all(answer == answers[0] for answer in answers)
    status, body, headers = answers[0]
    assert status == 401
    assert body["error"] == "invalid_client"
    assert any(name == "WWW-Authenticate" and value.startswith("Basic ") for name, value in headers)


def test_a_removed_client_is_an_unknown_one(database: Database, clients: ClientService) -> None:
    with database.writing() as tx:
        registration = clients.add(tx, METADATA)
    headers, form = sent(registration)
    assert authenticate(clients, headers, form, "token")
    with database.writing() as tx:
        assert ending.mark_removed(tx, registration.client.client_id)
    clients.forget(registration.client.client_id)
    assert isinstance(refusal(clients, headers, form), ClientAuthenticationError)


def test_what_is_presented_shows_no_secret_when_it_is_printed() -> None:
    assert "s3cret" not in repr(Presented("client_secret_basic", "id", "s3cret"))


def test_secrets_are_stored_as_hashes_only(database: Database, registered: dict[str, Registration]) -> None:
    with database.reading() as tx:
        rows = tx.connection.exec_driver_sql("SELECT * FROM clients").all()
    for registration in registered.values():
        assert registration.secret is None or registration.secret not in repr(rows)


@given(
    st.binary(max_size=60),
    st.text(max_size=20),
    st.dictionaries(st.sampled_from(["client_id", "client_secret"]), st.text(min_size=1, max_size=20)),
)
@example(b"\x00:\x00", "Basic ", {})
@settings(deadline=None)
def test_nothing_in_a_header_or_form_breaks_it(raw: bytes, scheme: str, form: dict[str, str]) -> None:
    service = _Nobody()
    for header in (
        scheme + b64encode(raw).decode(),
        "Basic " + b64encode(raw).decode(),
        "Basic " + raw.decode("latin-1"),
        scheme,
    ):
        with pytest.raises(OAuth2Error):
            authenticate(service, {"Authorization": header}, form, "token")


class _Nobody(ClientService):
    """Knows no client, and sees that it is asked for none that PostgreSQL would choke on."""

    def __init__(self) -> None:
        """No database."""

    def find(self, client_id: str | None) -> Client | None:
        assert client_id is not None
        assert "\x00" not in client_id
        client_id.encode()
        return None
