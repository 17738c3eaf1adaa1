"""Settings that stand in files, as secrets are mounted: any of them, one value each, and never printed."""

import os
from pathlib import Path

import certifi
import pytest

from idp.config import Settings, SettingsError
from idp.setting_files import MAXIMUM_SIZE, SUFFIX
from tests.cli.running import run
from tests.support.serving import RunningProvider

SECRET = "the secret of this deployment: long enough"
URL = "postgresql://idp:hunter2@db.example/idp"


def written(folder: Path, content: str | bytes) -> str:
    path = folder / "value"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def sentence() -> str:
    with pytest.raises(SettingsError) as stopped:
        Settings.load()
    text = str(stopped.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


def test_the_secret_and_the_database_stand_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, url = tmp_path / "secret", tmp_path / "url"
    secret.write_text(SECRET + "\n")
    url.write_text(URL)
    monkeypatch.setenv("IDP_SECRET_KEY_FILE", str(secret))
    monkeypatch.setenv("IDP_DATABASE_URL_FILE", str(url))
    settings = Settings.load()
    assert settings.secret_keys == (SECRET.encode(),)
    assert settings.database == URL.replace("postgresql", "postgresql+psycopg")


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_the_end_of_the_line_is_not_part_of_the_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    monkeypatch.setenv("IDP_PROVIDER_NAME_FILE", written(tmp_path, " A name " + end))
    assert Settings.load().provider_name == " A name "


#: A value for each setting whose default cannot be written down as it is.
VALUES = {
    "secret_key": SECRET,
    "database_url": URL,
    "issuer": "https://id.example.org",
    "outbound_ca_file": certifi.where(),
    "metrics_bind": "127.0.0.1:9100",
    "metrics_token": "a-bearer-token-of-the-tests",
    "templates_dir": str(Path(__file__).parent),
    "brand_logo": __file__,
    "brand_accent": "#7a1fa2",
    "brand_background": "#f3e9ff",
    "brand_support_url": "mailto:help@example.org",
    "brand_privacy_url": "https://example.org/privacy",
    "keys_pkcs11_module": __file__,
    "operator": "somebody",
    "outbound_allow": "10.0.0.0/8",
    "trusted_proxies": "10.0.0.0/8,192.0.2.1/32",
}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_may_stand_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    default = getattr(Settings(), name)
    text = VALUES.get(name) or (",".join(map(str, default)) if isinstance(default, tuple) else str(default))
    if not text:
        text = "x"
    if name == "database_url":
        monkeypatch.setenv("IDP_SECRET_KEY", SECRET)
    monkeypatch.setenv(f"IDP_{name.upper()}", text)
    try:
        wanted = getattr(Settings.load(), name)
    except SettingsError as error:  # settings that must be set together say so either way
        wanted = str(error)
    monkeypatch.delenv(f"IDP_{name.upper()}")
    monkeypatch.setenv(f"IDP_{name.upper()}{SUFFIX}", written(tmp_path, text + "\n"))
    try:
        assert getattr(Settings.load(), name) == wanted
    except SettingsError as error:
        assert str(error) == wanted


def test_a_setting_that_is_called_a_file_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, Path(certifi.where()).read_bytes())
    monkeypatch.setenv("IDP_OUTBOUND_CA_FILE", path)
    assert Settings.load().outbound_ca_file == Path(path)


def test_a_file_that_stands_for_no_setting_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDP_SECRET_FILE", "/run/secrets/x")
    assert "IDP_SECRET_FILE" in sentence()


def test_a_setting_that_is_given_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDP_SECRET_KEY", SECRET)
    monkeypatch.setenv("IDP_SECRET_KEY_FILE", written(tmp_path, SECRET))
    said = sentence()
    assert "IDP_SECRET_KEY and IDP_SECRET_KEY_FILE" in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("", "empty"),
        ("\n", "empty"),
        ("  \n", "empty"),
        (SECRET + "\nanother line", "more than one line"),
        (SECRET + "\x00", "more than one line"),
        (b"\xff\xfe" + SECRET.encode(), "UTF-8"),
        ("x" * (MAXIMUM_SIZE + 1), "more than one line"),
        ("hunter2", "at least 32 characters"),
    ],
)
def test_what_is_no_value_is_refused_in_one_sentence_that_does_not_hold_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | bytes, word: str
) -> None:
    monkeypatch.setenv("IDP_SECRET_KEY_FILE", written(tmp_path, content))
    said = sentence()
    assert word in said
    assert "IDP_SECRET_KEY" in said
    assert not {SECRET, "hunter2", "another line", "xxxx"} & {
        each for each in (SECRET, "hunter2", "another line", "xxxx") if each in said
    }


@pytest.mark.parametrize("path", ["/nowhere/at/all", ".", "a\ud800"])
def test_a_file_that_cannot_be_read_is_refused_with_its_path(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(os, "environ", {**os.environ, "IDP_SECRET_KEY_FILE": path})
    assert "IDP_SECRET_KEY_FILE" in sentence()


def test_a_value_from_a_file_is_never_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IDP_LOG_LEVEL", "IDP_RETENTION", "IDP_BIND", "IDP_DATABASE_URL"):
        monkeypatch.setenv(f"{name}_FILE", written(tmp_path, "hunter2"))
        said = sentence()
        assert name in said
        assert f"{name}_FILE" in said
        assert "hunter2" not in said
        monkeypatch.delenv(f"{name}_FILE")


def test_a_command_and_the_doctor_read_the_files(tmp_path: Path) -> None:
    embedded = RunningProvider(tmp_path / "data")
    path = written(tmp_path, SECRET + "\n")
    assert run(embedded, "migrate", SECRET_KEY_FILE=path).code == 0
    said = run(embedded, "doctor", "--json", SECRET_KEY_FILE=path)
    assert SECRET not in said.out + said.err
    assert not (embedded.data_dir / "secret_key").exists()
    assert run(embedded, "key", "list", "--json", SECRET_KEY_FILE=path).code == 0
    assert not (embedded.data_dir / "secret_key").exists()
