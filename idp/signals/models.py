"""The log of security events, and the streams that read it."""

from typing import Any

from sqlalchemy import JSON, BigInteger, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from idp.runtime.database import Base


class SignalRow(Base):
    """See `rules.Signal`. It is born without a `seq`, and gets one when it is committed (docs/adr/0014)."""

    __tablename__ = "signals"

    signal_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    seq: Mapped[int | None] = mapped_column(BigInteger, unique=True)
    event: Mapped[str] = mapped_column(String(128))
    subject: Mapped[dict[str, Any]] = mapped_column(JSON)
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
    sid: Mapped[str | None] = mapped_column(String(64), index=True)
    stream_id: Mapped[str | None] = mapped_column(String(64))
    occurred_at: Mapped[float] = mapped_column(index=True)
    tokens_until: Mapped[float]


# What has no number yet is little among what has, and every process asks for it many times a second.
_unnumbered = SignalRow.seq.is_(None)
Index(
    "ix_signals_unnumbered",
    SignalRow.occurred_at,
    sqlite_where=_unnumbered,
    postgresql_where=_unnumbered,
)


class StreamRow(Base):
    """See `rules.Stream`. No foreign key: the log does not wait for the row of a client."""

    __tablename__ = "signal_streams"

    stream_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    client_id: Mapped[str] = mapped_column(String(128), index=True)
    method: Mapped[str] = mapped_column(String(32))
    endpoint_url: Mapped[str | None] = mapped_column(Text)
    authorization: Mapped[bytes | None] = mapped_column(LargeBinary)
    events_requested: Mapped[list[str]] = mapped_column(JSON)
    description: Mapped[str | None] = mapped_column(String(512))
    status: Mapped[str] = mapped_column(String(16))
    status_reason: Mapped[str | None] = mapped_column(String(256))
    cursor: Mapped[int] = mapped_column(BigInteger)
    acked_ahead: Mapped[list[int]] = mapped_column(JSON)
    removed_subjects: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    created_at: Mapped[float]
    seen_at: Mapped[float]
    verified_at: Mapped[float | None]
