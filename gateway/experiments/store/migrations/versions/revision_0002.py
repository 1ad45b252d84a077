"""What devices report of the bundles that they were given."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables of the edge server."""
    op.create_table(
        "torii_edge_count",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("started", sa.Double(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "model", "channel", "version", "started", "kind", "passed", name="torii_edge_count_pkey"
        ),
    )
    op.create_table(
        "torii_edge_latency",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("started", sa.Double(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model", "channel", "version", "started", "step", name="torii_edge_latency_pkey"),
    )
    op.create_table(
        "torii_edge_report",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="torii_edge_report_pkey"),
        sqlite_with_rowid=False,
    )
    op.create_index("torii_edge_report_at", "torii_edge_report", ["at"])
