"""Keys as relying parties meet them: other algorithms, one that is switched off, and a key that is killed."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from idp.keys.rules import REFRESH_SECONDS
from idp.protocol.signatures import half_hash
from tests.cli.running import run
from tests.support.browsing import Person
from tests.support.databases import DIALECTS
from tests.support.relying_party import Receiver, RelyingParty
from tests.support.serving import RunningProvider

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
    discovery = httpx.get(f"{provider.issuer}/.well-known/openid-configuration").json()
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
            assert signing not in httpx.get(f"{provider.issuer}/jwks").text
            again = app.refresh(tokens["refresh_token"]).json()
            app.verified(again["id_token"], audience=app.client_id, typ="JWT")
            assert app.userinfo(again["access_token"]).status_code == 200
            assert person.open(app.authorization_url(prompt="none")).query["code"]
        assert [event["kid"] for event in provider.events("key.revoked")] == [signing]
        assert "is revoked already" in provider.cli("key", "revoke", signing, "--reason", "again", code=1)
        assert "There is no key 'unknown'" in provider.cli("key", "revoke", "unknown", "--reason", "x", code=1)
    finally:
        provider.close()
