"""The table of signing keys."""

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.schema import UniqueConstraint

from idp.runtime.database import Base


class SigningKeyRow(Base):
    """See `rules.Key`. What is private is sealed with a key that is not in the database."""

    __tablename__ = "signing_keys"

    kid: Mapped[str] = mapped_column(String(64), primary_key=True)
    alg: Mapped[str] = mapped_column(String(16))
    predecessor: Mapped[str] = mapped_column(String(64))
    published_at: Mapped[float]
    active_at: Mapped[float]
    revoked_at: Mapped[float | None]
    revoked_reason: Mapped[str | None] = mapped_column(String(200))
    public: Mapped[str] = mapped_column(Text)
    sealed: Mapped[bytes]
    holder: Mapped[str] = mapped_column(String(16))
    announcement: Mapped[float]
    retention: Mapped[float]

    __table_args__ = (UniqueConstraint("alg", "predecessor"),)
