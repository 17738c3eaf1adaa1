"""The tables of relying parties: they themselves, what they spent, and who may register."""

from sqlalchemy import Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from idp.runtime.database import Base


class ClientRow(Base):
    """See `rules.ClientRecord`. A removed client keeps its row for a time, without what it had registered.

    Its identifier was random: it is never given again.
    """

    __tablename__ = "clients"

    client_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    # The attribute `metadata` is SQLAlchemy's own; the column is named as RFC 7591 names it.
    registered: Mapped[str] = mapped_column("metadata", Text)
    secret_hash: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[float]
    ended_at: Mapped[float | None]
    secret_sealed: Mapped[bytes | None]
    registration_hash: Mapped[str | None] = mapped_column(String(64))
    expires_at: Mapped[float | None]
    registration_hash_before: Mapped[str | None] = mapped_column(String(64))
    secret_hash_before: Mapped[str | None] = mapped_column(String(64))
    retiring_hash: Mapped[str | None] = mapped_column(String(64))
    retiring_sealed: Mapped[bytes | None]
    retiring_until: Mapped[float | None]

    __table_args__ = (
        Index(
            "ix_clients_ended_at",
            "ended_at",
            sqlite_where=text("ended_at IS NOT NULL"),
            postgresql_where=text("ended_at IS NOT NULL"),
        ),
        # What dynamic registration made and nobody removed: they are counted, and those that nobody uses lapse.
        Index(
            "ix_clients_open_expires_at",
            "expires_at",
            sqlite_where=text("ended_at IS NULL AND expires_at IS NOT NULL"),
            postgresql_where=text("ended_at IS NULL AND expires_at IS NOT NULL"),
        ),
    )


class ClientOriginRow(Base):
    """Where pages of a client are at home: the origin of a redirect URI. Those of a removed client are deleted."""

    __tablename__ = "client_origins"

    client_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    origin: Mapped[str] = mapped_column(String(2048), primary_key=True, index=True)


class ClientAssertionRow(Base):
    """A client assertion that was accepted: its `jti` counts once (RFC 7523 §3). Forgotten when it has long expired."""

    __tablename__ = "client_assertions"

    #: The hash of the client and the `jti`.
    once: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[float] = mapped_column(index=True)
