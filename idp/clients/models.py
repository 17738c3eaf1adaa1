"""The table of relying parties."""

from sqlalchemy import String, Text
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
