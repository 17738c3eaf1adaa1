"""Tables of the browser's sessions."""

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from idp.runtime.database import Base


class SessionRow(Base):
    """See `rules.Session`. A row stays for a time after its end, so that operators can ask what became of it."""

    __tablename__ = "sessions"

    sid: Mapped[str] = mapped_column(String(64), primary_key=True)
    cookie_hash: Mapped[str] = mapped_column(String(64), unique=True)
    subject: Mapped[str] = mapped_column(String(64))
    started_at: Mapped[float]
    auth_time: Mapped[float]
    last_used_at: Mapped[float]
    expires_at: Mapped[float]
    amr: Mapped[str] = mapped_column(String(64))
    address: Mapped[str] = mapped_column(String(64))
    user_agent: Mapped[str] = mapped_column(String(256))
    ended_at: Mapped[float | None]
    end_reason: Mapped[str | None] = mapped_column(String(64))

    __table_args__ = (Index("ix_sessions_subject_ended_at", "subject", "ended_at"),)


# The reaper asks often, and what is open is little among what has ended.
for _column in (SessionRow.last_used_at, SessionRow.expires_at):
    Index(
        f"ix_sessions_open_{_column.key}",
        _column,
        sqlite_where=SessionRow.ended_at.is_(None),
        postgresql_where=SessionRow.ended_at.is_(None),
    )
_ended = SessionRow.ended_at.is_not(None)
Index("ix_sessions_ended_at", SessionRow.ended_at, sqlite_where=_ended, postgresql_where=_ended)


class SessionClientRow(Base):
    """A client that took part in a session. It outlives every token, so that the client can be told of the end."""

    __tablename__ = "session_clients"

    sid: Mapped[str] = mapped_column(ForeignKey("sessions.sid", ondelete="CASCADE"), primary_key=True)
    client_id: Mapped[str] = mapped_column(String(128), primary_key=True, index=True)
    first_used_at: Mapped[float]
    sector: Mapped[str | None] = mapped_column(String(255))
    sector_sid: Mapped[str | None] = mapped_column(String(64))


class SessionClosingRow(Base):
    """See `rules.SessionClosing`. It is there only while what it says is carried out, batch by batch (docs/adr/0023)."""

    __tablename__ = "session_closings"

    closing_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    subject: Mapped[str] = mapped_column(String(64), index=True)
    keep: Mapped[str | None] = mapped_column(String(64))
    before: Mapped[float]
    reason: Mapped[str] = mapped_column(String(64))
