"""What is written to prove that the database takes writes."""

from sqlalchemy import LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from idp.runtime.database import Base


class HealthCheckRow(Base):
    """The last proofs that somebody wrote. Nobody reads them."""

    __tablename__ = "health_checks"

    check_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    checked_at: Mapped[float]
    filling: Mapped[bytes] = mapped_column(LargeBinary)
