"""Keys as relying parties meet them: other algorithms, one that is switched off, and a key that is killed."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from idp.keys.rules import REFRESH_SECONDS
from idp.protocol.signatures import half_hash
from tests.cli.running import run
from tests.support import http
from tests.support.browsing import Person
from tests.support.databases import DIALECTS
from tests.support.relying_party import Receiver, RelyingParty
from tests.support.serving import RunningProvider
from tests.support.softhsm import Token

Deploy = Callable[[str], RunningProvider]


@pytest.fixture
def deploy(tmp_path: Path) -> Iterator[Deploy]:
    """Starts the deployment anew with these algorithms switched on."""
    running = RunningProvider(tmp_path, settings={"SECRET_KEY": "a test secret that is long enough: really"})

    def start(algorithms: str) -> RunningProvider:
        running.stop()
        running.settings["KEYS_ALGORITHMS"] = algorithms
        running.__dict__.pop("services", None)
        return running.start()

    yield start
    running.close()


@contextmanager
def signed_in(provider: RunningProvider) -> Iterator[Person]:
    person = Person(provider.issuer)
    yield person
    person.http.close()


@pytest.mark.parametrize("alg", ["ES256", "PS256", "EdDSA", "RS512"])
def test_a_client_gets_id_and_logout_tokens_by_the_algorithm_that_it_registered(deploy: Deploy, alg: str) -> None:
    provider = deploy(f"RS256,{alg}")
    provider.add_user()
    receiver = Receiver()
    app = RelyingParty.register(provider, receiver=receiver, id_token_signed_response_alg=alg)
    discovery = http.get(f"{provider.issuer}/.well-known/openid-configuration").json()
    assert discovery["id_token_signing_alg_values_supported"] == sorted(
        ["RS256", alg], key=("RS256 RS512 PS256 ES256 EdDSA").split().index
    )
    with signed_in(provider) as person:
        tokens = app.sign_in(person)
        claims = app.verified(tokens["id_token"], audience=app.client_id, typ="JWT", alg=alg)
        assert claims["at_hash"] == half_hash(tokens["access_token"], alg)
        app.verified(tokens["access_token"], audience=provider.issuer, typ="at+jwt", alg="RS256")
        again = app.refresh(tokens["refresh_token"]).json()
        assert app.verified(again["id_token"], audience=app.client_id, typ="JWT", alg=alg)["sid"] == claims["sid"]
        person.http.get(f"{provider.issuer}/logout", params={"id_token_hint": again["id_token"]})
    assert app.logout_claims(receiver.wait()[0], alg=alg)["sid"] == claims["sid"]
    receiver.close()


def test_a_client_whose_algorithm_was_switched_off_is_told_so_and_loses_nothing(deploy: Deploy) -> None:
    provider = deploy("RS256,ES256")
    provider.add_user()
    app = RelyingParty.register(provider, id_token_signed_response_alg="ES256")
    with signed_in(provider) as person:
        tokens = app.sign_in(person)
        deploy("RS256")
        said = person.open(app.authorization_url()).query
        assert (said["error"], said["state"]) == ("unauthorized_client", app.state)
        assert "ES256 is not switched on" in said["error_description"]
        refused = app.refresh(tokens["refresh_token"])
        assert (refused.status_code, refused.json()["error"]) == (400, "unauthorized_client")
        findings = json.loads(run(provider, "doctor", "--json").out)
        assert any(app.client_id in each["finding"] and "ES256" in each["finding"] for each in findings), findings
        deploy("RS256,ES256")
        again = app.refresh(tokens["refresh_token"])
        assert again.status_code == 200, again.text
        app.verified(again.json()["id_token"], audience=app.client_id, typ="JWT", alg="ES256")


def test_changing_the_secret_signs_nobody_out(deploy: Deploy) -> None:
    provider = deploy("RS256")
    provider.add_user()
    app = RelyingParty.register(provider)
    old = provider.settings["SECRET_KEY"]
    new = "the next secret of this deployment that is long enough"
    with signed_in(provider) as person:
        tokens = app.sign_in(person)
        provider.settings["SECRET_KEY"] = f"{new},{old}"
        deploy("RS256")
        assert person.open(app.authorization_url(prompt="none")).query["code"]  # the cookie
        assert app.userinfo(tokens["access_token"]).status_code == 200  # the signing key
        again = app.refresh(tokens["refresh_token"])  # a refresh token made under the old secret
        assert again.status_code == 200, again.text
        assert any("older secret" in each["finding"] for each in provider.json("doctor"))
        assert provider.json("key", "reseal") == {"resealed": 2, "keys": 2}
        provider.settings["SECRET_KEY"] = new
        deploy("RS256")
        assert app.userinfo(tokens["access_token"]).status_code == 200
        assert app.refresh(again.json()["refresh_token"]).status_code == 200  # made under the new one


def test_metrics_count_keys_by_what_they_do(deploy: Deploy) -> None:
    provider = deploy("RS256,ES256")
    shown = http.get(f"{provider.issuer}/metrics").text
    for alg in ("RS256", "ES256"):
        for state, count in (("signing", 1.0), ("announced", 1.0), ("revoked", 0.0)):
            assert re.search(rf'idp_keys{{alg="{alg}",(pid="[0-9]+",)?state="{state}"}} {count}', shown), shown
    assert 0 < float(re.search(r"idp_keys_next_change_seconds[^ ]* ([0-9.e+]+)", shown)[1]) < 31 * 86_400


def test_a_served_provider_signs_with_a_key_that_never_leaves_the_hsm(tmp_path: Path, hsm_token: Token) -> None:
    """Two workers, which reach the same token, and what they sign is verified by PyJWT; away, nobody is told a lie."""
    (tmp_path / "provider").mkdir()
    provider = RunningProvider(tmp_path / "provider", settings={**hsm_token.settings(), "WORKERS": "2"})
    try:
        provider.start()
        provider.add_user()
        app = RelyingParty.register(provider)
        assert {key["holder"] for key in provider.json("key", "list")} == {"pkcs11"}
        with signed_in(provider) as person:
            tokens = app.sign_in(person)
            app.verified(tokens["id_token"], audience=app.client_id, typ="JWT")
            with hsm_token.away():
                refused = app.refresh(tokens["refresh_token"])
                assert (refused.status_code, refused.json()["error"]) == (503, "temporarily_unavailable")
                assert int(refused.headers["Retry-After"]) > 0
                assert http.get(f"{provider.issuer}/health/ready").status_code == 503
                assert app.userinfo(tokens["access_token"]).status_code == 200
            until = time.monotonic() + 20
            while http.get(f"{provider.issuer}/health/ready").status_code != 200:
                assert time.monotonic() < until, "it did not come back"
                time.sleep(0.1)
            while (again := app.refresh(tokens["refresh_token"])).status_code == 503:  # the other worker tries again, too
                assert time.monotonic() < until
                time.sleep(0.1)
            assert again.status_code == 200, again.text
        assert hsm_token.pin not in provider.log_file.read_text()
    finally:
        provider.close()


@pytest.mark.parametrize("database", DIALECTS)
def test_a_key_that_is_revoked_is_dead_within_seconds_and_sessions_go_on(
    request: pytest.FixtureRequest, tmp_path: Path, database: str
) -> None:
    url = request.getfixturevalue("postgres_url") if database == "postgresql" else ""
    provider = RunningProvider(tmp_path, url)
    try:
        provider.start()
        provider.add_user()
        app = RelyingParty.register(provider)
        with signed_in(provider) as person:
            tokens = app.sign_in(person)
            signing, announced = (key["kid"] for key in provider.json("key", "list"))
            said = provider.json("key", "revoke", signing, "--reason", "a laptop was stolen")
            assert (said["kid"], said["signs_now"]) == (signing, announced)
            until = time.monotonic() + 2 * REFRESH_SECONDS
            while app.userinfo(tokens["access_token"]).status_code != 401:
                assert time.monotonic() < until, "the server has not heard of it"
                time.sleep(0.05)
            assert app.introspect(tokens["access_token"]) == {"active": False}
            assert signing not in http.get(f"{provider.issuer}/jwks").text
            again = app.refresh(tokens["refresh_token"]).json()
            app.verified(again["id_token"], audience=app.client_id, typ="JWT")
            assert app.userinfo(again["access_token"]).status_code == 200
            assert person.open(app.authorization_url(prompt="none")).query["code"]
        # The hub reads the keys at once; what became of them is told at the next round of the schedule.
        until = time.monotonic() + 2 * REFRESH_SECONDS
        while not provider.events("key.revoked") and time.monotonic() < until:
            time.sleep(0.05)
        assert [event["kid"] for event in provider.events("key.revoked")] == [signing]
        assert "is revoked already" in provider.cli("key", "revoke", signing, "--reason", "again", code=1)
        assert "There is no key 'unknown'" in provider.cli("key", "revoke", "unknown", "--reason", "x", code=1)
    finally:
        provider.close()
