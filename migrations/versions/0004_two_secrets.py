"""The secret that a client had before its last rotation, which counts for a stated time beside the new one.

Revision: 0004, after 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("clients", sa.Column("retiring_hash", sa.String(length=64), nullable=True))
    op.add_column("clients", sa.Column("retiring_sealed", sa.LargeBinary(), nullable=True))
    op.add_column("clients", sa.Column("retiring_until", sa.Double(), nullable=True))
