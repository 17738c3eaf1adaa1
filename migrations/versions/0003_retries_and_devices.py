"""What shows that a refresh answer arrived, which devices of an account are known, and where a person sent a program.

Revision: 0003, after 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("token_families", sa.Column("retried_at", sa.Double(), nullable=True))
    op.add_column("token_families", sa.Column("seen_at", sa.Double(), nullable=True))
    op.add_column("accounts", sa.Column("device_generation", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("consents", sa.Column("redirect_origin", sa.String(length=255), nullable=True))
