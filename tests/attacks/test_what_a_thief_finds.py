"""docs/threats.md 7, 46, 47: neither the server's log nor its database holds anything that opens anything."""

import time
from base64 import urlsafe_b64decode
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlencode

import jwt
import pytest
from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import URLSafeTimedSerializer
from sqlalchemy import text

from idp.runtime.secrets import Secrets
from idp.tokens import refresh
from tests.support import http
from tests.support.browsing import Person
from tests.support.relying_party import Receiver, RelyingParty
from tests.support.serving import RunningProvider

PASSWORD = "a password that is only used here 4711"


def whole_life(provider: RunningProvider, receiver: Receiver) -> dict[str, str]:
    """Everything that a person and an app do, well and badly; every secret that was seen on the way."""
    found: dict[str, str] = {"password": PASSWORD, "wrong password": PASSWORD + " wrong"}
    name = f"carol{time.time_ns()}"
    accounts, database = provider.services.accounts, provider.services.database
    prepared = accounts.prepare(name, PASSWORD)
    with database.writing() as tx:
        accounts.add(tx, prepared)
    app = RelyingParty.register(provider, receiver=receiver, first_party=False)
    public = RelyingParty.register(provider, token_endpoint_auth_method="none")
    found["client secret"] = str(app.registration["client_secret"])

    person = Person(provider.issuer)
    login = person.open(app.authorization_url(scope="openid profile offline_access"))
    found |= {
        "state": app.state,
        "nonce": app.nonce,
        "verifier": app.verifier,
        "form token": login.forms[0].fields["csrf_token"],
    }
    found["cookie before"] = person.http.cookies["idp_session"]
    assert person.sign_in(login, name, found["wrong password"]).main == "login-page"
    assert person.sign_in(login, found["password"], name).main == "login-page"  # typed into the wrong field
    consent = person.sign_in(person.open(app.authorization_url(scope="openid profile offline_access")), name, PASSWORD)
    found |= {"state 2": app.state, "nonce 2": app.nonce, "verifier 2": app.verifier}
    found["cookie"] = person.http.cookies["idp_session"]
    page = person.submit(consent, "consent-allow")
    found["code"] = app.code_from(page)
    found["unused code"] = RelyingParty.code_from(
        app, person.open(app.authorization_url(scope="openid profile offline_access"))
    )
    verifier, app.verifier = app.verifier, found["verifier 2"]
    tokens = app.redeem(found["code"]).json()
    app.verifier = verifier
    found |= {f"first {kind}": tokens[kind] for kind in ("access_token", "id_token", "refresh_token")}
    refreshed = app.refresh(tokens["refresh_token"]).json()
    found |= {f"second {kind}": refreshed[kind] for kind in ("access_token", "id_token", "refresh_token")}
    bound = public.sign_in(person)
    found |= {f"public {kind}": bound[kind] for kind in ("access_token", "id_token", "refresh_token")}

    app.userinfo(found["second access_token"])
    app.introspect(found["second access_token"])
    app.introspect(found["second refresh_token"])
    app.redeem(found["code"])  # a replay
    app.revoke(found["first access_token"])
    public.revoke(found["public refresh_token"])
    http.get(f"{provider.issuer}/userinfo", params={"access_token": found["public access_token"]})
    http.get(f"{provider.issuer}/authorize", params={"code": found["unused code"], "client_id": app.client_id})
    http.get(f"{provider.issuer}/nowhere/{found['unused code']}", params={"token": found["public id_token"]})
    http.post(
        f"{provider.issuer}/token", data={"client_id": app.client_id, "client_secret": found["client secret"], "code": "x"}
    )
    http.post(f"{provider.issuer}/login", data={"username": name, "password": PASSWORD})
    person.open(f"logout?{urlencode({'id_token_hint': found['public id_token']})}")
    found["logout token"] = receiver.wait()[0]
    found["device"] = person.http.cookies.get("idp_device", PASSWORD)
    person.http.close()
    return found


@pytest.fixture(scope="module")
def seen(provider: RunningProvider) -> dict[str, str]:
    receiver = Receiver()
    try:
        return whole_life(provider, receiver)
    finally:
        receiver.close()


def spellings(secret: str) -> set[bytes]:
    """A secret as it may stand somewhere. A JWT is worth nothing without its signature."""
    secret = secret.rpartition(".")[2] if secret.count(".") == 2 else secret
    return {secret.encode(), quote(secret).encode(), quote(secret, safe="").encode(), secret.replace(" ", "+").encode()}


def test_the_log_holds_no_secret(provider: RunningProvider, seen: dict[str, str]) -> None:
    log = provider.log_file.read_bytes()
    assert b"session.started" in log
    assert b"token.issued" in log
    for name, secret in seen.items():
        assert len(secret) >= 16
        for spelling in spellings(secret):
            assert spelling not in log, f"the {name} stands in the log"


#: What a request carries and the app must get back: it opens nothing by itself.
_KEPT = {"state", "state 2", "nonce", "nonce 2"}


def test_the_database_holds_no_secret(provider: RunningProvider, seen: dict[str, str]) -> None:
    stored = _dump(provider)
    for name, secret in seen.items():
        if name not in _KEPT:
            for spelling in spellings(secret):
                assert spelling not in stored, f"the {name} stands in the database"
    for marker in (b"PRIVATE KEY", b'"d":', b'"d": ', b"a test secret that is long enough"):
        assert marker not in stored
    kept = provider.data_dir / "secret_key"
    if kept.exists():
        assert kept.read_bytes() not in stored


def _dump(provider: RunningProvider) -> bytes:
    """Every byte of the database: the file and its journal, or every row."""
    database = provider.services.database
    with database.reading() as tx:
        if database.dialect == "sqlite":
            names = tx.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars().all()
        else:
            names = tx.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")).scalars().all()
        assert {"sessions", "token_families", "authorization_codes", "clients", "signing_keys"} <= set(names)
        rows = [row for name in names for row in tx.execute(text(f'SELECT * FROM "{name}"')).all()]
    stored = b"\n".join(value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row)
    return stored + b"".join(path.read_bytes() for path in sorted(Path(provider.data_dir).glob("*.sqlite3*")))


def test_the_processes_show_no_secret_in_their_arguments(provider: RunningProvider) -> None:
    assert provider.process is not None
    arguments = Path(f"/proc/{provider.process.pid}/cmdline").read_bytes()
    assert b"secret" not in arguments.lower()
    assert b"password" not in arguments.lower()


# What is kept of a secret opens nothing in the form in which the secret itself is taken; each test shows that this is taken.


def _kept(provider: RunningProvider, statement: str, named: object) -> str:
    with provider.services.database.reading() as tx:
        return str(tx.execute(text(statement), {"of": named}).scalar_one())


def test_what_is_kept_of_a_clients_secret_authenticates_nobody(provider: RunningProvider) -> None:
    app = RelyingParty.register(provider)
    kept = _kept(provider, "SELECT secret_hash FROM clients WHERE client_id = :of", app.client_id)
    for secret, status in ((kept, 401), (str(app.registration["client_secret"]), 200)):
        answer = http.post(f"{provider.issuer}/introspect", data={"token": "x"}, auth=(app.client_id, secret))
        assert answer.status_code == status


def test_what_is_kept_of_a_code_is_not_redeemed(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    app.sign_in(person)
    code = app.code_from(person.open(app.authorization_url()))
    kept = _kept(provider, "SELECT code_hash FROM authorization_codes WHERE client_id = :of AND used_at IS NULL", app.client_id)
    assert app.redeem(kept).json()["error"] == "invalid_grant"
    assert app.redeem(code).status_code == 200


def test_what_is_kept_of_a_browsers_session_signs_nobody_in(provider: RunningProvider, person: Person) -> None:
    """Even in a cookie signed as ours are."""
    tokens = RelyingParty.register(provider).sign_in(person)
    sid = jwt.decode(tokens["id_token"], options={"verify_signature": False})["sid"]
    kept = _kept(provider, "SELECT cookie_hash FROM sessions WHERE sid = :of", sid)
    cookies = _cookies(provider.services.secrets)
    browser = cookies.loads(person.http.cookies["idp_session"])
    for secret, status in ((kept, 303), (browser["_user_id"], 200)):
        cookie = cookies.dumps(browser | {"_user_id": secret})
        assert http.get(f"{provider.issuer}/account", cookies={"idp_session": cookie}).status_code == status


def test_what_is_kept_of_a_refresh_token_brings_no_tokens(provider: RunningProvider, person: Person) -> None:
    """Even in a refresh token with a tag as ours have. It ends its family, so that it is another whose own secret is taken."""
    app = RelyingParty.register(provider)
    keys = provider.services.secrets
    stolen, other = (refresh.read(app.sign_in(person)["refresh_token"], keys) for _ in range(2))
    assert stolen is not None
    assert other is not None
    kept = _kept(provider, "SELECT secret_hash FROM token_families WHERE family_id = :of", stolen.family_id)
    made = replace(stolen, secret=urlsafe_b64decode(kept + "="))
    assert app.refresh(made.text(keys)).json()["error"] == "invalid_grant"
    assert app.refresh(replace(other, secret=other.secret).text(keys)).status_code == 200


def _cookies(keys: Secrets) -> URLSafeTimedSerializer:
    """Reads and writes the browser's cookie, as whoever has IDP_SECRET_KEY can."""
    web = Flask("thief")
    web.secret_key = keys.key("browser cookie")
    serializer = SecureCookieSessionInterface().get_signing_serializer(web)
    assert serializer is not None
    return serializer
