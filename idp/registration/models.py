"""The tables of registration: who may register, and how often."""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from idp.runtime.database import Base


class RegistrationTokenRow(Base):
    """An initial access token (RFC 7591 §3), as a hash. `token_id` names it for operators and opens nothing."""

    __tablename__ = "registration_tokens"

    token_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    uses_left: Mapped[int]
    created_at: Mapped[float]
    expires_at: Mapped[float]


class RegistrationQuotaRow(Base):
    """How often somebody tried to register in a window. `bucket` is a keyed hash of an address, never the address."""

    __tablename__ = "registration_quotas"

    bucket: Mapped[str] = mapped_column(String(64), primary_key=True)
    used: Mapped[int]
    expires_at: Mapped[float] = mapped_column(index=True)
