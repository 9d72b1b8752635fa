"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("scopes", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("replaced_by", sa.String(length=32), nullable=True),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("hash", name=op.f("uq_api_key_hash")),
    )
    op.create_table(
        "audit_entry",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("previous", sa.LargeBinary(length=32), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_entry")),
    )
    op.create_table(
        "bank",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("placement", sa.String(length=200), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_bank")),
    )
    with op.batch_alter_table("bank", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_bank_placement"), ["placement"], unique=False)

    op.create_table(
        "candidate_list",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("placement", sa.String(length=200), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_candidate_list")),
    )
    op.create_table(
        "catalogue_revision",
        sa.Column("seq", sa.BigInteger().with_variant(sa.INTEGER(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(length=200), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_catalogue_revision")),
        sa.UniqueConstraint("kind", "id", "revision", name=op.f("uq_catalogue_revision_kind_id_revision")),
    )
    op.create_table(
        "consent_record",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(length=32), nullable=False),
        sa.Column("granted", sa.Boolean(), nullable=False),
        sa.Column("basis", sa.String(length=32), nullable=False),
        sa.Column("channel", sa.String(length=32), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("text_version", sa.String(length=64), nullable=False),
        sa.Column("locale", sa.String(length=16), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consent_record")),
    )
    with op.batch_alter_table("consent_record", schema=None) as batch_op:
        batch_op.create_index("ix_consent_record_subject", ["subject"], unique=False)

    op.create_table(
        "console_user",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("password", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_console_user")),
        sa.UniqueConstraint("email", name=op.f("uq_console_user_email")),
    )
    op.create_table(
        "consumer_offset",
        sa.Column("consumer", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("consumer", name=op.f("pk_consumer_offset")),
    )
    op.create_table(
        "dead_letter",
        sa.Column("number", sa.BigInteger().with_variant(sa.INTEGER(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("place", sa.String(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("cure", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=True),
        sa.Column("message_id", sa.String(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_dead_letter")),
    )
    with op.batch_alter_table("dead_letter", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_dead_letter_at"), ["at"], unique=False)
        batch_op.create_index(batch_op.f("ix_dead_letter_subject"), ["subject"], unique=False)

    op.create_table(
        "decisions_journal",
        sa.Column("seq", sa.BigInteger().with_variant(sa.INTEGER(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("lasting", sa.SmallInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_decisions_journal")),
    )
    with op.batch_alter_table("decisions_journal", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_decisions_journal_id"), ["id"], unique=False)
        batch_op.create_index(batch_op.f("ix_decisions_journal_subject"), ["subject"], unique=False)

    op.create_table(
        "deferred_event",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("available_at", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_deferred_event")),
    )
    with op.batch_alter_table("deferred_event", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_deferred_event_available_at"), ["available_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_deferred_event_subject"), ["subject"], unique=False)

    op.create_table(
        "erasure_receipt",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("done_at", sa.BigInteger(), nullable=True),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasure_receipt")),
    )
    op.create_table(
        "erasure_tombstone",
        sa.Column("key", sa.LargeBinary(length=16), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_erasure_tombstone")),
    )
    op.create_table(
        "events_journal",
        sa.Column("seq", sa.BigInteger().with_variant(sa.INTEGER(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("lasting", sa.SmallInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_events_journal")),
    )
    op.create_table(
        "events_sealed_id",
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events_sealed_id")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "identity_edge",
        sa.Column("low", sa.String(), nullable=False),
        sa.Column("high", sa.String(), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("public", sa.Boolean(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("message_id", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("suppressed", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("low", "high", name=op.f("pk_identity_edge")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("identity_edge", schema=None) as batch_op:
        batch_op.create_index("ix_identity_edge_high", ["high"], unique=False)

    op.create_table(
        "identity_merge",
        sa.Column("number", sa.BigInteger().with_variant(sa.INTEGER(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("low", sa.String(), nullable=False),
        sa.Column("high", sa.String(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("before", sa.String(length=16), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("message_id", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_identity_merge")),
    )
    with op.batch_alter_table("identity_merge", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_identity_merge_high"), ["high"], unique=False)
        batch_op.create_index(batch_op.f("ix_identity_merge_low"), ["low"], unique=False)

    op.create_table(
        "journal_head",
        sa.Column("journal", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("journal", name=op.f("pk_journal_head")),
    )
    op.create_table(
        "learner",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_learner")),
    )
    op.create_table(
        "lease",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=128), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lease")),
    )
    op.create_table(
        "outcome",
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("decision_id", sa.String(length=40), nullable=False),
        sa.Column("offer_id", sa.String(length=200), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("event", sa.String(length=200), nullable=False),
        sa.Column("message_id", sa.String(length=200), nullable=False),
        sa.Column("order_id", sa.String(length=200), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("trusted", sa.Boolean(), nullable=False),
        sa.Column("placement", sa.String(length=200), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outcome")),
    )
    with op.batch_alter_table("outcome", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_outcome_decision_id"), ["decision_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_outcome_order_id"), ["order_id"], unique=False)
        batch_op.create_index("ix_outcome_subject", ["subject"], unique=False)

    op.create_table(
        "outcomes_journal",
        sa.Column("seq", sa.BigInteger().with_variant(sa.INTEGER(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("lasting", sa.SmallInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_outcomes_journal")),
    )
    op.create_table(
        "outcomes_sealed_id",
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outcomes_sealed_id")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "product",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("category", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_product")),
    )
    op.create_table(
        "profile_leaf",
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_profile_leaf")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "shared_device",
        sa.Column("identifier", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("identifier", name=op.f("pk_shared_device")),
    )
    op.create_table(
        "stock_move",
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("offer_id", sa.String(length=200), nullable=False),
        sa.Column("units", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stock_move")),
    )
    with op.batch_alter_table("stock_move", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_stock_move_offer_id"), ["offer_id"], unique=False)

    op.create_table(
        "workspace_secret",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.LargeBinary(length=32), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_workspace_secret")),
    )


def downgrade() -> None:
    op.drop_table("workspace_secret")
    with op.batch_alter_table("stock_move", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_stock_move_offer_id"))

    op.drop_table("stock_move")
    op.drop_table("shared_device")
    op.drop_table("profile_leaf")
    op.drop_table("product")
    op.drop_table("outcomes_sealed_id")
    op.drop_table("outcomes_journal")
    with op.batch_alter_table("outcome", schema=None) as batch_op:
        batch_op.drop_index("ix_outcome_subject")
        batch_op.drop_index(batch_op.f("ix_outcome_order_id"))
        batch_op.drop_index(batch_op.f("ix_outcome_decision_id"))

    op.drop_table("outcome")
    op.drop_table("lease")
    op.drop_table("learner")
    op.drop_table("journal_head")
    with op.batch_alter_table("identity_merge", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_identity_merge_low"))
        batch_op.drop_index(batch_op.f("ix_identity_merge_high"))

    op.drop_table("identity_merge")
    with op.batch_alter_table("identity_edge", schema=None) as batch_op:
        batch_op.drop_index("ix_identity_edge_high")

    op.drop_table("identity_edge")
    op.drop_table("events_sealed_id")
    op.drop_table("events_journal")
    op.drop_table("erasure_tombstone")
    op.drop_table("erasure_receipt")
    with op.batch_alter_table("deferred_event", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_deferred_event_subject"))
        batch_op.drop_index(batch_op.f("ix_deferred_event_available_at"))

    op.drop_table("deferred_event")
    with op.batch_alter_table("decisions_journal", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_decisions_journal_subject"))
        batch_op.drop_index(batch_op.f("ix_decisions_journal_id"))

    op.drop_table("decisions_journal")
    with op.batch_alter_table("dead_letter", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_dead_letter_subject"))
        batch_op.drop_index(batch_op.f("ix_dead_letter_at"))

    op.drop_table("dead_letter")
    op.drop_table("consumer_offset")
    op.drop_table("console_user")
    with op.batch_alter_table("consent_record", schema=None) as batch_op:
        batch_op.drop_index("ix_consent_record_subject")

    op.drop_table("consent_record")
    op.drop_table("catalogue_revision")
    op.drop_table("candidate_list")
    with op.batch_alter_table("bank", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_bank_placement"))

    op.drop_table("bank")
    op.drop_table("audit_entry")
    op.drop_table("api_key")
