"""Units: exposed once each, counted without remembering all of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.conduct.active import Active
from gateway.conduct.evidence import RunEvidence
from gateway.conduct.runs import begun_anew
from gateway.conduct.saving import Flush, Saving
from gateway.conduct.units import DistinctUnits, RecentExposures
from gateway.experiments.definition import Definition
from gateway.experiments.files import read_experiment
from gateway.types import BY_CHANCE
from tests.gateway.conduct.world import NOW, TWO, TroubledKeeper, increment, unit_numbers

BOUGHT = f'{TWO}[metrics.bought]\nkind = "conversion"\n'


def definition(text: str = TWO) -> Definition:
    """An experiment that has just begun."""
    return begun_anew(read_experiment(text, "m", "x", "x"), NOW)


def opened(folder: Path, of: Definition, writer: str = "here") -> tuple[TroubledKeeper, Saving, Active]:
    """A store, and a run that is saved there."""
    keeper = TroubledKeeper(f"sqlite:///{folder}/store.db", writer, pause_s=0.0)
    return keeper, Saving(keeper), Active.of(of)


def exposed(evidence: RunEvidence, epoch: int = 0) -> dict[str, int]:
    """How many units a conversion's share is of."""
    cells = evidence.observations().metrics["bought"]
    return {variant: cell.values for stratum in cells for variant, cell in stratum.items()} if cells else {}


async def test_a_unit_is_exposed_once_over_flushes_that_fail_and_restarts(tmp_path: Path) -> None:
    of = definition(BOUGHT)
    keeper, saving, active = opened(tmp_path, of)
    units = unit_numbers(100)
    active.take(increment(1, 0, a=units[:60], b=units[60:]), 1.0, 0.0)
    await saving.save([active])
    active.take(increment(1, 0, a=units[:60]), 100.0, 0.0)
    flush = Flush(active, [])

    def fail(store: Any) -> None:
        flush.save(store)
        raise OSError("after all was done")

    with pytest.raises(OSError, match="after all"):
        await keeper.do(fail)
    flush.undo()
    keeper.trouble = "gone"
    await saving.save([active])
    keeper.trouble = ""
    await saving.save([active])
    assert exposed(active.evidence) == {"a": 60, "b": 40}
    again = Active.of(of)
    again.take(increment(1, 0, a=[*units[:60], *unit_numbers(5, 9)]), 200.0, 0.0)
    await saving.save([again])
    assert exposed(again.evidence) == {"a": 65, "b": 40}
    await keeper.close()


async def test_a_flush_that_fails_halfway_counts_its_units_when_it_succeeds(tmp_path: Path) -> None:
    of = definition(BOUGHT)
    keeper, saving, active = opened(tmp_path, of)
    await saving.load(active)
    active.take(increment(1, 0, a=unit_numbers(10)), 1.0, 0.0)
    flush = Flush(active, [])

    def save(store: Any) -> None:
        with store.transaction() as transaction:
            flush._expose(transaction, active.evidence.key)
            raise OSError("now")

    with pytest.raises(OSError, match="now"):
        await keeper.do(save)
    assert exposed(active.evidence) == {"a": 10}
    flush.undo()
    assert exposed(active.evidence) == {"a": 0}
    await saving.save([active])
    assert exposed(active.evidence) == {"a": 10}
    await keeper.close()


async def test_a_unit_that_stays_with_its_variant_keeps_its_first_epoch(tmp_path: Path) -> None:
    of = definition(BOUGHT)
    keeper, saving, active = opened(tmp_path, of)
    active.take(increment(1, 0, a=[7], b=[8]), 1.0, 0.0)
    await saving.save([active])
    later = Active.of(of)
    later.take(increment(1, 1, a=[7, 8]), 100.0, 0.0)
    await saving.save([later])
    found = {unit: (each.variant, each.epoch) for unit in (7, 8) if (each := later.evidence.exposures.find(unit))}
    assert found == {7: ("a", 0), 8: ("a", 1)}
    strata = later.evidence.observations().metrics["bought"]
    counts = [{name: cell.values for name, cell in each.items()} for each in strata]
    assert counts == [{"a": 1, "b": 1}, {"a": 1}]
    much_later = Active.of(of)
    much_later.take(increment(1, 2, a=[7, 8]), 200.0, 0.0)
    await saving.save([much_later])
    found = {unit: (each.variant, each.epoch) for unit in (7, 8) if (each := much_later.evidence.exposures.find(unit))}
    assert found == {7: ("a", 0), 8: ("a", 1)}
    await keeper.close()


def test_a_request_without_unit_is_exposed_by_itself() -> None:
    evidence = RunEvidence(definition(f"units = []\n{BOUGHT}"))
    evidence.add(increment(1, 0, a=[BY_CHANCE | each for each in range(5)]), 0.0)
    assert exposed(evidence) == {"a": 5}


def test_exposures_are_stored_again_when_they_are_old_or_another_variants() -> None:
    exposures = RecentExposures(30.0)
    add = exposures.add
    add(np.array([1, 2], np.uint64), "a", 0, 100.0)
    assert exposures.take(100.0, 10).keys() == {1, 2}
    add(np.array([1], np.uint64), "a", 0, 110.0)
    assert exposures.take(110.0, 10) == {}
    add(np.array([1], np.uint64), "b", 1, 111.0)
    add(np.array([2], np.uint64), "a", 1, 131.0)
    taken = exposures.take(131.0, 10)
    assert {unit: (each.variant, each.epoch, each.first_at) for unit, each in taken.items()} == {
        1: ("b", 1, 100.0),
        2: ("a", 0, 100.0),
    }
    exposures.again([1])
    assert exposures.take(131.0, 10).keys() == {1}


def test_units_of_which_a_store_takes_none_are_bounded() -> None:
    exposures = RecentExposures(30.0, recent=1000)
    for seed in range(10):
        exposures.add(np.array(unit_numbers(500, seed), np.uint64), "a", 0, float(seed))
    assert len(exposures) == 1000
    assert len(exposures.take(10.0, 700)) == 700
    assert len(exposures.take(10.0, 700)) == 300
    assert len(exposures._stored_at) == 1000


# Distinct units.


def test_distinct_units_are_few_in_memory_and_counts_of_them_are_unbiased() -> None:
    distinct = DistinctUnits()
    generator = np.random.default_rng(3)
    true = {"a": 700_000, "b": 300_000}
    numbers = generator.integers(0, 1 << 63, 1_000_000, np.uint64)
    for _ in range(2):
        for begin in range(0, 700_000, 50_000):
            distinct.add(numbers[begin : begin + 50_000], 0, "a")
        for begin in range(700_000, 1_000_000, 50_000):
            distinct.add(numbers[begin : begin + 50_000], 0, "b")
    counts = distinct.counts()[0]
    assert sum(counts.values()) == len(distinct._seen) <= 1 << 16
    for variant, count in counts.items():
        error = math.sqrt(true[variant] * distinct.part * (1 - distinct.part))
        assert abs(count - true[variant] * distinct.part) < 5 * error


def test_a_unit_counts_where_it_came_first() -> None:
    distinct = DistinctUnits()
    distinct.add(np.array([1, 1, 2], np.uint64), 0, "a")
    distinct.add(np.array([2, 3], np.uint64), 1, "b")
    assert distinct.counts() == {0: {"a": 2}, 1: {"b": 1}}


def test_a_million_units_take_little_memory() -> None:
    evidence = RunEvidence(definition(BOUGHT))
    generator = np.random.default_rng(3)
    part = increment(1, 0, a=[1])
    for _ in range(20):
        part.arms["a"].units = generator.integers(0, 1 << 63, 50_000, np.uint64).tobytes()
        evidence.add(part, 0.0)
    assert len(evidence.exposures) == 1 << 18
    assert evidence._units is not None
    assert len(evidence._units._seen) <= 1 << 16
    told = evidence.units()
    assert told is not None
    assert abs(told["a"] - 1_000_000) < 20_000
