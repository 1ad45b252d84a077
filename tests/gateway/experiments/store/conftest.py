"""Stores to test: files of SQLite, and databases of a PostgreSQL server that is started once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.experiments.store.store import Store
from tests.gateway.experiments.store.postgresql_server import PostgresqlServer, programs, running


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresqlServer]:
    binaries = programs()
    if binaries is None:
        pytest.skip("PostgreSQL's server is not installed (apt-get install postgresql)")
    with running(binaries) as started:
        yield started


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store that does not exist yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/folder/store.db"
    started: PostgresqlServer = request.getfixturevalue("server")
    return started.url(started.database())


@pytest.fixture
def open_store() -> Iterator[Callable[..., Store]]:
    """Makes stores, which are closed after the test."""
    made: list[Store] = []

    def make(url: str, writer: str = "") -> Store:
        made.append(Store(url, writer))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(url: str, open_store: Callable[..., Store]) -> Store:
    return open_store(url)
