"""Tables of people and of their failed sign-ins."""

from sqlalchemy import JSON, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from idp.runtime.database import Base


class AccountRow(Base):
    """See `rules.Account`. Names are unique twice: as they are typed (folded), and as they print (`LikenessRow`)."""

    __tablename__ = "accounts"

    subject: Mapped[str] = mapped_column(String(64), primary_key=True)
    username: Mapped[str] = mapped_column(String(64))
    username_folded: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str | None] = mapped_column(String(128))
    email: Mapped[str | None] = mapped_column(String(254))
    email_verified: Mapped[bool]
    password_hash: Mapped[str] = mapped_column(String(256))
    created_at: Mapped[float]
    updated_at: Mapped[float]
    disabled_at: Mapped[float | None]
    given_name: Mapped[str | None] = mapped_column(String(128))
    family_name: Mapped[str | None] = mapped_column(String(128))
    middle_name: Mapped[str | None] = mapped_column(String(128))
    nickname: Mapped[str | None] = mapped_column(String(128))
    profile: Mapped[str | None] = mapped_column(String(512))
    picture: Mapped[str | None] = mapped_column(String(512))
    website: Mapped[str | None] = mapped_column(String(512))
    gender: Mapped[str | None] = mapped_column(String(128))
    birthdate: Mapped[str | None] = mapped_column(String(10))
    zoneinfo: Mapped[str | None] = mapped_column(String(64))
    locale: Mapped[str | None] = mapped_column(String(64))
    phone_number: Mapped[str | None] = mapped_column(String(32))
    phone_number_verified: Mapped[bool]
    address: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    device_generation: Mapped[int] = mapped_column(server_default="0")


class LikenessRow(Base):
    """What a username prints like, as it is shown and as it is typed: each skeleton belongs to one account."""

    __tablename__ = "username_likenesses"

    skeleton: Mapped[str] = mapped_column(String(256), primary_key=True)
    subject: Mapped[str] = mapped_column(ForeignKey("accounts.subject", ondelete="CASCADE"), index=True)


class SignInThrottleRow(Base):
    """How many sign-ins failed in one bucket. `bucket` is a keyed hash: of a name, a browser, a session or an address."""

    __tablename__ = "sign_in_throttles"

    bucket: Mapped[str] = mapped_column(String(64), primary_key=True)
    failures: Mapped[int]
    expires_at: Mapped[float] = mapped_column(index=True)
