"""The schema's history, which Alembic runs."""
