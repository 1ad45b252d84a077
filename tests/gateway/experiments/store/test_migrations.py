"""The schema's history."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text

from gateway.experiments.store import schema
from gateway.experiments.store.database import database_at
from gateway.experiments.store.errors import StoreUnavailable
from gateway.experiments.store.store import Store
from gateway.experiments.store.tables import METADATA, VERSION_TABLE
from tests.gateway.experiments.store.evidence import RUN, exposure

Open = Callable[..., Store]


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    made = database_at(url).engine()
    yield made
    made.dispose()


@pytest.mark.parametrize("revision", schema.revisions())
def test_a_store_of_any_earlier_schema_becomes_what_the_tables_say(
    revision: str, engine: Engine, url: str, open_store: Open
) -> None:
    with engine.begin() as connection:
        schema.upgrade(connection, "the store", to=revision)
    with open_store(url).transaction() as saving:
        saving.save_exposures(RUN, [exposure(1)])
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, METADATA) == []


def test_a_store_of_a_newer_schema_is_refused_and_left_as_it_is(engine: Engine, url: str, open_store: Open) -> None:
    store = open_store(url)
    store.open()
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    again = open_store(url)
    with pytest.raises(StoreUnavailable, match=r"schema 9999, and this Torii knows those up to .* newer Torii"):
        again.open()
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '{schema.revisions()[-1]}'"))
    again.open()


def test_other_peoples_tables_in_the_same_database_stay(engine: Engine, store: Store) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE run (id INTEGER)"))
        connection.execute(text("CREATE TABLE alembic_version (version_num TEXT)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('of another')"))
    store.open()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == ["of another"]


def test_gateways_that_open_an_empty_store_at_a_time_make_it_once(url: str, open_store: Open) -> None:
    stores = [open_store(url, str(number)) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Store.open, stores))
    assert all(each.load(RUN) is None for each in stores)
