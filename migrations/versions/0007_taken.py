"""Whether a client ever took a delivery is found by an index: the outbox may hold millions.

Revision: 0007, after 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    condition = sa.text("delivered_at IS NOT NULL")
    op.create_index(
        "ix_deliveries_taken_client_id", "deliveries", ["client_id"], sqlite_where=condition, postgresql_where=condition
    )


def downgrade() -> None:
    op.drop_index("ix_deliveries_taken_client_id", "deliveries")
