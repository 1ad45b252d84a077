"""What can become of a server."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from gateway.experiments.store import database
from gateway.experiments.store.errors import StoreUnavailable
from gateway.experiments.store.store import Store
from tests.gateway.experiments.store.evidence import RUN
from tests.gateway.experiments.store.postgresql_server import PASSWORD, PostgresqlServer

Open = Callable[..., Store]


@pytest.fixture
def name(server: PostgresqlServer) -> str:
    return server.database()


@pytest.fixture
def remote(server: PostgresqlServer, name: str, open_store: Open) -> Store:
    return open_store(server.url(name))


def save(store: Store, number: int) -> None:
    with store.transaction() as saving:
        saving.save_counters(RUN, {"n": number})


def kept(store: Store) -> int | None:
    found = store.load(RUN)
    return found and found.own.counters["n"]


def refused(store: Store, text: str) -> None:
    with pytest.raises(StoreUnavailable, match=text) as caught:
        save(store, 99)
    assert PASSWORD not in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "postgres"])
def test_the_usual_urls_are_taken(scheme: str, server: PostgresqlServer, name: str, open_store: Open) -> None:
    save(open_store(server.url(name).replace("postgresql", scheme, 1)), 1)


def test_a_server_that_was_gone_and_came_back_works_again(server: PostgresqlServer, remote: Store) -> None:
    save(remote, 1)
    server.stop()
    refused(remote, "connection")
    refused(remote, "connection")
    server.start()
    save(remote, 2)
    assert kept(remote) == 2


def test_a_server_that_was_restarted_between_two_flushes_is_not_noticed(
    server: PostgresqlServer, remote: Store
) -> None:
    save(remote, 1)
    server.stop()
    server.start()
    save(remote, 2)
    assert kept(remote) == 2


def test_a_session_that_is_ended_within_a_flush_saves_nothing_of_it(
    server: PostgresqlServer, name: str, remote: Store
) -> None:
    def cut_off() -> None:
        with remote.transaction() as saving:
            saving.save_counters(RUN, {"n": 2})
            mine = f"datname = '{name}' AND pid <> pg_backend_pid()"
            server.run(name, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}")
            saving.save_policy(RUN, {})

    save(remote, 1)
    with pytest.raises(StoreUnavailable, match="shut down"):
        cut_off()
    assert kept(remote) == 1
    save(remote, 3)
    assert kept(remote) == 3


def test_a_wrong_password_is_not_repeated(server: PostgresqlServer, name: str, open_store: Open) -> None:
    with pytest.raises(StoreUnavailable, match="password") as caught:
        open_store(server.url(name, password="hunter2@")).open()
    assert "hunter2" not in f"{caught.value} {caught.value.__cause__}"


def test_a_database_that_is_not_there_is_named(server: PostgresqlServer, open_store: Open) -> None:
    refused(open_store(server.url("nowhere")), 'database nowhere: .*"nowhere" does not exist')


def test_a_user_who_may_not_create_tables_is_told(server: PostgresqlServer, name: str, open_store: Open) -> None:
    server.run(name, f"CREATE USER guest_{name} PASSWORD 'secret'")
    store = open_store(server.url(name, "secret", f"guest_{name}"))
    refused(store, "the user may not do that; grant it CREATE")
    server.run(name, f"GRANT CREATE ON SCHEMA public TO guest_{name}")
    save(store, 1)


def test_a_locked_table_is_reported_and_works_again_once_let_go(
    server: PostgresqlServer, name: str, remote: Store
) -> None:
    save(remote, 1)
    with psycopg.connect(server.conninfo(name)) as other:
        other.execute("LOCK TABLE torii_counters")
        refused(remote, "another session has had it locked for 2 s")
    save(remote, 2)
    assert kept(remote) == 2


def test_a_read_only_server_is_reported_and_works_again_once_it_is_not(
    server: PostgresqlServer, name: str, remote: Store
) -> None:
    server.run(name, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    refused(remote, "it is read-only: a replica")
    server.run("postgres", f"ALTER DATABASE {name} RESET default_transaction_read_only")
    save(remote, 1)
    assert kept(remote) == 1


def test_tables_that_somebody_dropped_are_reported(server: PostgresqlServer, name: str, remote: Store) -> None:
    save(remote, 1)
    server.run(name, "DROP TABLE torii_counters")
    refused(remote, 'relation "torii_counters" does not exist')


def test_a_host_that_cannot_be_reached_is_named_without_the_password(open_store: Open) -> None:
    refused(open_store("postgresql://ann:hunter2@127.0.0.1:1/torii"), "PostgreSQL database torii on 127.0.0.1:1: ")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("", "cannot be read: expected sqlite:///PATH"),
        ("store.db", "cannot be read"),
        ("mysql://ann:hunter2@host/x", "of an unknown kind: expected"),
        ("postgresql+asyncpg://ann:hunter2@host/x", "of an unknown kind"),
        ("postgresql://ann:hunter2@rest@host/x", "more than one @: in a password it is written %40"),
        ("postgresql://ann:hunter2", "cannot be read"),
    ],
)
def test_a_wrong_url_is_refused_without_repeating_it(url: str, text: str) -> None:
    with pytest.raises(StoreUnavailable, match=text) as caught:
        Store(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_where_the_driver_is_missing_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "find_spec", lambda name: None)
    with pytest.raises(StoreUnavailable, match=r"pip install 'torii-gateway\[postgres\]'"):
        Store("postgresql://host/x")
