"""Who may read `/metrics`: nobody whom a proxy only makes look near."""

from pathlib import Path

import httpx
import pytest
from werkzeug.test import Client

from idp import app as application
from idp.config import Settings, SettingsError
from tests.proxies.conftest import Build
from tests.support import http
from tests.support.serving import RunningProvider, free_port

TOKEN = "0123456789abcdef0123456789abcdef"
HTTPS = "https://op.example"


def status(web: Client, peer: str = "127.0.0.1", **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.get("/metrics", headers=named, environ_overrides={"REMOTE_ADDR": peer}).status_code


def web_of(build: Build, **settings: object) -> Client:
    return application.create_app(build(**settings)).test_client()


def test_behind_a_plain_proxy_on_the_same_machine_they_are_nobody_s(build: Build) -> None:
    """Such a proxy passes on nothing of who came: all the world is 127.0.0.1."""
    web = web_of(build, issuer=HTTPS)
    assert status(web) == 404
    assert status(web, "::1") == 404
    assert status(web, "::ffff:127.0.0.1") == 404


@pytest.mark.parametrize("trusted", ["127.0.0.1", "127.0.0.0/8,10.0.0.0/8"])
def test_a_proxy_s_own_address_opens_nothing_though_it_stands_in_an_allowed_network(build: Build, trusted: str) -> None:
    web = web_of(build, issuer=HTTPS, trusted_proxies=trusted, metrics_allow="127.0.0.0/8,10.0.0.5")
    assert status(web) == 404
    assert status(web, X_Forwarded_For="unknown") == 404
    assert status(web, X_Forwarded_For="203.0.113.9") == 404
    assert status(web, X_Forwarded_For="127.0.0.1") == 404
    assert status(web, Forwarded="for=10.0.0.5", X_Forwarded_For="203.0.113.9") == 404


def test_who_is_in_a_network_that_was_named_reads_them_directly_or_through_a_named_proxy(build: Build) -> None:
    web = web_of(build, issuer=HTTPS, trusted_proxies="10.0.0.1", metrics_allow="192.0.2.0/24")
    assert status(web, "192.0.2.7") == 200
    assert status(web, "10.0.0.1", X_Forwarded_For="192.0.2.7") == 200
    assert status(web, "10.0.0.1", Forwarded='for="192.0.2.7:80"') == 200
    assert status(web, "192.0.2.7", X_Forwarded_For="192.0.2.8") == 404  # through a proxy that nobody named
    assert status(web, "203.0.113.9", X_Forwarded_For="192.0.2.7") == 404


def test_an_issuer_on_loopback_is_for_development_and_shows_them_there(build: Build) -> None:
    web = web_of(build)
    assert status(web) == 200
    assert status(web, "::ffff:127.0.0.1") == 200
    assert status(web, "192.0.2.7") == 404
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
        assert status(web, **{name: "127.0.0.1"}) == 404


@pytest.mark.parametrize("issuer", [HTTPS, "http://localhost:8000"])
def test_a_token_is_demanded_of_everybody_once_it_is_set(build: Build, issuer: str) -> None:
    web = web_of(build, issuer=issuer, metrics_token=TOKEN, metrics_allow="127.0.0.0/8")
    assert status(web, Authorization=f"Bearer {TOKEN}") == 200
    assert status(web, "203.0.113.9", Authorization=f"bearer {TOKEN}") == 200
    for wrong in ("", "Bearer", "Bearer ", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN} x", "Bearer é"):
        answer = web.get("/metrics", headers={"Authorization": wrong})
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert "idp_events" not in answer.text


@pytest.mark.parametrize("token", ["short", "a token with spaces in it", "0123456789abcdef\n0"])
def test_a_token_that_is_none_stops_the_start_and_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, token: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IDP_METRICS_TOKEN", token)
    with pytest.raises(SettingsError, match="IDP_METRICS_TOKEN") as refused:
        Settings.load()
    assert token not in str(refused.value)


@pytest.mark.parametrize("token", ["", TOKEN])
def test_at_an_address_of_their_own_they_are_all_workers_together_and_nowhere_else(tmp_path: Path, token: str) -> None:
    own = free_port()
    settings = {"METRICS_BIND": f"127.0.0.1:{own}", "WORKERS": "2"} | ({"METRICS_TOKEN": token} if token else {})
    running = RunningProvider(tmp_path, settings=settings)
    try:
        running.start()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        assert http.get(f"{running.origin}/metrics", headers=headers).status_code == 404
        answer = http.get(f"http://127.0.0.1:{own}/metrics", headers=headers)
        assert answer.status_code == 200
        assert "idp_signals_followers" in answer.text
        assert http.get(f"http://127.0.0.1:{own}/", headers=headers).status_code == 404
        assert http.post(f"http://127.0.0.1:{own}/metrics", headers=headers).status_code == 501
        if token:
            assert http.get(f"http://127.0.0.1:{own}/metrics").status_code == 401
        running.stop()
        with pytest.raises(httpx.TransportError):
            http.get(f"http://127.0.0.1:{own}/metrics")
    finally:
        running.close()


def test_an_address_that_somebody_else_has_is_one_sentence(tmp_path: Path) -> None:
    taken = RunningProvider(tmp_path / "taken")
    taken.data_dir.mkdir()
    try:
        taken.start()
        other = RunningProvider(tmp_path / "other", settings={"METRICS_BIND": f"127.0.0.1:{taken.port}"})
        said = other.cli("serve", code=1)
        assert "IDP_METRICS_BIND" in said
        assert "Traceback" not in said
    finally:
        taken.close()


def test_the_address_of_their_own_is_not_the_public_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IDP_METRICS_BIND", "127.0.0.1:8000")
    with pytest.raises(SettingsError, match="IDP_METRICS_BIND"):
        Settings.load()
