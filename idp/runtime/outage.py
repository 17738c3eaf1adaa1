"""What it means when the database fails: that it is away, takes no writes, or took too long; or that we made a mistake.

No sentence here repeats anything that the driver said: its text holds parts of the address, and with a password that
was not percent-encoded it holds parts of that.
"""

import re
import sqlite3
import sys
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeGuard

from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from idp.config import OperatorError

if TYPE_CHECKING:
    import psycopg


class Effect(Enum):
    """What does not work: nothing does, writing does not, or this one attempt did not."""

    AWAY = "away"
    NO_WRITES = "no writes"
    BUSY = "busy"


@dataclass(frozen=True, slots=True)
class Outage:
    """Why the database does not do its work. `cause` is for the log, `sentence` for operators: what, and the mend."""

    effect: Effect
    cause: str
    sentence: str


class DatabaseUnavailableError(OperatorError):
    """The database does not do its work at this moment, and may later. The transaction did not happen.

    Of one whose commit was under way nobody knows, as ever when a connection breaks.
    """

    def __init__(self, outage: Outage) -> None:
        super().__init__(outage.sentence)
        self.outage = outage

    @property
    def retry_after(self) -> int:
        """Seconds after which it is worth coming again."""
        return 1 if self.outage.effect is Effect.BUSY else 5


_AWAY = "The database cannot be reached: see that it runs, and that the host and the port in IDP_DATABASE_URL are right."
_REFUSED = (
    "The database refuses the user or the password in IDP_DATABASE_URL: correct them. What is neither a letter nor a digit"
    " must be percent-encoded there (@ is %40, / is %2F, % is %25)."
)
_NO_HOST = "The host in IDP_DATABASE_URL has no address: correct its name, or see that names can be resolved here."
_NO_DATABASE = "The database that IDP_DATABASE_URL names does not exist: create it, or correct its name."
_FULL_HOUSE = "The database takes no more connections: raise its max_connections, or run fewer worker processes."
_CHANGING = "The database starts or stops just now: come again when it runs."
_READ_ONLY = (
    "The database takes no writes (it is a standby, or default_transaction_read_only is on): point IDP_DATABASE_URL at the"
    " one that takes them, or switch that off."
)
_DISK_FULL = "The disk of the database is full: make room on it."
_DISK_FAILS = "The disk of the database fails or is not there: see the log of the system."
_MAY_NOT = (
    "The user in IDP_DATABASE_URL may not do in the database what idp needs: make it the owner of idp's tables, and let it"
    " make new ones (GRANT USAGE, CREATE ON SCHEMA public TO it)."
)
_TOO_LONG = "The database took too long, most probably because another transaction holds what is needed: try again."
_SHORT_OF_CONNECTIONS = "Every connection of this process to the database is taken: try again."
_BAD_PARAMETER = "A parameter in IDP_DATABASE_URL is none that PostgreSQL knows, or its value is not one: correct it."
_TLS = "The database and IDP_DATABASE_URL do not agree on TLS: see sslmode and the certificates that it names."
_NOT_ALLOWED_FROM_HERE = "The database lets nobody in from here by this user and name: see pg_hba.conf on its side."

#: By SQLSTATE, the longest beginning first (PostgreSQL, appendix A).
_BY_STATE = {
    "25006": (Effect.NO_WRITES, _READ_ONLY),
    "25P03": (Effect.BUSY, _TOO_LONG),
    "28": (Effect.AWAY, _REFUSED),
    "3D000": (Effect.AWAY, _NO_DATABASE),
    "40": (Effect.BUSY, _TOO_LONG),
    "42501": (Effect.NO_WRITES, _MAY_NOT),
    "53100": (Effect.NO_WRITES, _DISK_FULL),
    "53200": (Effect.BUSY, _TOO_LONG),
    "53300": (Effect.AWAY, _FULL_HOUSE),
    "55P03": (Effect.BUSY, _TOO_LONG),
    "57014": (Effect.BUSY, _TOO_LONG),
    "57P": (Effect.AWAY, _CHANGING),
    "58": (Effect.NO_WRITES, _DISK_FAILS),
    "08": (Effect.AWAY, _AWAY),
}
#: A connection that is refused comes without a SQLSTATE: what libpq says, in English.
_BY_WORDS = {
    r"password authentication failed|role \"[^\"]*\" does not exist|no password supplied": (_REFUSED, "28P01"),
    r"database \"[^\"]*\" does not exist": (_NO_DATABASE, "3D000"),
    r"no pg_hba\.conf entry|authentication failed": (_NOT_ALLOWED_FROM_HERE, "28000"),
    r"too many (clients|connections)|remaining connection slots": (_FULL_HOUSE, "53300"),
    r"is (starting up|shutting down|in recovery mode|not yet accepting connections)": (_CHANGING, "57P03"),
    r"resolve host|translate host name|Name or service not known|nodename nor servname": (_NO_HOST, "no host"),
    r"invalid (port number|integer value|connection option|\w+ value)|bad value for": (_BAD_PARAMETER, "parameter"),
    r"SSL|certificate|tls": (_TLS, "tls"),
    r"timeout|timed out|no answer": (_AWAY, "silent"),
}

_SQLITE = {
    sqlite3.SQLITE_BUSY: (
        Effect.NO_WRITES,
        "The database file is locked by another program, or by a transaction that takes too long: end it.",
    ),
    sqlite3.SQLITE_LOCKED: (Effect.BUSY, _TOO_LONG),
    sqlite3.SQLITE_NOMEM: (Effect.BUSY, "There is too little memory for the database."),
    sqlite3.SQLITE_PERM: (Effect.NO_WRITES, "The database file may not be used: let the user who runs idp own it."),
    sqlite3.SQLITE_READONLY: (
        Effect.NO_WRITES,
        "The database file cannot be written: let the user who runs idp own it and its folder, on a disk that takes writes.",
    ),
    sqlite3.SQLITE_FULL: (Effect.NO_WRITES, _DISK_FULL),
    sqlite3.SQLITE_IOERR: (Effect.NO_WRITES, _DISK_FAILS),
    sqlite3.SQLITE_CANTOPEN: (
        Effect.AWAY,
        "The database file cannot be opened: see that its folder is there, and that the user who runs idp may use it.",
    ),
    sqlite3.SQLITE_CORRUPT: (Effect.AWAY, "The database file is damaged: restore it from a backup."),
    sqlite3.SQLITE_NOTADB: (Effect.AWAY, "The database file is no SQLite database: name another, or restore it from a backup."),
}
_PRIMARY = 0xFF


def outage_of(error: BaseException) -> Outage | None:
    """What an error of the driver or of SQLAlchemy says of the database; None for what is no outage (a constraint, SQL)."""
    if isinstance(error, PoolTimeoutError):
        return Outage(Effect.BUSY, "pool", _SHORT_OF_CONNECTIONS)
    if isinstance(error, ArgumentError) and re.search(r"\b(host|port)", str(error)):  # before anything was connected to
        return Outage(Effect.AWAY, "parameter", _BAD_PARAMETER)
    original = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(original, sqlite3.Error):
        return _of_sqlite(original)
    return _of_postgresql(original) if _is_of_postgresql(original) else None


def is_refused_write(error: BaseException) -> bool:
    """Whether the database refused a write because nothing may be written there: to a standby, or in a reading transaction."""
    outage = outage_of(error)
    return outage is not None and outage.cause in {"25006", "SQLITE_READONLY"}


def needs_a_new_connection(outage: Outage) -> bool:
    """Whether connections may still see what was: the one of a standby, or of a file that was opened for reading only."""
    return outage.effect is not Effect.BUSY and outage.cause not in {"SQLITE_BUSY", "SQLITE_FULL", "53100"}


def _of_sqlite(error: sqlite3.Error) -> Outage | None:
    found = _SQLITE.get(getattr(error, "sqlite_errorcode", 0) & _PRIMARY)
    return None if found is None else Outage(found[0], str(error.sqlite_errorname), found[1])


def _is_of_postgresql(error: BaseException | None) -> "TypeGuard[psycopg.Error]":
    """Whether its driver raised this, which is not loaded where the database is SQLite: it costs every command 0.1 s."""
    driver = sys.modules.get("psycopg")
    return driver is not None and isinstance(error, driver.Error)


def _of_postgresql(error: "psycopg.Error") -> Outage | None:
    state = error.sqlstate
    if state is not None:
        found = next((_BY_STATE[state[:size]] for size in (5, 3, 2) if state[:size] in _BY_STATE), None)
        return None if found is None else Outage(found[0], state, found[1])
    for words, (sentence, code) in _BY_WORDS.items():
        if re.search(words, str(error)):
            return Outage(Effect.AWAY, code, sentence)
    if any(kind.__name__ in {"OperationalError", "InterfaceError"} for kind in type(error).__mro__):
        return Outage(Effect.AWAY, "connection", _AWAY)
    return None
