"""A wrong or unknown setting stops the start with one sentence that names it; the environment beats the file."""

import ipaddress
import re
from pathlib import Path

import pytest

from idp import app
from idp.config import Settings, SettingsError

SECRET = "the secret of this deployment: long enough"
NAMES = ["IDP_" + name.upper() for name in Settings.model_fields]


def sentence() -> str:
    """The sentence with which the settings stop the start; one line, and one sentence."""
    with pytest.raises(SettingsError) as stopped:
        settings = Settings.load()
        app.build(settings).database.dispose()
    text = str(stopped.value)
    assert "\n" not in text
    assert text.endswith(".")
    assert not re.search(r"[.!?] [A-Z]", text), f"more than one sentence: {text}"
    assert "Traceback" not in text
    assert "pydantic" not in text.lower()
    return text


def test_the_defaults_hold_for_a_first_start_on_ones_own_machine() -> None:
    settings = Settings.load()
    assert settings.issuer == "http://localhost:8000"
    assert settings.embedded
    assert not settings.secure
    assert settings.database.startswith("sqlite:///")
    assert settings.issuer_path == ""


WRONG: list[tuple[str, str]] = [
    ("IDP_ISSUER", ""),
    ("IDP_ISSUER", "id.example.org"),
    ("IDP_ISSUER", "//id.example.org"),
    ("IDP_ISSUER", "ftp://id.example.org"),
    ("IDP_ISSUER", "http://id.example.org"),
    ("IDP_ISSUER", "http://localhost.example.org"),
    ("IDP_ISSUER", "http://127.0.0.1.example.org"),
    ("IDP_ISSUER", "http://10.0.0.1"),
    ("IDP_ISSUER", "https://"),
    ("IDP_ISSUER", "https:///path"),
    ("IDP_ISSUER", "https://id.example.org/"),
    ("IDP_ISSUER", "https://id.example.org/path/"),
    ("IDP_ISSUER", "https://id.example.org?"),
    ("IDP_ISSUER", "https://id.example.org?x=1"),
    ("IDP_ISSUER", "https://id.example.org#"),
    ("IDP_ISSUER", "https://id.example.org#x"),
    ("IDP_ISSUER", "https://user@id.example.org"),
    ("IDP_ISSUER", "https://@id.example.org"),
    ("IDP_ISSUER", "https://user:pass@id.example.org"),
    ("IDP_ISSUER", "https://id.example.org:99999"),
    ("IDP_ISSUER", "https://id.example.org:port"),
    ("IDP_ISSUER", "https://[::1"),
    ("IDP_ISSUER", "https://id example.org"),
    ("IDP_ISSUER", "https://id.example.org/a b"),
    ("IDP_ISSUER", "https://id.exämple.org"),
    ("IDP_ISSUER", 'https://id.example.org/"'),
    ("IDP_ISSUER", "https://id.example.org\\@evil.example"),
    ("IDP_SECRET_KEY", "short"),
    ("IDP_SECRET_KEY", f"{SECRET},short"),
    ("IDP_BIND", "8000"),
    ("IDP_BIND", "127.0.0.1"),
    ("IDP_BIND", "127.0.0.1:"),
    ("IDP_BIND", ":8000"),
    ("IDP_BIND", "127.0.0.1:0"),
    ("IDP_BIND", "127.0.0.1:65536"),
    ("IDP_BIND", "127.0.0.1:http"),
    ("IDP_BIND", "127.0.0.1:²"),
    ("IDP_WORKERS", "0"),
    ("IDP_WORKERS", "-1"),
    ("IDP_WORKERS", "many"),
    ("IDP_TRUSTED_PROXIES", "everybody"),
    ("IDP_TRUSTED_HEADERS", "X-Client-IP"),
    ("IDP_TRUSTED_PROXIES", "10.0.0.0/8,nonsense"),
    ("IDP_TRUSTED_PROXIES", "10.0.0.1/8"),
    ("IDP_OUTBOUND_ALLOW", "10.0.0.0/33"),
    ("IDP_METRICS_ALLOW", "localhost"),
    ("IDP_LOG_FORMAT", "xml"),
    ("IDP_LOG_LEVEL", "loud"),
    ("IDP_ACCOUNTS_ARGON2_MEMORY_KIB", "7"),
    ("IDP_ACCOUNTS_ARGON2_TIME_COST", "0"),
    ("IDP_ACCOUNTS_ARGON2_PARALLELISM", "0"),
    ("IDP_ACCOUNTS_PASSWORD_MIN_LENGTH", "7"),
    ("IDP_ACCOUNTS_PASSWORD_MIN_LENGTH", "129"),
    ("IDP_ACCOUNTS_THROTTLE_WINDOW", "0"),
    ("IDP_ACCOUNTS_THROTTLE_ACCOUNT_FAILURES", "0"),
    ("IDP_ACCOUNTS_THROTTLE_ADDRESS_FAILURES", "0"),
    ("IDP_SESSIONS_IDLE_TIMEOUT", "0"),
    ("IDP_SESSIONS_IDLE_TIMEOUT", "12.5"),
    ("IDP_SESSIONS_IDLE_TIMEOUT", "2h"),
    ("IDP_SESSIONS_ABSOLUTE_TIMEOUT", "0"),
    ("IDP_AUTHORIZATION_REQUEST_LIFETIME", "0"),
    ("IDP_AUTHORIZATION_RESPONSE_TYPES", ""),
    ("IDP_AUTHORIZATION_RESPONSE_TYPES", "token"),
    ("IDP_AUTHORIZATION_RESPONSE_TYPES", "code,everything"),
    ("IDP_AUTHORIZATION_REQUEST_OBJECTS", "none"),
    ("IDP_AUTHORIZATION_CODE_LIFETIME", "0"),
    ("IDP_AUTHORIZATION_CODE_LIFETIME", "601"),
    ("IDP_TOKENS_ACCESS_TOKEN_LIFETIME", "0"),
    ("IDP_TOKENS_ID_TOKEN_LIFETIME", "-5"),
    ("IDP_TOKENS_REFRESH_TOKEN_LIFETIME", "forever"),
    ("IDP_TOKENS_REFRESH_RETRY_WINDOW", "-1"),
    ("IDP_TOKENS_REFRESH_RETRY_WINDOW", "301"),
    ("IDP_TOKENS_REFRESH_PARENT_LIFETIME", "-1"),
    ("IDP_TOKENS_REFRESH_PARENT_LIFETIME", "2592001"),
    ("IDP_SESSIONS_REFRESH_COUNTS", "sometimes"),
    ("IDP_KEYS_ROTATION_PERIOD", "0"),
    ("IDP_KEYS_ROTATION_PERIOD", "60"),
    ("IDP_KEYS_JWKS_MAX_AGE", "0"),
    ("IDP_KEYS_CLOCK_SKEW", "-1"),
    ("IDP_KEYS_VERIFIER_COOLDOWN", "-1"),
    ("IDP_KEYS_PKCS11_MODULE", "/nowhere/lib.so"),
    ("IDP_KEYS_PKCS11_MODULE", __file__),
    ("IDP_KEYS_PKCS11_TOKEN", "without-a-module"),
    ("IDP_KEYS_PKCS11_PIN", "without-a-module"),
    ("IDP_LOGOUT_FRONTCHANNEL", "perhaps"),
    ("IDP_SESSIONS_MANAGEMENT", "perhaps"),
    ("IDP_SIGNALS_STATUS_LIST", "perhaps"),
    ("IDP_SIGNALS_STATUS_TTL", "0"),
    ("IDP_SIGNALS_STATUS_TTL", "3601"),
    ("IDP_SIGNALS_RETENTION", "0"),
    ("IDP_OPERATOR", " "),
    ("IDP_OPERATOR", "two\nlines"),
    ("IDP_OPERATOR", "x" * 129),
    ("IDP_RETENTION", "0"),
    ("IDP_SIGNALS_LONGEST_WAIT", "301"),
    ("IDP_SIGNALS_FOLLOWERS", "0"),
    ("IDP_SIGNALS_INACTIVITY_TIMEOUT", "179"),
    ("IDP_SIGNALS_MIN_VERIFICATION_INTERVAL", "-1"),
    ("IDP_KEYS_ALGORITHMS", "ES256"),
    ("IDP_KEYS_ALGORITHMS", "RS256,none"),
    ("IDP_KEYS_RSA_BITS", "1024"),
    ("IDP_KEYS_RSA_BITS", "2049"),
    ("IDP_CLIENTS_CACHE_SECONDS", "-1"),
    ("IDP_CLIENTS_JWKS_CACHE_SECONDS", "-1"),
    ("IDP_CLIENTS_LOGOS", "perhaps"),
    ("IDP_CLIENTS_REGISTRATION", "on"),
    ("IDP_CLIENTS_REGISTRATION_LIMIT", "0"),
    ("IDP_CLIENTS_REGISTRATION_HOURLY", "0"),
    ("IDP_CLIENTS_SECRET_OVERLAP", "-1"),
    ("IDP_CLIENTS_REGISTRATION_UNUSED", "0"),
    ("IDP_DELIVERY_TIMEOUT", "0"),
    ("IDP_DELIVERY_CONCURRENCY", "0"),
    ("IDP_DELIVERY_LANES", "0"),
    ("IDP_DELIVERY_QUEUE_LIMIT", "999"),
    ("IDP_DELIVERY_LIFETIME", "0"),
    ("IDP_DELIVERY_POLL_SECONDS", "0"),
    ("IDP_DELIVERY_POLL_SECONDS", "soon"),
    ("IDP_DELIVERY_POLL_SECONDS", "nan"),
    ("IDP_DELIVERY_POLL_SECONDS", "inf"),
    ("IDP_OUTBOUND_CA_FILE", "/nowhere/ca.pem"),
    ("IDP_TEMPLATES_DIR", "/nowhere/templates"),
    ("IDP_AUTHORIZATION_REQUESTS_PER_NETWORK", "0"),
    ("IDP_BRAND_LOGO", "/nowhere/logo.svg"),
    ("IDP_BRAND_ACCENT", "green"),
    ("IDP_BRAND_BACKGROUND", "#12345"),
    ("IDP_BRAND_SUPPORT_URL", "http://help.example/"),
    ("IDP_BRAND_PRIVACY_URL", "javascript:alert(1)"),
    ("IDP_DATABASE_URL", "postgresql://idp:pa@ss@host/idp"),
    ("IDP_DATABASE_URL", "postgresql://idp:pa@ss/word@host/idp"),
    ("IDP_DATABASE_URL", "postgresql://idp:password"),
    ("IDP_DATABASE_URL", "postgresql+psycopg2://idp@host/idp"),
    ("IDP_DATABASE_URL", "postgresql+asyncpg://idp@host/idp"),
    ("IDP_DATABASE_URL", "sqlite+aiosqlite:////srv/idp.sqlite3"),
    ("IDP_DATABASE_URL", "sqlite://"),
    ("IDP_DATABASE_URL", "sqlite:///:memory:"),
    ("IDP_DATABASE_URL", "sqlite:////srv/idp.sqlite3?foo=bar"),
    ("IDP_METRICS_TOKEN", "short"),
    ("IDP_METRICS_BIND", "localhost"),
    ("IDP_TRUSTED_HEADERS", "X-Who"),
    ("IDP_DATABASE_CONNECT_TIMEOUT", "1"),
    ("IDP_DATABASE_CONNECT_TIMEOUT", "61"),
    ("IDP_DATABASE_KEEPALIVE", "0"),
    ("IDP_DATABASE_TCP_USER_TIMEOUT", "-1"),
    ("IDP_DATABASE_STATEMENT_TIMEOUT", "0"),
    ("IDP_DATABASE_STATEMENT_TIMEOUT", "never"),
    ("IDP_DATABASE_LOCK_TIMEOUT", "0"),
    ("IDP_DATABASE_URL", "nonsense"),
    ("IDP_DATABASE_URL", "sqlite//:x"),
    ("IDP_CONFIG", "/nowhere/idp.toml"),
]
#: Any text or path does for these.
FREE = {"IDP_PROVIDER_NAME", "IDP_DATA_DIR"}


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_setting_stops_the_start_with_one_sentence_that_names_it(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "IDP_DATABASE_URL":
        monkeypatch.setenv("IDP_SECRET_KEY", SECRET)
    monkeypatch.setenv(name, value)
    assert name in sentence()


def test_response_types_are_named_in_any_order_and_kept_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDP_AUTHORIZATION_RESPONSE_TYPES", " id_token code, code,token id_token ")
    monkeypatch.setenv("IDP_AUTHORIZATION_REQUEST_OBJECTS", "")
    settings = Settings.load()
    assert settings.authorization_response_types == ("code", "id_token token", "code id_token")
    assert settings.authorization_request_objects == ()


def test_every_setting_has_a_wrong_example_here() -> None:
    assert set(NAMES) - FREE <= {name for name, _ in WRONG}


@pytest.mark.parametrize("name", ["IDP_ISUER", "IDP_X", "IDP_", "IDP_issuer", "IDP_SESSIONS", "IDP_SESSIONS__IDLE_TIMEOUT"])
def test_an_unknown_name_in_the_environment_stops_the_start(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "x")
    assert name in sentence()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ('isuer = "http://localhost:8000"', "isuer"),
        ("[sessions]\nidle = 60", "sessions_idle"),
        ("[sesions]\nidle_timeout = 60", "sesions_idle_timeout"),
        ('ISSUER = "http://localhost:8000"', "ISSUER"),
        ("[sessions.more]\nidle_timeout = 60", "sessions_more"),
    ],
)
def test_an_unknown_key_in_the_file_stops_the_start(content: str, named: str, nowhere: Path) -> None:
    (nowhere / "idp.toml").write_text(content)
    assert named in sentence()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("workers = 0", "IDP_WORKERS"),
        ('workers = "many"', "IDP_WORKERS"),
        ("issuer = 5", "IDP_ISSUER"),
        ("[sessions]\nidle_timeout = 0", "IDP_SESSIONS_IDLE_TIMEOUT"),
        ("[sessions]\nidle_timeout = {a = 1}", "IDP_SESSIONS_IDLE_TIMEOUT"),
        ('trusted_proxies = ["10.0.0.0/8", "nonsense"]', "IDP_TRUSTED_PROXIES"),
        ("trusted_proxies = 5", "IDP_TRUSTED_PROXIES"),
        ('trusted_headers = "X-Client-IP"', "IDP_TRUSTED_HEADERS"),
        ('trusted_headers = ""', "IDP_TRUSTED_HEADERS"),
        ('metrics_bind = "9464"', "IDP_METRICS_BIND"),
        ("trusted_proxies = [5.5]", "IDP_TRUSTED_PROXIES"),
        ("bind = []", "IDP_BIND"),
        ("data_dir = 5", "IDP_DATA_DIR"),
    ],
)
def test_a_wrong_value_in_the_file_stops_the_start(content: str, named: str, nowhere: Path) -> None:
    (nowhere / "idp.toml").write_text(content)
    assert named in sentence()


@pytest.mark.parametrize("content", [b"issuer = ", b"[", b"a = 1\na = 2", b"\xff\xfe", b"issuer"])
def test_a_file_that_is_no_toml_stops_the_start_and_is_named(content: bytes, nowhere: Path) -> None:
    (nowhere / "idp.toml").write_bytes(content)
    assert "idp.toml" in sentence()


def test_a_folder_in_place_of_the_file_is_told(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nowhere / "folder").mkdir()
    monkeypatch.setenv("IDP_CONFIG", str(nowhere / "folder"))
    assert "folder" in sentence()


def test_a_table_is_a_rooms_settings_and_the_environment_beats_the_file(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nowhere / "idp.toml").write_text(
        'provider_name = "From the file"\n[sessions]\nidle_timeout = 60\nabsolute_timeout = 120\n'
    )
    monkeypatch.setenv("IDP_SESSIONS_IDLE_TIMEOUT", "90")
    settings = Settings.load()
    assert settings.provider_name == "From the file"
    assert settings.sessions_idle_timeout == 90
    assert settings.sessions_absolute_timeout == 120


def test_the_file_may_stand_elsewhere_and_then_no_other_is_read(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nowhere / "idp.toml").write_text("nonsense = 1")
    (nowhere / "other.toml").write_text("workers = 7")
    monkeypatch.setenv("IDP_CONFIG", str(nowhere / "other.toml"))
    assert Settings.load().workers == 7


def test_lists_are_written_with_commas_or_as_arrays(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDP_TRUSTED_PROXIES", "10.0.0.0/8, ::1 ,")
    (nowhere / "idp.toml").write_text('outbound_allow = ["192.168.0.0/16"]')
    settings = Settings.load()
    assert settings.trusted_proxies == (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128"))
    assert settings.outbound_allow == (ipaddress.ip_network("192.168.0.0/16"),)


def test_settings_that_do_not_hold_together_are_named_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDP_SESSIONS_IDLE_TIMEOUT", "100")
    monkeypatch.setenv("IDP_SESSIONS_ABSOLUTE_TIMEOUT", "99")
    said = sentence().lower()
    assert "sessions_idle_timeout" in said
    assert "sessions_absolute_timeout" in said


def test_postgresql_demands_a_secret_that_all_instances_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDP_DATABASE_URL", "postgresql://idp:s3cret-password@db/idp")
    said = sentence()
    assert "IDP_SECRET_KEY" in said
    assert "s3cret-password" not in said


@pytest.mark.parametrize(
    ("url", "used"),
    [
        ("postgresql://u@h/d", "postgresql+psycopg://u@h/d"),
        ("postgres://u@h/d", "postgresql+psycopg://u@h/d"),
        ("postgresql+psycopg://u@h/d", "postgresql+psycopg://u@h/d"),
        ("sqlite:////srv/idp.sqlite3", "sqlite:////srv/idp.sqlite3"),
    ],
)
def test_a_database_is_reached_with_the_driver_that_we_have(url: str, used: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDP_SECRET_KEY", SECRET)
    monkeypatch.setenv("IDP_DATABASE_URL", url)
    assert Settings.load().database == used


@pytest.mark.parametrize("url", ["mysql://u:s3cret-password@h/d", "postgresql+nodriver://u:s3cret-password@h/d"])
def test_a_database_that_we_have_no_driver_for_is_told_without_its_password(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDP_SECRET_KEY", SECRET)
    monkeypatch.setenv("IDP_DATABASE_URL", url)
    said = sentence()
    assert "IDP_DATABASE_URL" in said
    assert "s3cret-password" not in said


@pytest.mark.parametrize(
    ("issuer", "secure", "path"),
    [
        ("https://id.example.org", True, ""),
        ("https://id.example.org:8443/realms/a", True, "/realms/a"),
        ("http://localhost:8000", False, ""),
        ("http://127.0.0.1:8000/idp", False, "/idp"),
        ("http://[::1]:8000", False, ""),
        ("http://idp.localhost:8000", False, ""),
    ],
)
def test_an_issuer_that_holds(issuer: str, secure: bool, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDP_ISSUER", issuer)
    settings = Settings.load()
    assert (settings.issuer, settings.secure, settings.issuer_path) == (issuer, secure, path)


def test_an_https_issuer_in_capitals_is_refused_or_secure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise cookies would lose `Secure`, and loopback targets would be allowed, by a matter of spelling."""
    monkeypatch.setenv("IDP_ISSUER", "HTTPS://id.example.org")
    try:
        settings = Settings.load()
    except SettingsError as stopped:
        assert "IDP_ISSUER" in str(stopped)
    else:
        assert settings.secure


SECRETS = ["hunter2", "s3cret, s3cret-two", "s3cret\n", "s3cret" * 3]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_never_shown_in_a_sentence(secret: str, nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDP_SECRET_KEY", secret)
    assert secret.strip() not in sentence()
    assert "s3cret" not in sentence()
    monkeypatch.delenv("IDP_SECRET_KEY")
    for content in (
        f"secret_key = {secret!r}",
        f"secret_key = [{secret!r}]",
        f"[secret]\nkey = {secret!r}",
        f"secret_kye = {secret!r}",
    ):
        if "\n" not in secret:
            (nowhere / "idp.toml").write_text(content)
            assert secret not in sentence()


def test_a_good_secret_shows_neither_in_the_settings_nor_in_another_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDP_SECRET_KEY", SECRET)
    settings = Settings.load()
    for shown in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert SECRET not in shown
    monkeypatch.setenv("IDP_WORKERS", "0")
    assert SECRET not in sentence()
    monkeypatch.setenv("IDP_WORKERS", "1")
    monkeypatch.setenv("IDP_SESSIONS_IDLE_TIMEOUT", "99999999")
    assert SECRET not in sentence()


def test_a_password_in_a_database_url_is_not_shown_in_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDP_SECRET_KEY", SECRET)
    monkeypatch.setenv("IDP_DATABASE_URL", "postgresql://idp:s3cret-password@db/idp")
    assert "s3cret-password" not in repr(Settings.load())


def test_several_secrets_are_used_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDP_SECRET_KEY", f" {SECRET}-new ,{SECRET}-old,")
    assert Settings.load().secret_keys == (f"{SECRET}-new".encode(), f"{SECRET}-old".encode())
