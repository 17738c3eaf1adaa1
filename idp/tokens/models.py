"""Tables of what was issued."""

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from idp.runtime.database import Base


class FamilyRow(Base):
    """See `rules.Family`."""

    __tablename__ = "token_families"

    family_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    client_id: Mapped[str] = mapped_column(String(128))
    subject: Mapped[str] = mapped_column(String(64))
    sid: Mapped[str | None] = mapped_column(String(64), index=True)
    scope: Mapped[str] = mapped_column(Text)
    offline: Mapped[bool]
    auth_time: Mapped[float]
    acr: Mapped[str] = mapped_column(String(64))
    amr: Mapped[str] = mapped_column(String(64))
    generation: Mapped[int]
    secret_hash: Mapped[str | None] = mapped_column(String(64))
    started_at: Mapped[float]
    rotated_at: Mapped[float]
    expires_at: Mapped[float]
    ended_at: Mapped[float | None]
    end_reason: Mapped[str | None] = mapped_column(String(64))

    __table_args__ = (
        Index("ix_token_families_subject_client_id", "subject", "client_id"),
        Index("ix_token_families_client_id", "client_id"),
    )


class EndedTokenRow(Base):
    """One access token that was revoked by itself (RFC 7009). Its row may go when the token would have expired."""

    __tablename__ = "ended_tokens"

    jti: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[float] = mapped_column(index=True)
    ended_at: Mapped[float]
