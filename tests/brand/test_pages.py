"""A deployment's own look is served from its own origin, and nothing else comes with it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from idp import app
from idp.config import Settings, SettingsError
from idp.runtime import migrations

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(1)</script></svg>'
PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 20
Open = Callable[..., FlaskClient]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Open]:
    providers = []

    def make(**settings: object) -> FlaskClient:
        provider = app.build(Settings.model_validate({"data_dir": tmp_path, "database_url": "", **settings}))
        providers.append(provider)
        migrations.upgrade(provider.database)
        return app.create_app(provider).test_client()

    yield make
    for each in providers:
        each.database.dispose()


def test_colours_and_links_stand_on_every_page(site: Open) -> None:
    web = site(
        brand_accent="#7a1fa2", brand_background="#f3e9ff", brand_support_url="mailto:help@example.org",
        brand_privacy_url="https://example.org/privacy?a=1&b=2",
    )  # fmt: skip
    for path in ("/", "/login", "/nowhere"):
        page = web.get(path).text
        assert '<link rel="stylesheet" href="/brand.css">' in page
        assert '<a id="brand-support" href="mailto:help@example.org"' in page
        assert '<a id="brand-privacy" href="https://example.org/privacy?a=1&amp;b=2"' in page
    css = web.get("/brand.css")
    assert css.content_type == "text/css; charset=utf-8"
    assert "--accent: #7a1fa2;" in css.text
    assert web.get("/brand.css", headers={"If-None-Match": css.headers["ETag"]}).status_code == 304
    assert "Set-Cookie" not in css.headers


def test_without_them_there_is_no_foot_and_no_logo(site: Open) -> None:
    web = site()
    assert "<footer" not in web.get("/login").text
    assert web.get("/brand.css").status_code == 200
    assert web.get("/brand/logo").status_code == 404


@pytest.mark.parametrize(("name", "body", "kind"), [("l.svg", SVG, "image/svg+xml"), ("l.png", PNG, "image/png")])
def test_a_logo_is_a_picture_that_runs_nothing(site: Open, tmp_path: Path, name: str, body: bytes, kind: str) -> None:
    (tmp_path / name).write_bytes(body)
    web = site(brand_logo=tmp_path / name)
    assert '<img class="logo" src="/brand/logo" alt="">' in web.get("/login").text
    logo = web.get("/brand/logo")
    assert (logo.data, logo.content_type) == (body, kind)
    policy = logo.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy.split("; ")
    assert logo.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("name", "body"), [("l.svg", b"<html>"), ("l.html", SVG), ("l.png", b"GIF"), ("l.png", PNG + b"x" * 300_000)]
)
def test_what_is_no_picture_stops_the_start_with_a_sentence(site: Open, tmp_path: Path, name: str, body: bytes) -> None:
    (tmp_path / name).write_bytes(body)
    with pytest.raises(SettingsError, match="IDP_BRAND_LOGO"):
        site(brand_logo=tmp_path / name)


@pytest.mark.parametrize(
    "settings",
    [
        {"brand_accent": "red"},
        {"brand_background": "#fff"},
        {"brand_support_url": "javascript:alert(1)"},
        {"brand_support_url": "http://example.org/"},
        {"brand_privacy_url": "https:///x"},
        {"brand_privacy_url": 'mailto:"><script>@example.org'},
    ],
)
def test_a_setting_that_is_unsafe_or_unreadable_is_refused(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"IDP_{name.upper()}", value)
    with pytest.raises(SettingsError, match="IDP_BRAND"):
        Settings.load()
