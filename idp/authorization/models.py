"""The table of stored authorization requests."""

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from idp.runtime.database import Base


class PendingRow(Base):
    """See `rules.Pending`."""

    __tablename__ = "authorization_requests"

    request_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    asked: Mapped[str] = mapped_column(Text)
    browser_hash: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[float]
    expires_at: Mapped[float] = mapped_column(index=True)
    signed_in_by: Mapped[str | None] = mapped_column(String(64))
    selected_by: Mapped[str | None] = mapped_column(String(64))
    consented_by: Mapped[str | None] = mapped_column(String(64))
    denied_at: Mapped[float | None]
    used_at: Mapped[float | None]
    network: Mapped[str | None] = mapped_column(String(64))

    __table_args__ = (Index("ix_authorization_requests_network_created_at", "network", "created_at"),)
