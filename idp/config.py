"""Settings: what an operator may decide, where it is read from, and what it must hold to.

Read from the environment (`IDP_ISSUER`, `IDP_SESSIONS_IDLE_TIMEOUT`, ...) and from a TOML file (`IDP_CONFIG`, or
`idp.toml` in the working directory), where a room's settings may stand in a table of its name
(`[sessions] idle_timeout = 1800`). The environment wins. Any setting may stand in a file of its own, which
`IDP_SECRET_KEY_FILE` and the like name. A wrong or unknown setting stops the start with one
sentence. Lifetimes are whole seconds.
"""

import ipaddress
import os
import pwd
import re
import secrets
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BeforeValidator,
    DirectoryPath,
    Field,
    FilePath,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from idp import files
from idp.protocol.response_types import CODE, RESPONSE_TYPES, canonical
from idp.protocol.signatures import ALGORITHMS, DEFAULT_ALG
from idp.protocol.uris import is_loopback_host, is_wellformed
from idp.setting_files import SUFFIX, SettingFileError, is_text
from idp.setting_files import toml as in_toml
from idp.setting_files import values as in_files
from idp.setting_types import PROXY_HEADERS, Colour, Headers, Link, Names, Networks, Seconds

PREFIX = "IDP_"
SECRET_KEY_FILE = "secret_key"
MINIMUM_SECRET_LENGTH = 32
_MAXIMUM_OPERATOR = 128
#: Settings whose value is never shown.
SECRETS = {"secret_key", "database_url", "keys_pkcs11_pin", "metrics_token"}
#: How a request object may come: by value, by reference (OIDC Core §6).
REQUEST_OBJECTS = ("request", "request_uri")
MINIMUM_METRICS_TOKEN_LENGTH = 16


class OperatorError(Exception):
    """What only an operator can mend. Its text is one sentence: what, where, and the mend."""


class SettingsError(OperatorError):
    """A setting that stops the start."""


def os_user() -> str:
    """Who runs this process, as the operating system calls them; by number where it has no name for them."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _who_runs_it() -> str:
    """Whoever called `sudo`, else the user of the operating system."""
    called = os.environ.get("SUDO_USER", "").strip()
    return called if called.isprintable() and 0 < len(called) <= _MAXIMUM_OPERATOR else os_user()


def _whole(value: object) -> object:
    """A number out of a list of numbers: the environment and files hold text."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


class Settings(BaseSettings):
    """Everything an operator may decide. `Settings.load()` reads it; `docs/settings.md` explains it."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    issuer: str = "http://localhost:8000"
    provider_name: str = "idp"
    data_dir: Path = Path("var")
    database_url: str = Field(default="", repr=False)
    database_connect_timeout: Annotated[int, Field(ge=2, le=60)] = 3
    database_keepalive: Annotated[int, Field(ge=1, le=3600)] = 10
    database_tcp_user_timeout: Annotated[int, Field(ge=1, le=3600)] = 10
    database_statement_timeout: Annotated[int, Field(ge=1, le=3600)] = 15
    database_lock_timeout: Annotated[int, Field(ge=1, le=3600)] = 10
    secret_key: SecretStr = SecretStr("")
    bind: str = "127.0.0.1:8000"
    workers: int = Field(default_factory=lambda: min(os.cpu_count() or 1, 4), ge=1)
    trusted_proxies: Networks = ()
    trusted_headers: Headers = PROXY_HEADERS
    outbound_allow: Networks = ()
    outbound_ca_file: FilePath | None = None
    metrics_allow: Networks = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
    metrics_bind: str = ""
    metrics_token: SecretStr = SecretStr("")
    templates_dir: DirectoryPath | None = None
    brand_logo: FilePath | None = None
    brand_accent: Colour = ""
    brand_background: Colour = ""
    brand_support_url: Link = ""
    brand_privacy_url: Link = ""
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    operator: str = Field(default_factory=_who_runs_it, max_length=_MAXIMUM_OPERATOR)
    retention: Seconds = 7776000

    accounts_argon2_memory_kib: int = Field(default=19456, ge=8)
    accounts_argon2_time_cost: int = Field(default=2, ge=1)
    accounts_argon2_parallelism: int = Field(default=1, ge=1)
    accounts_password_min_length: int = Field(default=8, ge=8, le=128)
    accounts_throttle_window: Seconds = 900
    accounts_throttle_account_failures: int = Field(default=10, ge=1)
    accounts_throttle_address_failures: int = Field(default=100, ge=1)

    sessions_idle_timeout: Seconds = 7200
    sessions_absolute_timeout: Seconds = 43200
    sessions_refresh_counts: bool = True
    sessions_management: bool = False

    authorization_response_types: Names = (CODE,)
    authorization_request_objects: Names = ("request",)
    authorization_request_lifetime: Seconds = 1800
    authorization_requests_per_network: int = Field(default=1000, ge=10)
    authorization_code_lifetime: Annotated[int, Field(ge=1, le=600)] = 60

    tokens_access_token_lifetime: Seconds = 300
    tokens_id_token_lifetime: Seconds = 600
    tokens_refresh_token_lifetime: Seconds = 2592000
    tokens_refresh_retry_window: Annotated[int, Field(ge=0, le=300)] = 60
    tokens_refresh_parent_lifetime: Annotated[int, Field(ge=0, le=2592000)] = 86400

    keys_rotation_period: Seconds = 2592000
    keys_jwks_max_age: Seconds = 300
    keys_clock_skew: Annotated[int, Field(ge=0)] = 60
    keys_verifier_cooldown: Annotated[int, Field(ge=0)] = 30
    keys_algorithms: Names = (DEFAULT_ALG,)
    keys_rsa_bits: Annotated[Literal[2048, 3072, 4096], BeforeValidator(_whole)] = 2048
    keys_pkcs11_module: FilePath | None = None
    keys_pkcs11_token: str = ""
    keys_pkcs11_pin: SecretStr = SecretStr("")

    clients_cache_seconds: Annotated[int, Field(ge=0)] = 5
    clients_jwks_cache_seconds: Annotated[int, Field(ge=0)] = 300
    clients_logos: bool = False
    clients_secret_overlap: Annotated[int, Field(ge=0, le=31_536_000)] = 86400
    clients_registration: Literal["off", "token", "open"] = "off"
    clients_registration_limit: int = Field(default=10_000, ge=1)
    clients_registration_hourly: int = Field(default=60, ge=1)
    clients_registration_unused: Seconds = 2592000

    signals_status_list: bool = False
    signals_status_ttl: Annotated[int, Field(ge=1, le=3600)] = 15

    logout_frontchannel: bool = False

    signals_retention: Seconds = 86400
    signals_longest_wait: Annotated[int, Field(ge=1, le=300)] = 30
    signals_followers: int = Field(default=1000, ge=1)
    signals_inactivity_timeout: Annotated[int, Field(ge=180)] = 3600
    signals_min_verification_interval: Annotated[int, Field(ge=0)] = 10

    delivery_timeout: Seconds = 5
    delivery_concurrency: int = Field(default=256, ge=1)
    delivery_lanes: int = Field(default=1, ge=1, le=64)
    delivery_lifetime: Seconds = 3600
    delivery_queue_limit: int = Field(default=1_000_000, ge=1000)
    delivery_poll_seconds: Annotated[float, Field(gt=0, le=60, allow_inf_nan=False)] = 0.5

    @classmethod
    def load(cls) -> Self:
        """Settings from environment and file. Raises SettingsError with one sentence when they cannot hold."""
        settings = {PREFIX + name.upper() for name in cls.model_fields}
        known = settings | {name + SUFFIX for name in settings} | {PREFIX + "CONFIG"}
        for name in sorted(os.environ):
            if name.startswith(PREFIX) and name not in known:
                message = f"{name} in the environment is no setting of idp: correct its name or unset it."
                raise SettingsError(message)
            if name.startswith(PREFIX) and not is_text(os.environ[name]):
                message = f"{name} in the environment is no text in UTF-8: correct it."
                raise SettingsError(message)
        try:
            return cls()
        except ValidationError as error:
            raise SettingsError(_sentence(error)) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What a caller hands in, then the environment, then what it says stands in files, then the settings file."""
        return init_settings, env_settings, SingleFiles(settings_cls), TomlFile(settings_cls)

    @field_validator("issuer")
    @classmethod
    def _issuer_holds(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
        except ValueError:
            parts = urlsplit("")
        if (
            not is_wellformed(value)
            or not value.startswith(("https://", "http://"))
            or not parts.hostname
            or set(value) & set("?#@")
        ):
            problem = "must be an absolute https URL without query or fragment, for instance https://id.example.org"
            raise ValueError(problem)
        if value.endswith("/"):
            problem = f"must not end in a slash: write {value.rstrip('/')}"
            raise ValueError(problem)
        if parts.scheme == "http" and not is_loopback_host(parts.hostname):
            problem = "may be http for loopback hosts only: use https (a proxy in front may terminate TLS)"
            raise ValueError(problem)
        return value

    @field_validator("operator")
    @classmethod
    def _operator_is_a_name(cls, value: str) -> str:
        if not value.strip() or not value.isprintable():
            problem = "must be a name in printable characters"
            raise ValueError(problem)
        return value.strip()

    @field_validator("database_url")
    @classmethod
    def _database_is_known(cls, value: str) -> str:
        if not value:
            return value
        known = ("sqlite", "sqlite+pysqlite", "postgresql", "postgres", "postgresql+psycopg")
        try:
            address = make_url(value)
        except (ArgumentError, ValueError):
            address = None
        if address is None or address.drivername not in known:
            problem = "must be a postgresql:// address, or a sqlite:/// one; a password in it must be percent-encoded"
            raise ValueError(problem)
        if address.get_backend_name() == "sqlite":
            if address.query or address.host or address.database in {None, "", ":memory:"}:
                problem = (
                    "must name a file and nothing more where it begins with sqlite, for instance sqlite:////srv/idp.sqlite3"
                )
                raise ValueError(problem)
        elif value.count("@") > 1:  # whatever stands behind the first one would be taken for the host, and looked up
            problem = "holds more than one @: in a user name or a password write it as %40, / as %2F, : as %3A and % as %25"
            raise ValueError(problem)
        return value

    @field_validator("outbound_ca_file")
    @classmethod
    def _certificates_are_there(cls, value: Path | None) -> Path | None:
        if value is not None:
            files.check_certificates(value)
        return value

    @field_validator("keys_algorithms")
    @classmethod
    def _algorithms_are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if DEFAULT_ALG not in value or not set(value) <= set(ALGORITHMS):
            problem = f"must hold {DEFAULT_ALG}, and may hold {', '.join(alg for alg in ALGORITHMS if alg != DEFAULT_ALG)}"
            raise ValueError(problem)
        return tuple(alg for alg in ALGORITHMS if alg in value)

    @field_validator("authorization_response_types")
    @classmethod
    def _response_types_are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        named = {canonical(each) for each in value}
        if not named or not named <= set(RESPONSE_TYPES):
            problem = f"must hold at least one of {', '.join(RESPONSE_TYPES)}, separated by commas"
            raise ValueError(problem)
        return tuple(each for each in RESPONSE_TYPES if each in named)

    @field_validator("authorization_request_objects")
    @classmethod
    def _request_objects_are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not set(value) <= set(REQUEST_OBJECTS):
            problem = f"may hold {' and '.join(REQUEST_OBJECTS)}, separated by a comma, or nothing"
            raise ValueError(problem)
        return tuple(each for each in REQUEST_OBJECTS if each in value)

    @field_validator("secret_key")
    @classmethod
    def _secret_is_long_enough(cls, value: SecretStr) -> SecretStr:
        short = [part for part in _secrets_in(value) if len(part) < MINIMUM_SECRET_LENGTH]
        if short:
            problem = f"must be at least {MINIMUM_SECRET_LENGTH} characters: make one with `openssl rand -base64 32`"
            raise ValueError(problem)
        return value

    @field_validator("metrics_token")
    @classmethod
    def _metrics_token_is_long_enough(cls, value: SecretStr) -> SecretStr:
        token = value.get_secret_value()
        if token and (len(token) < MINIMUM_METRICS_TOKEN_LENGTH or not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", token)):
            problem = (
                f"must be a bearer token of at least {MINIMUM_METRICS_TOKEN_LENGTH} characters (RFC 6750 section 2.1): "
                "make one with `openssl rand -hex 32`"
            )
            raise ValueError(problem)
        return value

    @field_validator("bind", "metrics_bind")
    @classmethod
    def _bind_is_an_address(cls, value: str, info: ValidationInfo) -> str:
        if value == "" and info.field_name == "metrics_bind":
            return value
        host, _, port = value.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:  # noqa: PLR2004 - the range of ports
            problem = "must be ADDRESS:PORT, for instance 127.0.0.1:8000"
            raise ValueError(problem)
        return value

    @model_validator(mode="after")
    def _together_they_hold(self) -> Self:
        if self.sessions_idle_timeout > self.sessions_absolute_timeout:
            problem = "sessions_idle_timeout must not be longer than sessions_absolute_timeout"
            raise ValueError(problem)
        if self.database_url and not self.embedded and not self.secret_key.get_secret_value():
            problem = (
                "IDP_SECRET_KEY must be set where the database is not the embedded one, for all instances alike: "
                "make it with `openssl rand -base64 32` and keep it apart from the database"
            )
            raise ValueError(problem)
        if self.database_lock_timeout > self.database_statement_timeout:
            problem = "database_lock_timeout must not be longer than database_statement_timeout, which ends the waiting as well"
            raise ValueError(problem)
        if self.metrics_bind == self.bind:
            problem = "IDP_METRICS_BIND must be another address than IDP_BIND, or it would be as public as that"
            raise ValueError(problem)
        if self.signals_inactivity_timeout <= self.signals_longest_wait:
            problem = "signals_inactivity_timeout must be longer than signals_longest_wait: a poll that waits is not inactive"
            raise ValueError(problem)
        pkcs11 = (self.keys_pkcs11_module, self.keys_pkcs11_token, self.keys_pkcs11_pin.get_secret_value())
        if any(pkcs11) and not all(pkcs11):
            problem = (
                "IDP_KEYS_PKCS11_MODULE, IDP_KEYS_PKCS11_TOKEN and IDP_KEYS_PKCS11_PIN must be set together, or none of them"
            )
            raise ValueError(problem)
        return self

    @property
    def embedded(self) -> bool:
        """Whether the database is the SQLite file of this installation, which `idp serve` brings up to date itself."""
        return not self.database_url or self.database_url.startswith("sqlite")

    @property
    def secure(self) -> bool:
        """Whether the issuer is https, so that cookies are `Secure` and loopback targets are refused."""
        return self.issuer.startswith("https://")

    @property
    def database(self) -> str:
        """The database's address as SQLAlchemy takes it, with psycopg 3 for PostgreSQL."""
        if not self.database_url:
            return f"sqlite:///{self.data_dir.resolve() / 'idp.sqlite3'}"
        for scheme in ("postgresql://", "postgres://"):
            if self.database_url.startswith(scheme):
                return "postgresql+psycopg://" + self.database_url.removeprefix(scheme)
        return self.database_url

    @property
    def issuer_path(self) -> str:
        """The path below which everything is served: empty for an issuer at the root of its host."""
        return urlsplit(self.issuer).path

    @cached_property
    def secret_keys(self) -> tuple[bytes, ...]:
        """The deployment's secrets, first the one in use; made and kept in the data directory when none is set."""
        given = _secrets_in(self.secret_key)
        if given:
            return tuple(part.encode() for part in given)
        self.make_data_dir()
        return (_kept_secret(self.data_dir),)

    def make_data_dir(self) -> None:
        """Make the data directory, for its owner alone. Raises SettingsError."""
        try:
            files.make_folder(self.data_dir)
        except OSError as error:
            message = f"IDP_DATA_DIR cannot be {self.data_dir} ({error.strerror}): name a folder that idp may make or use."
            raise SettingsError(message) from None

    @property
    def private_files(self) -> list[Path]:
        """What idp makes and nobody else may read: the secret, and the database with what SQLite puts beside it."""
        address = make_url(self.database)
        named = str(address.database) if address.get_backend_name() == "sqlite" else None
        beside = [] if named is None else [Path(named + suffix) for suffix in ("", "-wal", "-shm", "-journal")]
        return [self.data_dir / SECRET_KEY_FILE, *beside]


def settings_file() -> Path:
    """The file of settings, which may not be there: `IDP_CONFIG`, or `idp.toml` in the working directory."""
    return Path(os.environ.get(PREFIX + "CONFIG") or "idp.toml")


class SingleFiles(PydanticBaseSettingsSource):
    """Settings that stand each in a file of its own: `IDP_SECRET_KEY_FILE` names that of `IDP_SECRET_KEY`."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: D102, ARG002
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Their values. Raises SettingsError for a file that cannot be read, and for a setting that is given twice."""
        try:
            found = in_files(PREFIX, {name.upper() for name in self.settings_cls.model_fields}, os.environ)
        except SettingFileError as error:
            raise SettingsError(str(error)) from None
        return {name.lower(): value for name, value in found.items()}


class TomlFile(PydanticBaseSettingsSource):
    """Settings from `IDP_CONFIG` or `./idp.toml`; a table's name is the room's, and prefixes its keys."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: D102, ARG002
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """The file's settings with their tables flattened; raises SettingsError for a file that cannot be read."""
        path = settings_file()
        if not os.environ.get(PREFIX + "CONFIG") and not path.is_file():
            return {}
        try:
            return in_toml(path, self.settings_cls.model_fields)
        except SettingFileError as error:
            raise SettingsError(str(error)) from None


def secrets_in_the_file() -> set[str]:
    """The settings in the file of settings that nobody else may read. Raises SettingsError."""
    return SECRETS & TomlFile(Settings)().keys()


def _secrets_in(value: SecretStr) -> list[str]:
    return [part.strip() for part in value.get_secret_value().split(",") if part.strip()]


def _kept_secret(data_dir: Path) -> bytes:
    """The secret kept in the data directory, made on first use; two processes that race agree on one. Raises SettingsError."""
    path = data_dir / SECRET_KEY_FILE
    try:
        if not path.exists():
            files.keep(path, secrets.token_urlsafe(48).encode("ascii"))
        kept = path.read_bytes().strip()
    except OSError as error:
        message = (
            f"The secret cannot be kept in {path} ({error.strerror}): let the user who runs idp read and write there, or set"
            " IDP_SECRET_KEY."
        )
        raise SettingsError(message) from None
    if len(kept) < MINIMUM_SECRET_LENGTH:
        message = f"The secret in {path} is too short to be one: restore the file from a backup, or set IDP_SECRET_KEY."
        raise SettingsError(message)
    return kept


def _sentence(error: ValidationError) -> str:
    """The first thing wrong, as one sentence: what, where, and the mend."""
    first = error.errors()[0]
    text = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return f"The settings do not hold together: {text}."
    name = PREFIX + "_".join(str(part) for part in first["loc"][:1]).upper()
    in_a_file = name + SUFFIX in os.environ and name not in os.environ  # who keeps it there does not want it printed
    given = "" if first["loc"][0] in SECRETS or in_a_file else f" (it is {first['input']!r})"
    where = f"the file that {name}{SUFFIX} names" if in_a_file else "the environment or in idp.toml"
    return f"{name} {text[0].lower() + text[1:]}{given}; set it in {where}."
