"""A gateway that is killed while it saves."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from random import Random
from time import sleep

from gateway.experiments.evidence import Cell
from gateway.experiments.store.records import CellKey, Conversion
from gateway.experiments.store.store import Store
from tests.gateway.experiments.store.evidence import RUN, cell, exposure, same

KILLS = int(os.environ.get("TORII_TEST_KILLS", "5"))  # `make proof-many`: many more


def state(flush: int) -> Cell:
    return cell(flush % 5, 2000)


def unit(flush: int, number: int) -> int:
    return flush * 100 + number


def save(store: Store, flush: int) -> None:
    """All of it says which flush it is of."""
    with store.transaction() as saving:
        saving.save_cells(RUN, {CellKey(0, metric, "a"): state(flush) for metric in ("latency_ms", "other")})
        saving.save_exposures(RUN, [exposure(unit(flush, number), str(flush)) for number in range(100)])
        saving.claim_conversions(RUN, [Conversion("buy", flush.to_bytes(8, "big"))])
        saving.save_counters(RUN, {"flush": flush})


def flush_forever(url: str, saying: Connection) -> None:
    """The child: says each flush once it is saved."""
    store = Store(url)
    kept = store.load(RUN)
    flush = kept.own.counters["flush"] if kept else 0
    while True:
        flush += 1
        save(store, flush)
        saying.send(flush)


def last_said(hearing: Connection) -> int:
    """Waits until nobody can say any more."""
    said = 0
    with suppress(EOFError):
        while True:
            said = hearing.recv()
    return said


def test_a_gateway_that_is_killed_loses_no_flush_that_it_had_saved_and_no_half_of_one(
    url: str, open_store: Callable[..., Store]
) -> None:
    random, processes = Random(1), get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    for _ in range(KILLS):
        hearing, saying = processes.Pipe(duplex=False)
        child = processes.Process(target=flush_forever, args=(url, saying))
        child.start()
        saying.close()
        assert hearing.poll(30)
        sleep(random.uniform(0, 0.15))  # any moment of a flush may be the last
        child.kill()
        child.join()
        said = last_said(hearing)
        hearing.close()
        store = open_store(url)
        kept = store.load(RUN)
        assert kept is not None
        flush = kept.own.counters["flush"]
        assert flush in (said, said + 1)  # killed between saving and saying
        assert all(same(found, state(flush)) for found in kept.own.cells.values())
        units = [exposure(unit(each, 0)).unit for each in range(flush + 2)]
        with store.transaction() as reading:
            assert len(reading.exposures(RUN, units)) == flush
            assert reading.claim_conversions(RUN, [Conversion("buy", flush.to_bytes(8, "big"))]) == set()
        store.close()
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
