"""Nothing grows without a bound: closings for very large endings, places of families drawn at random, indices, and what was left.

Revision: 0006, after 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

#: Families in one status list (`idp.tokens.rules.STATUS_LIST_SIZE`).
_LIST_SIZE = 65_536


def upgrade() -> None:
    _closings()
    _places()
    _indices()
    op.add_column("authorization_requests", sa.Column("network", sa.String(length=64), nullable=True))
    op.create_index("ix_authorization_requests_network_created_at", "authorization_requests", ["network", "created_at"])
    _forget()


def _closings() -> None:
    op.create_table(
        "session_closings",
        sa.Column("closing_id", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("keep", sa.String(length=64), nullable=True),
        sa.Column("before", sa.Double(), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("closing_id", name=op.f("pk_session_closings")),
    )
    op.create_index(op.f("ix_session_closings_subject"), "session_closings", ["subject"])
    op.create_table(
        "family_closings",
        sa.Column("closing_id", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=True),
        sa.Column("client_id", sa.String(length=128), nullable=True),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("closing_id", name=op.f("pk_family_closings")),
    )


def _places() -> None:
    """From the next list on places are drawn. The list in which the last family stands is filled in order, and stays so."""
    op.create_table(
        "status_lists",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_status_lists")),
    )
    count = op.create_table(
        "status_count",
        sa.Column("only", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("given", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("only", name=op.f("pk_status_count")),
    )
    connection = op.get_bind()
    last = connection.execute(sa.text("SELECT max(status_index) FROM token_families")).scalar()
    given = 0 if last is None else int(last) + 1
    if connection.dialect.name == "postgresql":
        counted = connection.execute(
            sa.text("SELECT last_value + CASE WHEN is_called THEN 1 ELSE 0 END FROM token_family_indices")
        ).scalar()
        given = max(given, int(counted or 0))
    start = -(-given // _LIST_SIZE) * _LIST_SIZE
    op.bulk_insert(count, [{"only": 1, "given": start}])
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT setval('token_family_indices', :start, false)"), {"start": start})


def _indices() -> None:
    op.drop_index("ix_token_families_subject_client_id", "token_families")
    for name, table, columns, where in (
        ("ix_deliveries_dead_client_id", "deliveries", ["client_id"], "dead_at IS NOT NULL"),
        ("ix_token_families_open_subject_client_id", "token_families", ["subject", "client_id"], "ended_at IS NULL"),
        ("ix_clients_ended_at", "clients", ["ended_at"], "ended_at IS NOT NULL"),
        ("ix_consents_ended_at", "consents", ["ended_at"], "ended_at IS NOT NULL"),
        ("ix_consents_client_id", "consents", ["client_id"], None),
        ("ix_consents_subject", "consents", ["subject"], None),
    ):
        condition = None if where is None else sa.text(where)
        op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)


def _forget() -> None:
    """What removed people and clients have left behind."""
    for statement in (
        "UPDATE clients SET metadata = '{}' WHERE ended_at IS NOT NULL",
        "DELETE FROM consents WHERE subject NOT IN (SELECT subject FROM accounts)",
        "DELETE FROM consents WHERE client_id NOT IN (SELECT client_id FROM clients WHERE ended_at IS NULL)",
        "DELETE FROM pairwise_subjects WHERE subject NOT IN (SELECT subject FROM accounts)",
    ):
        op.execute(statement)
