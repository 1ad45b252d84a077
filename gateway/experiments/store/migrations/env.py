"""What Alembic runs: the migrations, on the connection and within the transaction that `schema.upgrade` has begun."""

from alembic import context

from gateway.experiments.store.tables import METADATA, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"], target_metadata=METADATA, version_table=VERSION_TABLE
)
with context.begin_transaction():
    context.run_migrations()
