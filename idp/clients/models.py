"""The table of relying parties."""

from sqlalchemy import Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from idp.runtime.database import Base


class ClientRow(Base):
    """See `rules.ClientRecord`. A removed client keeps its row, so that its identifier is never given again."""

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

    __table_args__ = (
        # What dynamic registration made and nobody removed: they are counted, and those that nobody uses lapse.
        Index(
            "ix_clients_open_expires_at",
            "expires_at",
            sqlite_where=text("ended_at IS NULL AND expires_at IS NOT NULL"),
            postgresql_where=text("ended_at IS NULL AND expires_at IS NOT NULL"),
        ),
    )
