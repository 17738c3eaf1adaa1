"""The tables of the first release.

Revision: 0001, the first
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("username_folded", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=True),
        sa.Column("email", sa.String(length=254), nullable=True),
        sa.Column("email_verified", sa.Boolean(), nullable=False),
        sa.Column("password_hash", sa.String(length=256), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("disabled_at", sa.Double(), nullable=True),
        sa.Column("given_name", sa.String(length=128), nullable=True),
        sa.Column("family_name", sa.String(length=128), nullable=True),
        sa.Column("middle_name", sa.String(length=128), nullable=True),
        sa.Column("nickname", sa.String(length=128), nullable=True),
        sa.Column("profile", sa.String(length=512), nullable=True),
        sa.Column("picture", sa.String(length=512), nullable=True),
        sa.Column("website", sa.String(length=512), nullable=True),
        sa.Column("gender", sa.String(length=128), nullable=True),
        sa.Column("birthdate", sa.String(length=10), nullable=True),
        sa.Column("zoneinfo", sa.String(length=64), nullable=True),
        sa.Column("locale", sa.String(length=64), nullable=True),
        sa.Column("phone_number", sa.String(length=32), nullable=True),
        sa.Column("phone_number_verified", sa.Boolean(), nullable=False),
        sa.Column("address", sa.JSON(none_as_null=True), nullable=True),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_accounts")),
        sa.UniqueConstraint("username_folded", name=op.f("uq_accounts_username_folded")),
    )
    op.create_table(
        "authorization_codes",
        sa.Column("code_hash", sa.String(length=64), nullable=False),
        sa.Column("client_id", sa.String(length=128), nullable=False),
        sa.Column("redirect_uri", sa.Text(), nullable=True),
        sa.Column("code_challenge", sa.String(length=64), nullable=True),
        sa.Column("nonce", sa.Text(), nullable=True),
        sa.Column("sid", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("offline", sa.Boolean(), nullable=False),
        sa.Column("auth_time", sa.Double(), nullable=False),
        sa.Column("acr", sa.String(length=64), nullable=False),
        sa.Column("amr", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("used_at", sa.Double(), nullable=True),
        sa.Column("family_id", sa.String(length=32), nullable=True),
        sa.Column("front_family_id", sa.String(length=32), nullable=True),
        sa.Column("claims", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("code_hash", name=op.f("pk_authorization_codes")),
    )
    op.create_index(op.f("ix_authorization_codes_expires_at"), "authorization_codes", ["expires_at"], unique=False)
    op.create_index("ix_authorization_codes_subject_client_id", "authorization_codes", ["subject", "client_id"], unique=False)
    op.create_table(
        "authorization_requests",
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("asked", sa.Text(), nullable=False),
        sa.Column("browser_hash", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("signed_in_by", sa.String(length=64), nullable=True),
        sa.Column("selected_by", sa.String(length=64), nullable=True),
        sa.Column("consented_by", sa.String(length=64), nullable=True),
        sa.Column("denied_at", sa.Double(), nullable=True),
        sa.Column("used_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_authorization_requests")),
    )
    op.create_index(op.f("ix_authorization_requests_expires_at"), "authorization_requests", ["expires_at"], unique=False)
    op.create_table(
        "client_assertions",
        sa.Column("once", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("once", name=op.f("pk_client_assertions")),
    )
    op.create_index(op.f("ix_client_assertions_expires_at"), "client_assertions", ["expires_at"], unique=False)
    op.create_table(
        "client_origins",
        sa.Column("client_id", sa.String(length=128), nullable=False),
        sa.Column("origin", sa.String(length=2048), nullable=False),
        sa.PrimaryKeyConstraint("client_id", "origin", name=op.f("pk_client_origins")),
    )
    op.create_index(op.f("ix_client_origins_origin"), "client_origins", ["origin"], unique=False)
    op.create_table(
        "clients",
        sa.Column("client_id", sa.String(length=128), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("secret_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("registration_hash", sa.String(length=64), nullable=True),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("registration_hash_before", sa.String(length=64), nullable=True),
        sa.Column("secret_hash_before", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_clients")),
    )
    op.create_index(
        "ix_clients_open_expires_at",
        "clients",
        ["expires_at"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NULL AND expires_at IS NOT NULL"),
        postgresql_where=sa.text("ended_at IS NULL AND expires_at IS NOT NULL"),
    )
    op.create_table(
        "consents",
        sa.Column("consent_id", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("client_id", sa.String(length=128), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("granted_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("consent_id", name=op.f("pk_consents")),
    )
    op.create_index(
        "uq_consents_alive",
        "consents",
        ["subject", "client_id"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "deliveries",
        sa.Column("delivery_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("client_id", sa.String(length=128), nullable=False),
        sa.Column("lane", sa.String(length=140), nullable=False),
        sa.Column("party", sa.String(length=128), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=True),
        sa.Column("sid", sa.String(length=64), nullable=True),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("next_attempt_at", sa.Double(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("leased_until", sa.Double(), nullable=True),
        sa.Column("delivered_at", sa.Double(), nullable=True),
        sa.Column("dead_at", sa.Double(), nullable=True),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("last_error", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("delivery_id", name=op.f("pk_deliveries")),
    )
    op.create_index(op.f("ix_deliveries_created_at"), "deliveries", ["created_at"], unique=False)
    op.create_index(op.f("ix_deliveries_sid_client_id"), "deliveries", ["sid", "client_id"], unique=False)
    op.create_index(
        "ix_deliveries_dead_at",
        "deliveries",
        ["dead_at"],
        unique=False,
        sqlite_where=sa.text("dead_at IS NOT NULL"),
        postgresql_where=sa.text("dead_at IS NOT NULL"),
    )
    op.create_index(
        "ix_deliveries_lane",
        "deliveries",
        ["lane", "next_attempt_at", "created_at"],
        unique=False,
        sqlite_where=sa.text("delivered_at IS NULL AND dead_at IS NULL"),
        postgresql_where=sa.text("delivered_at IS NULL AND dead_at IS NULL"),
    )
    op.create_table(
        "delivery_lanes",
        sa.Column("lane", sa.String(length=140), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("leased_until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("lane", name=op.f("pk_delivery_lanes")),
    )
    op.create_table(
        "delivery_parties",
        sa.Column("client_id", sa.String(length=128), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", sa.Double(), nullable=False),
        sa.Column("open_until", sa.Double(), nullable=False),
        sa.Column("last_error", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_delivery_parties")),
    )
    op.create_table(
        "ended_tokens",
        sa.Column("jti", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("jti", name=op.f("pk_ended_tokens")),
    )
    op.create_index(op.f("ix_ended_tokens_expires_at"), "ended_tokens", ["expires_at"], unique=False)
    op.create_table(
        "pairwise_subjects",
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("sector", sa.String(length=255), nullable=False),
        sa.Column("sub", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("subject", "sector", name=op.f("pk_pairwise_subjects")),
        sa.UniqueConstraint("sub", name=op.f("uq_pairwise_subjects_sub")),
    )
    op.create_table(
        "registration_quotas",
        sa.Column("bucket", sa.String(length=64), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", name=op.f("pk_registration_quotas")),
    )
    op.create_index(op.f("ix_registration_quotas_expires_at"), "registration_quotas", ["expires_at"], unique=False)
    op.create_table(
        "registration_tokens",
        sa.Column("token_id", sa.String(length=32), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("uses_left", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("token_id", name=op.f("pk_registration_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_registration_tokens_token_hash")),
    )
    op.create_table(
        "sessions",
        sa.Column("sid", sa.String(length=64), nullable=False),
        sa.Column("cookie_hash", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("auth_time", sa.Double(), nullable=False),
        sa.Column("last_used_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("amr", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("user_agent", sa.String(length=256), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("end_reason", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("sid", name=op.f("pk_sessions")),
        sa.UniqueConstraint("cookie_hash", name=op.f("uq_sessions_cookie_hash")),
    )
    op.create_index("ix_sessions_subject_ended_at", "sessions", ["subject", "ended_at"], unique=False)
    for name, column, which in (
        ("open_last_used_at", "last_used_at", "ended_at IS NULL"),
        ("open_expires_at", "expires_at", "ended_at IS NULL"),
        ("ended_at", "ended_at", "ended_at IS NOT NULL"),
    ):
        op.create_index(
            f"ix_sessions_{name}",
            "sessions",
            [column],
            unique=False,
            sqlite_where=sa.text(which),
            postgresql_where=sa.text(which),
        )
    op.create_table(
        "sign_in_throttles",
        sa.Column("bucket", sa.String(length=64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", name=op.f("pk_sign_in_throttles")),
    )
    op.create_index(op.f("ix_sign_in_throttles_expires_at"), "sign_in_throttles", ["expires_at"], unique=False)
    op.create_table(
        "signal_streams",
        sa.Column("stream_id", sa.String(length=64), nullable=False),
        sa.Column("client_id", sa.String(length=128), nullable=False),
        sa.Column("method", sa.String(length=32), nullable=False),
        sa.Column("endpoint_url", sa.Text(), nullable=True),
        sa.Column("authorization", sa.LargeBinary(), nullable=True),
        sa.Column("events_requested", sa.JSON(), nullable=False),
        sa.Column("description", sa.String(length=512), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("status_reason", sa.String(length=256), nullable=True),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.Column("acked_ahead", sa.JSON(), nullable=False),
        sa.Column("removed_subjects", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.Column("verified_at", sa.Double(), nullable=True),
        sa.Column("sector", sa.String(length=255), nullable=True),
        sa.PrimaryKeyConstraint("stream_id", name=op.f("pk_signal_streams")),
    )
    op.create_index(op.f("ix_signal_streams_client_id"), "signal_streams", ["client_id"], unique=False)
    op.create_table(
        "signals",
        sa.Column("signal_id", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("event", sa.String(length=128), nullable=False),
        sa.Column("subject", sa.JSON(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("sid", sa.String(length=64), nullable=True),
        sa.Column("stream_id", sa.String(length=64), nullable=True),
        sa.Column("occurred_at", sa.Double(), nullable=False),
        sa.Column("tokens_until", sa.Double(), nullable=False),
        sa.Column("sector", sa.String(length=255), nullable=True),
        sa.PrimaryKeyConstraint("signal_id", name=op.f("pk_signals")),
        sa.UniqueConstraint("seq", name=op.f("uq_signals_seq")),
    )
    op.create_index(op.f("ix_signals_occurred_at"), "signals", ["occurred_at"], unique=False)
    op.create_index(op.f("ix_signals_sid"), "signals", ["sid"], unique=False)
    op.create_index(
        "ix_signals_unnumbered",
        "signals",
        ["occurred_at"],
        unique=False,
        sqlite_where=sa.text("seq IS NULL"),
        postgresql_where=sa.text("seq IS NULL"),
    )
    op.create_table(
        "signing_keys",
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("alg", sa.String(length=16), nullable=False),
        sa.Column("predecessor", sa.String(length=64), nullable=False),
        sa.Column("published_at", sa.Double(), nullable=False),
        sa.Column("active_at", sa.Double(), nullable=False),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.Column("revoked_reason", sa.String(length=200), nullable=True),
        sa.Column("public", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("holder", sa.String(length=16), nullable=False),
        sa.Column("announcement", sa.Double(), nullable=False),
        sa.Column("retention", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_signing_keys")),
        sa.UniqueConstraint("alg", "predecessor", name=op.f("uq_signing_keys_alg_predecessor")),
    )
    op.create_table(
        "token_families",
        sa.Column("family_id", sa.String(length=32), nullable=False),
        sa.Column("client_id", sa.String(length=128), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("sid", sa.String(length=64), nullable=True),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("offline", sa.Boolean(), nullable=False),
        sa.Column("auth_time", sa.Double(), nullable=False),
        sa.Column("acr", sa.String(length=64), nullable=False),
        sa.Column("amr", sa.String(length=64), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=True),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("rotated_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("end_reason", sa.String(length=64), nullable=True),
        sa.Column("status_index", sa.BigInteger(), nullable=False),
        sa.Column("sector_sub", sa.String(length=64), nullable=True),
        sa.Column("sector_sid", sa.String(length=64), nullable=True),
        sa.Column("claims", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("family_id", name=op.f("pk_token_families")),
        sa.UniqueConstraint("status_index", name=op.f("uq_token_families_status_index")),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(sa.schema.CreateSequence(sa.Sequence("token_family_indices", start=0, minvalue=0)))
    is_open = sa.column("ended_at").is_(None)
    for name, column, these in (
        ("ended_at", "ended_at", sa.column("ended_at").is_not(None)),
        ("offline_started_at", "started_at", sa.and_(sa.column("offline", sa.Boolean()), is_open)),
        ("open_client_id", "client_id", is_open),
    ):
        op.create_index(
            f"ix_token_families_{name}",
            "token_families",
            [column],
            unique=False,
            sqlite_where=these,
            postgresql_where=these,
        )
    op.create_index(op.f("ix_token_families_sid"), "token_families", ["sid"], unique=False)
    op.create_index("ix_token_families_subject_client_id", "token_families", ["subject", "client_id"], unique=False)
    op.create_table(
        "username_likenesses",
        sa.Column("skeleton", sa.String(length=256), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["subject"], ["accounts.subject"], name=op.f("fk_username_likenesses_subject"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("skeleton", name=op.f("pk_username_likenesses")),
    )
    op.create_index(op.f("ix_username_likenesses_subject"), "username_likenesses", ["subject"], unique=False)
    op.create_table(
        "session_clients",
        sa.Column("sid", sa.String(length=64), nullable=False),
        sa.Column("client_id", sa.String(length=128), nullable=False),
        sa.Column("first_used_at", sa.Double(), nullable=False),
        sa.Column("sector", sa.String(length=255), nullable=True),
        sa.Column("sector_sid", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["sid"], ["sessions.sid"], name=op.f("fk_session_clients_sid"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sid", "client_id", name=op.f("pk_session_clients")),
    )
    op.create_index(op.f("ix_session_clients_client_id"), "session_clients", ["client_id"], unique=False)
