"""Brings a database to the newest schema, and refuses one that is newer still."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from gateway.experiments.store.errors import StoreUnavailable
from gateway.experiments.store.tables import VERSION_TABLE

_MIGRATIONS: Final = Path(__file__).parent / "migrations"


def upgrade(connection: Connection, title: str, to: str = "head") -> None:
    """Migrate within the connection's transaction; StoreUnavailable where the schema is one of a newer Torii."""
    script = ScriptDirectory(_MIGRATIONS)
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    current, known = set(context.get_current_heads()), set(revisions())
    if current - known:
        raise StoreUnavailable(
            f"{title} has the schema {', '.join(sorted(current - known))}, and this Torii knows those up to "
            f"{', '.join(script.get_heads())}: a newer Torii has used it. Use that one, or another store"
        )
    if to != "head" or current != set(script.get_heads()):
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, to)


def revisions() -> list[str]:
    """All revisions of the schema, oldest first."""
    return [each.revision for each in ScriptDirectory(_MIGRATIONS).walk_revisions()][::-1]
