"""Tables of what was issued."""

from sqlalchemy import BigInteger, Index, Sequence, String, Text, UniqueConstraint, and_
from sqlalchemy.orm import Mapped, mapped_column

from idp.runtime.database import Base

#: Counts families on PostgreSQL. Nobody waits for another's transaction; one that is rolled back leaves a gap.
STATUS_INDICES = Sequence("token_family_indices", start=0, minvalue=0, metadata=Base.metadata)


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
    status_index: Mapped[int] = mapped_column(BigInteger, unique=True)
    claims: Mapped[str | None] = mapped_column(Text)
    sector_sub: Mapped[str | None] = mapped_column(String(64))
    sector_sid: Mapped[str | None] = mapped_column(String(64))
    retried_at: Mapped[float | None]
    seen_at: Mapped[float | None]


# What is open is asked for by its person and by its client, what has ended by when: each index holds what it is asked for.
_open = FamilyRow.ended_at.is_(None)
_ended = FamilyRow.ended_at.is_not(None)
Index(
    "ix_token_families_open_subject_client_id",
    FamilyRow.subject,
    FamilyRow.client_id,
    sqlite_where=_open,
    postgresql_where=_open,
)
Index("ix_token_families_open_client_id", FamilyRow.client_id, sqlite_where=_open, postgresql_where=_open)
Index("ix_token_families_ended_at", FamilyRow.ended_at, sqlite_where=_ended, postgresql_where=_ended)
# Nobody marks an offline family that ran out. It is not asked for by `expires_at`, since each refresh would write that index.
_offline = and_(FamilyRow.offline, _open)
Index("ix_token_families_offline_started_at", FamilyRow.started_at, sqlite_where=_offline, postgresql_where=_offline)


class FamilyClosingRow(Base):
    """See `rules.FamilyClosing`. It is there only while what it says is carried out, batch by batch (docs/adr/0023)."""

    __tablename__ = "family_closings"

    closing_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    subject: Mapped[str | None] = mapped_column(String(64))
    client_id: Mapped[str | None] = mapped_column(String(128))
    reason: Mapped[str] = mapped_column(String(64))


class StatusListRow(Base):
    """A status list in which families have places: `seed` is the order in which they are drawn (docs/adr/0016)."""

    __tablename__ = "status_lists"

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    seed: Mapped[bytes]


class StatusCountRow(Base):
    """How many families have been counted, in the one row of this table. SQLite alone uses it: it has no sequences."""

    __tablename__ = "status_count"

    only: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    given: Mapped[int] = mapped_column(BigInteger)


class PairwiseSubjectRow(Base):
    """What a person is called in a sector (OIDC Core §8.1), for good: a change of the secret changes nobody's name."""

    __tablename__ = "pairwise_subjects"

    subject: Mapped[str] = mapped_column(String(64), primary_key=True)
    sector: Mapped[str] = mapped_column(String(255), primary_key=True)
    #: One person's in its sector. A client that got a sector of its own took the names along that it had been told.
    sub: Mapped[str] = mapped_column(String(64))

    __table_args__ = (UniqueConstraint("sector", "sub"),)


class EndedTokenRow(Base):
    """One access token that was revoked by itself (RFC 7009). Its row may go when the token would have expired."""

    __tablename__ = "ended_tokens"

    jti: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[float] = mapped_column(index=True)
    ended_at: Mapped[float]
