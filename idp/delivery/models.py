"""The outbox, whose lanes are whose just now, and who does not answer."""

from sqlalchemy import JSON, BigInteger, Index, String, Text, and_
from sqlalchemy.orm import Mapped, mapped_column

from idp.runtime.database import Base


class DeliveryRow(Base):
    """See `rules.Delivery`. A row stays for a time after its end, so that operators can ask what became of it.

    No foreign keys: a client may be removed while it must still be told.
    """

    __tablename__ = "deliveries"

    delivery_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    client_id: Mapped[str] = mapped_column(String(128))
    lane: Mapped[str] = mapped_column(String(140))
    party: Mapped[str] = mapped_column(String(128))
    place: Mapped[int | None] = mapped_column(BigInteger)
    sid: Mapped[str | None] = mapped_column(String(64))
    uri: Mapped[str] = mapped_column(Text)
    payload: Mapped[dict[str, str]] = mapped_column(JSON)
    created_at: Mapped[float] = mapped_column(index=True)
    expires_at: Mapped[float]
    next_attempt_at: Mapped[float]
    attempts: Mapped[int]
    leased_until: Mapped[float | None]
    delivered_at: Mapped[float | None]
    dead_at: Mapped[float | None]
    last_status: Mapped[int | None]
    last_error: Mapped[str | None] = mapped_column(String(200))

    __table_args__ = (Index(None, "sid", "client_id"),)


class LaneRow(Base):
    """A lane that a worker holds, until it gives it back or its lease is over: one row for all that waits in it."""

    __tablename__ = "delivery_lanes"

    lane: Mapped[str] = mapped_column(String(140), primary_key=True)
    holder: Mapped[str] = mapped_column(String(64))
    leased_until: Mapped[float]


class PartyRow(Base):
    """A relying party that did not answer lately (`rules.Party`). One that answers has no row."""

    __tablename__ = "delivery_parties"

    client_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    failures: Mapped[int]
    failing_since: Mapped[float]
    open_until: Mapped[float]
    last_error: Mapped[str | None] = mapped_column(String(200))


_pending = and_(DeliveryRow.delivered_at.is_(None), DeliveryRow.dead_at.is_(None))

# What waits is few among millions that are done, and the worker asks for it several times a second: this index holds the
# pending rows alone, lane by lane, in the order in which they go. It must be the only one of them: see `lanes`.
Index(
    "ix_deliveries_lane",
    DeliveryRow.lane,
    DeliveryRow.next_attempt_at,
    DeliveryRow.created_at,
    sqlite_where=_pending,
    postgresql_where=_pending,
)
# Which of a client's are sent again that died. No index of what waits: see above.
Index(
    "ix_deliveries_dead_client_id",
    DeliveryRow.client_id,
    sqlite_where=DeliveryRow.dead_at.is_not(None),
    postgresql_where=DeliveryRow.dead_at.is_not(None),
)
# Whether a client ever took anything, which is asked of each that answers 400.
Index(
    "ix_deliveries_taken_client_id",
    DeliveryRow.client_id,
    sqlite_where=DeliveryRow.delivered_at.is_not(None),
    postgresql_where=DeliveryRow.delivered_at.is_not(None),
)
Index(
    "ix_deliveries_dead_at",
    DeliveryRow.dead_at,
    sqlite_where=DeliveryRow.dead_at.is_not(None),
    postgresql_where=DeliveryRow.dead_at.is_not(None),
)
