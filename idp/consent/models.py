"""The table of consents."""

from sqlalchemy import Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from idp.runtime.database import Base


class ConsentRow(Base):
    """See `rules.Consent`. At most one of a person and client is alive; what was allowed before stays as history."""

    __tablename__ = "consents"

    consent_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    subject: Mapped[str] = mapped_column(String(64))
    client_id: Mapped[str] = mapped_column(String(128))
    scope: Mapped[str] = mapped_column(Text)
    granted_at: Mapped[float]
    ended_at: Mapped[float | None]
    redirect_origin: Mapped[str | None] = mapped_column(String(255))

    __table_args__ = (
        Index(
            "uq_consents_alive",
            "subject",
            "client_id",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index(
            "ix_consents_ended_at",
            "ended_at",
            sqlite_where=text("ended_at IS NOT NULL"),
            postgresql_where=text("ended_at IS NOT NULL"),
        ),
        Index("ix_consents_client_id", "client_id"),
        Index("ix_consents_subject", "subject"),
    )
