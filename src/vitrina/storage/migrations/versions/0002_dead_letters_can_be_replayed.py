"""Dead letters can be replayed: whose trust they have, what they are about, and what became of them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("dead_letter") as table:
        table.add_column(sa.Column("trusted", sa.Boolean(), server_default=sa.false(), nullable=False))
        table.add_column(sa.Column("event", sa.String(), server_default=sa.text("''"), nullable=False))
        table.add_column(sa.Column("status", sa.String(length=16), server_default="waiting", nullable=False))
        table.add_column(sa.Column("changed_at", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("changed_by", sa.String(length=200), nullable=True))
        table.create_index("ix_dead_letter_message_id", ["message_id"])


def downgrade() -> None:
    with op.batch_alter_table("dead_letter") as table:
        table.drop_index("ix_dead_letter_message_id")
        for name in ("changed_by", "changed_at", "status", "event", "trusted"):
            table.drop_column(name)
