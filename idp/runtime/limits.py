"""How long the database may take for what: every wait has an end, so that one that goes silent holds nobody for good."""

from dataclasses import dataclass
from typing import Self

from idp.config import Settings


@dataclass(frozen=True, slots=True)
class Limits:
    """In seconds. `docs/settings.md` gives the reason for each.

    `lock` is for a row on PostgreSQL and for the writer's lock of SQLite; all others are for PostgreSQL alone.
    """

    connect: int = 3
    keepalive: int = 10
    tcp_user: int = 10
    statement: int = 15
    lock: float = 10

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """What the operator decided."""
        return cls(
            settings.database_connect_timeout,
            settings.database_keepalive,
            settings.database_tcp_user_timeout,
            settings.database_statement_timeout,
            settings.database_lock_timeout,
        )


#: For the question whether the database does its work: whoever asks it waits for the answer.
PROBING = Limits(connect=2, statement=2, lock=2)
