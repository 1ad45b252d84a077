"""Runs, what was seen in them, units, outcomes, events, secrets."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the first tables."""
    op.create_table(
        "torii_cell",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("writer", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("variant", sa.Text(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "writer", "epoch", "metric", "variant", name="torii_cell_pkey"),
    )
    op.create_table(
        "torii_conversion",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("unit", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "metric", "unit", name="torii_conversion_pkey"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "torii_counters",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("writer", sa.Text(), nullable=False),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "writer", name="torii_counters_pkey"),
    )
    op.create_table(
        "torii_event",
        sa.Column("number", _NUMBER, sa.Identity(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="torii_event_pkey"),
        sqlite_autoincrement=True,
    )
    op.create_index("torii_event_at", "torii_event", ["at"])
    op.create_index("torii_event_name", "torii_event", ["model", "experiment", "number"])
    op.create_table(
        "torii_exposure",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("unit", sa.LargeBinary(), nullable=False),
        sa.Column("variant", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("cluster", sa.SmallInteger(), nullable=False),
        sa.Column("first_at", sa.Double(), nullable=False),
        sa.Column("last_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "unit", name="torii_exposure_pkey"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "torii_look",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("writer", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("looks", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "writer", "at", name="torii_look_pkey"),
    )
    op.create_table(
        "torii_outcome_key",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="torii_outcome_key_pkey"),
        sqlite_with_rowid=False,
    )
    op.create_index("torii_outcome_key_at", "torii_outcome_key", ["at"])
    op.create_table(
        "torii_policy",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("writer", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "writer", name="torii_policy_pkey"),
    )
    op.create_table(
        "torii_run",
        sa.Column("id", _NUMBER, sa.Identity(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("started", sa.Double(), nullable=False),
        sa.Column("ended", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="torii_run_pkey"),
        sqlite_autoincrement=True,
    )
    op.create_index("torii_run_name", "torii_run", ["model", "experiment", "number"], unique=True)
    op.create_table(
        "torii_secret",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="torii_secret_pkey"),
    )
    op.create_table(
        "torii_split",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("writer", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("weights", sa.Text(), nullable=False),
        sa.Column("assigned", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "writer", "epoch", name="torii_split_pkey"),
    )
    op.create_table(
        "torii_writer",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="torii_writer_pkey"),
    )
