"""The table of authorization codes."""

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from idp.runtime.database import Base


class CodeRow(Base):
    """See `rules.Code`. A used one stays until the family that it gave could be over, so that a replay is recognised."""

    __tablename__ = "authorization_codes"

    code_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    client_id: Mapped[str] = mapped_column(String(128))
    redirect_uri: Mapped[str | None] = mapped_column(Text)
    code_challenge: Mapped[str | None] = mapped_column(String(64))
    nonce: Mapped[str | None] = mapped_column(Text)
    sid: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(64))
    scope: Mapped[str] = mapped_column(Text)
    offline: Mapped[bool]
    auth_time: Mapped[float]
    acr: Mapped[str] = mapped_column(String(64))
    amr: Mapped[str] = mapped_column(String(64))
    expires_at: Mapped[float] = mapped_column(index=True)
    used_at: Mapped[float | None]
    family_id: Mapped[str | None] = mapped_column(String(32))
    front_family_id: Mapped[str | None] = mapped_column(String(32))
    claims: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (Index("ix_authorization_codes_subject_client_id", "subject", "client_id"),)
