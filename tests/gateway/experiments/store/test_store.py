"""What every store has to do: in SQLite and in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier
from time import time

import numpy as np
import pytest
from sqlalchemy import update

from gateway.experiments.evidence import Split
from gateway.experiments.store.database import database_at
from gateway.experiments.store.errors import StoreUnavailable
from gateway.experiments.store.looks import MOMENTS
from gateway.experiments.store.records import CellKey, Conversion, Kept, Run
from gateway.experiments.store.store import Store
from gateway.experiments.store.tables import CELL, LOOK
from tests.gateway.experiments.store.evidence import KEY, NOON, RUN, cell, event, exposure, look, same

Open = Callable[..., Store]


def test_of_a_run_that_never_was_nothing_is_kept(store: Store) -> None:
    assert store.load(RUN) is None
    assert store.looks(RUN) == []
    assert store.events() == []


def test_a_run_comes_back_as_it_was_saved_after_a_restart(store: Store, url: str, open_store: Open) -> None:
    cells = {KEY: cell(1), CellKey(3, "errors", "tf"): cell(2, histogram=False), CellKey(3, "empty", "tf"): cell(3, 0)}
    splits = {0: Split({"tf": 50.0, "onnx": 50.0}, {"tf": 7, "onnx": 9}), 3: Split({"tf": 90.0}, {})}
    with store.transaction() as saving:
        saving.save_run(RUN, NOON, NOON + timedelta(hours=1))
        saving.save_cells(RUN, cells)
        saving.save_splits(RUN, splits)
        saving.save_counters(RUN, {"late": 3, "many": 2**62})
        saving.save_policy(RUN, {"arms": {"tf": [1, 2.5]}})
    store.close()
    kept = open_store(url).load(RUN)
    assert kept is not None
    assert (kept.run, kept.started, kept.ended) == (RUN, NOON, NOON + timedelta(hours=1))
    assert kept.own.cells.keys() == cells.keys()
    assert all(same(kept.own.cells[key], cells[key]) for key in cells)
    assert kept.own.splits == splits
    assert kept.own.counters == {"late": 3, "many": 2**62}
    assert kept.policy == {"arms": {"tf": [1, 2.5]}}
    assert kept.others == Kept()


def test_state_is_absolute_and_what_is_not_saved_again_stays(store: Store) -> None:
    other = CellKey(1, "latency_ms", "onnx")
    for seed in (1, 2):
        with store.transaction() as saving:
            saving.save_cells(RUN, {KEY: cell(seed)} | ({other: cell(9)} if seed == 1 else {}))
            saving.save_counters(RUN, {"late": seed})
            saving.save_splits(RUN, {0: Split({"a": 1.0}, {"a": seed})})
    kept = store.load(RUN)
    assert kept is not None
    assert same(kept.own.cells[KEY], cell(2))
    assert same(kept.own.cells[other], cell(9))
    assert (kept.own.counters, kept.own.splits[0].assigned) == ({"late": 2}, {"a": 2})


def test_runs_of_one_experiment_and_of_others_do_not_mix(store: Store) -> None:
    runs = [RUN, RUN._replace(number=2), RUN._replace(experiment="other"), RUN._replace(model="cnn")]
    with store.transaction() as saving:
        for number, run in enumerate(runs):
            saving.save_counters(run, {"n": number})
            saving.save_exposures(run, [exposure(1, variant=str(number))])
            assert saving.claim_conversions(run, [Conversion("buy", b"u" * 8)])
    kept = [store.load(run) for run in runs]
    assert [each and each.own.counters["n"] for each in kept] == [0, 1, 2, 3]
    with store.transaction() as reading:
        found = [reading.exposures(run, [exposure(1).unit]) for run in runs]
    assert [each[exposure(1).unit].variant for each in found] == ["0", "1", "2", "3"]


def test_a_run_that_was_not_said_to_start_starts_with_what_is_saved_first(store: Store) -> None:
    before = time()
    with store.transaction() as saving:
        saving.save_counters(RUN, {})
    kept = store.load(RUN)
    assert kept is not None
    assert before - 1 <= kept.started.timestamp() <= time() + 1
    assert kept.ended is None


def test_a_run_that_ended_and_goes_on_has_no_end(store: Store) -> None:
    for ended in (NOON, None):
        with store.transaction() as saving:
            saving.save_run(RUN, NOON, ended)
    kept = store.load(RUN)
    assert kept is not None
    assert (kept.started, kept.ended) == (NOON, None)


def test_nothing_of_a_transaction_that_raises_is_saved(store: Store) -> None:
    def fail() -> None:
        with store.transaction() as saving:
            saving.save_cells(RUN, {KEY: cell(1)})
            saving.claim_keys([b"k" * 16], 1.0)
            saving.add_events([event("start")])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert store.load(RUN) is None
    assert store.events() == []
    with store.transaction() as claiming:
        assert claiming.claim_keys([b"k" * 16], 1.0) == {b"k" * 16}


def test_an_error_of_the_caller_is_not_the_stores(store: Store) -> None:
    def fail() -> None:
        with store.transaction():
            raise FileNotFoundError("mine")

    with pytest.raises(FileNotFoundError, match="mine"):
        fail()


def test_what_gateways_saw_adds_up(url: str, open_store: Open) -> None:
    gateways = {name: open_store(url, name) for name in ("a", "b", "c")}
    alone = CellKey(1, "errors", "tf")
    for seed, (name, gateway) in enumerate(gateways.items()):
        with gateway.transaction() as saving:
            saving.save_cells(RUN, {KEY: cell(seed)} | ({alone: cell(9, histogram=False)} if name == "c" else {}))
            saving.save_splits(RUN, {0: Split({"tf": 50.0}, {"tf": 10**seed, name: 1})})
            saving.save_counters(RUN, {"late": 10**seed, name: 1})
            saving.save_policy(RUN, {"of": name})
    kept = gateways["a"].load(RUN)
    assert kept is not None
    others = cell(1)
    others.merge(cell(2))
    assert same(kept.own.cells[KEY], cell(0))
    assert same(kept.others.cells[KEY], others)
    assert same(kept.others.cells[alone], cell(9, histogram=False))
    assert (kept.own.splits[0].assigned, kept.others.splits[0].assigned) == (
        {"tf": 1, "a": 1},
        {"tf": 110, "b": 1, "c": 1},
    )
    assert (kept.own.counters, kept.others.counters) == ({"late": 1, "a": 1}, {"late": 110, "b": 1, "c": 1})
    assert kept.policy == {"of": "a"}


def test_a_gateway_started_later_under_the_same_name_goes_on_and_the_first_one_is_told(
    url: str, open_store: Open
) -> None:
    first, second = open_store(url, "a"), open_store(url, "a")
    with first.transaction() as saving:
        saving.save_counters(RUN, {"n": 1})
    second.open()
    for _ in range(2):  # it does not take the name back
        with (
            pytest.raises(StoreUnavailable, match="another gateway that was started later, under the same name"),
            first.transaction() as saving,
        ):
            saving.save_counters(RUN, {"n": 2})
    with second.transaction() as saving:
        saving.save_counters(RUN, {"n": 3})
    kept = first.load(RUN)
    assert kept is not None
    assert kept.own.counters == {"n": 3}


def test_a_unit_keeps_its_first_time_and_moves_on_in_all_else(store: Store) -> None:
    unit = exposure(1).unit
    told = [("tf", 0, 10, 10), ("late", 1, 5, 6), ("onnx", 2, 20, 30), ("later", 1, 7, 8)]
    for each in (exposure(1, *rest) for rest in told):
        with store.transaction() as saving:
            saving.save_exposures(RUN, [each])
    with store.transaction() as reading:
        assert reading.exposures(RUN, [unit, b"unknown!"]) == {unit: exposure(1, "onnx", 2, 5, 30)}


def test_many_units_are_saved_and_found_at_once(store: Store) -> None:
    many = [exposure(unit) for unit in range(12_000)]
    with store.transaction() as saving:
        saving.save_exposures(RUN, many[:8000])
        saving.save_exposures(RUN, many[4000:])
        assert saving.exposures(RUN, [each.unit for each in many]) == {each.unit: each for each in many}
        assert saving.exposures(RUN, []) == {}


def test_a_conversion_is_new_once(store: Store) -> None:
    units = [unit.to_bytes(8, "big") for unit in range(3000)]
    with store.transaction() as claiming:
        first = claiming.claim_conversions(RUN, [Conversion("buy", unit) for unit in units[:2000]])
    with store.transaction() as claiming:
        twice = [Conversion("buy", unit) for unit in units + units]
        second = claiming.claim_conversions(RUN, [*twice, Conversion("return", units[0])])
    assert first == {Conversion("buy", unit) for unit in units[:2000]}
    assert second == {Conversion("buy", unit) for unit in units[2000:]} | {Conversion("return", units[0])}


def test_a_key_is_new_once(store: Store) -> None:
    keys = [number.to_bytes(16, "big") for number in range(3000)]
    with store.transaction() as claiming:
        assert claiming.claim_keys(keys[:2000], 1.0) == set(keys[:2000])
        assert claiming.claim_keys(keys + keys, 2.0) == set(keys[2000:])
        assert claiming.claim_keys([], 3.0) == set()


def test_of_gateways_that_claim_the_same_at_a_time_each_gets_what_no_other_got(url: str, open_store: Open) -> None:
    names, keys, start = ("a", "b", "c"), [number.to_bytes(16, "big") for number in range(9000)], Barrier(3)

    def claim(name: str) -> tuple[bytes, int]:
        gateway, got = open_store(url, name), 0
        secret = gateway.secret("mac", lambda: name.encode() * 32)
        start.wait()
        for turn in range(3):
            wanted = keys[turn * 3000 : turn * 3000 + 3000]
            with gateway.transaction() as claiming:
                got += len(claiming.claim_keys(wanted if name == "b" else wanted[::-1], 1.0))
                claiming.save_exposures(
                    RUN, [exposure(unit) for unit in (range(99) if name == "b" else range(98, 0, -1))]
                )
        return secret, got

    with ThreadPoolExecutor(3) as pool:
        secrets, counts = zip(*pool.map(claim, names), strict=True)
    assert sum(counts) == 9000
    assert len(set(secrets)) == 1


def test_a_secret_is_made_once(store: Store, url: str, open_store: Open) -> None:
    assert store.secret("mac", lambda: bytes(range(32))) == bytes(range(32))
    assert open_store(url, "other").secret("mac", lambda: b"else") == bytes(range(32))
    assert store.secret("another", lambda: b"\0") == b"\0"


def test_events_come_newest_first_by_model_and_experiment(store: Store) -> None:
    with store.transaction() as saving:
        saving.add_events([event("create"), event("start"), event("start", "other"), event("start", model="cnn")])
    found = store.events()
    assert [(each.action, each.model, each.experiment) for each in found] == [
        ("start", "cnn", RUN.experiment),
        ("start", "digits", "other"),
        ("start", "digits", RUN.experiment),
        ("create", "digits", RUN.experiment),
    ]
    numbers = [each.number for each in found]
    assert numbers == sorted(set(numbers), reverse=True)
    created = event("create")
    assert found[-1] == type(created)(numbers[-1], *[getattr(created, name) for name in created.__struct_fields__[1:]])
    assert [each.experiment for each in store.events("digits")] == ["other", RUN.experiment, RUN.experiment]
    assert len(store.events("digits", RUN.experiment, limit=1)) == 1


def test_an_event_may_hold_what_json_and_databases_do_not_like(store: Store) -> None:
    odd = event("stop", reason="a\0b\ud800'\";--ü")
    odd = type(odd)(
        0, NOON, odd.who, odd.action, odd.model, odd.experiment, {"x": float("nan")}, {"since": NOON}, odd.reason
    )
    with store.transaction() as saving:
        saving.add_events([odd])
    (found,) = store.events()
    assert found.reason == "a\ufffdb?'\";--ü"
    assert found.before == {"x": None}
    assert datetime.fromisoformat(found.after["since"]) == NOON


def test_looks_come_oldest_first(store: Store) -> None:
    with store.transaction() as saving:
        saving.save_looks(RUN, [look(2), look(1, variant="a"), look(1, variant="b")])
        saving.save_looks(RUN, [look(0)])
    assert store.looks(RUN) == [look(0), look(1, variant="a"), look(1, variant="b"), look(2)]
    assert store.looks(RUN._replace(number=2)) == []


def test_many_looks_are_thinned_evenly_and_the_newest_stays(store: Store) -> None:
    last = 3 * MOMENTS
    for start in range(0, last, 50):
        with store.transaction() as saving:
            moments = range(start, start + 50)
            saving.save_looks(RUN, [look(second, variant=name) for second in moments for name in "ab"])
    found = store.looks(RUN)
    times = [(each.at - NOON).total_seconds() for each in found if each.variant == "a"]
    assert len(found) == 2 * len(times)
    assert MOMENTS / 2 <= len(times) <= MOMENTS * 6 // 5
    assert (times[0], times[-1]) == (0, last - 1)
    assert np.diff(times).max() <= 3 * last / MOMENTS


def test_what_somebody_else_wrote_into_the_store_is_reported(store: Store, url: str) -> None:
    with store.transaction() as saving:
        saving.save_cells(RUN, {KEY: cell(1)})
        saving.save_looks(RUN, [look(0)])
    engine = database_at(url).engine()
    with engine.begin() as connection:
        connection.execute(update(CELL).values(state=b"else"))
        connection.execute(update(LOOK).values(looks='["else"]'))
    engine.dispose()
    with pytest.raises(StoreUnavailable, match="holds something else than was saved: a cell has"):
        store.load(RUN)
    with pytest.raises(StoreUnavailable, match="holds something else than was saved: Expected"):
        store.looks(RUN)


def forgotten(store: Store, **limits: datetime) -> int:
    count, most = 0, 0
    while some := store.forget(**limits, limit=7):
        count, most = count + some, max(most, some)
    assert most <= 7
    return count


def test_units_of_ended_runs_and_old_keys_are_forgotten_first_a_bounded_part_at_a_time(store: Store) -> None:
    hour, ended, running = timedelta(hours=1), RUN, RUN._replace(number=2)
    for run, end in ((ended, NOON), (running, None)):
        with store.transaction() as saving:
            saving.save_run(run, NOON - hour, end)
            saving.save_exposures(run, [exposure(unit) for unit in range(20)])
            saving.claim_conversions(run, [Conversion("buy", b"u" * 8)])
            saving.save_cells(run, {KEY: cell(1)})
            saving.save_looks(run, [look(0)])
    with store.transaction() as saving:
        saving.claim_keys([b"old"], NOON.timestamp() - 1)
        saving.claim_keys([b"new"], NOON.timestamp() + 1)
    assert store.forget(NOON, NOON - hour) == 1  # nothing ended before noon; a key is older
    assert forgotten(store, outcomes_before=NOON + hour / 2, runs_before=NOON) == 20 + 1 + 1
    with store.transaction() as reading:
        assert reading.exposures(ended, [exposure(1).unit]) == {}
        assert reading.exposures(running, [exposure(1).unit]) != {}
        assert reading.claim_conversions(running, [Conversion("buy", b"u" * 8)]) == set()
    kept = store.load(ended)
    assert kept is not None
    assert kept.own.cells.keys() == {KEY}
    assert store.looks(ended) == [look(0)]


def test_old_runs_and_events_are_forgotten_as_a_whole(store: Store) -> None:
    later = NOON + timedelta(hours=1)
    with store.transaction() as saving:
        for number in range(1, 4):
            run = Run("digits", "x", number)
            saving.save_run(run, NOON, later if number == 3 else None if number == 2 else NOON)
            saving.save_cells(run, {CellKey(epoch, "errors", "a"): cell(1, 10, False) for epoch in range(9)})
            saving.save_splits(run, {0: Split({}, {})})
            saving.save_counters(run, {})
            saving.save_policy(run, {})
            saving.save_looks(run, [look(0)])
            saving.save_exposures(run, [exposure(1)])
        saving.add_events([event("start")])
    assert (
        forgotten(store, outcomes_before=NOON, runs_before=NOON + timedelta(seconds=1)) == 9 + 1 + 1 + 1 + 1 + 1 + 1 + 1
    )
    assert [store.load(Run("digits", "x", number)) is None for number in (1, 2, 3)] == [True, False, False]
    assert store.events() == []
    with store.transaction() as saving:
        saving.add_events([event("again")])
    assert store.events()[0].number == 2  # numbers are not given twice
