"""Evidence: added up, merged over restarts and gateways, saved late and once, bounded."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from gateway.conduct.active import Active
from gateway.conduct.evidence import RunEvidence
from gateway.conduct.extras import Extras
from gateway.conduct.keeper import Keeper
from gateway.conduct.runs import begun_anew
from gateway.conduct.saving import Saving
from gateway.conduct.weights import changed, in_force, with_current
from gateway.experiments.definition import Definition
from gateway.experiments.evidence import Observations
from gateway.experiments.files import read_experiment
from gateway.experiments.recording import ShadowIncrement
from gateway.experiments.store.records import CellKey, Kept, StoredRun
from gateway.types import BY_CHANCE
from tests.gateway.conduct.world import NOW, TWO, TroubledKeeper, World, increment, outputs, unit_numbers

BOUGHT = f'{TWO}[metrics.bought]\nkind = "conversion"\n'


def definition(text: str = TWO) -> Definition:
    """An experiment that has just begun."""
    return begun_anew(read_experiment(text, "m", "x", "x"), NOW)


def stored(evidence: RunEvidence, others: Kept | None = None) -> StoredRun:
    """What a store has after a save, as it is read again."""
    unsaved = evidence.to_save()
    assert unsaved is not None
    extras = msgspec.json.decode(msgspec.json.encode(unsaved.extras))
    own = Kept(unsaved.cells, unsaved.splits, unsaved.counters)
    return StoredRun(evidence.key, NOW, None, own, others or Kept(), extras)


def plain(observations: Observations) -> Any:
    """Observations to be compared, without the time that has passed."""
    metrics = {
        name: [
            {
                variant: (
                    cell.count.tolist(),
                    cell.total.tolist(),
                    cell.squares,
                    None if cell.histogram is None else np.argwhere(cell.histogram).tolist(),
                )
                for variant, cell in stratum.items()
            }
            for stratum in strata
        ]
        for name, strata in observations.metrics.items()
    }
    return metrics, [(dict(each.weights), dict(each.assigned)) for each in observations.splits]


@pytest.mark.parametrize("head", ["", "units = []\n"])
def test_evidence_that_goes_on_after_a_restart_is_that_of_an_uninterrupted_run(head: str) -> None:
    of = definition(head + TWO)
    units = [None] * 60 if head else unit_numbers(60)
    asked = [(unit if unit is not None else BY_CHANCE | number, number + 0.5) for number, unit in enumerate(units)]
    shadow = ShadowIncrement(10, 1, 0, 0, 0.5, 0.9)
    parts = [
        increment(1, 0, shadow=shadow, a=asked[:20], b=asked[20:25]),
        increment(1, 1, a=asked[25:40]),
        increment(1, 1, b=[*asked[40:], None], shadow=shadow),
    ]
    parts[0].arms["a"].outputs["y"] = outputs(2.0)
    parts[2].arms["b"].outputs["y"] = outputs(3.0)
    later = with_current(of, changed(of, in_force(of), {"a": 80.0, "b": 20.0}))
    whole, first, second = RunEvidence(of), RunEvidence(of), RunEvidence(later)
    whole.follow(later)
    for part in parts:
        whole.add(part, 0.0)
    first.add(parts[0], 0.0)
    first.learned({"count": 5.0, "loss:a": 2.5})
    second.add(parts[1], 0.0)
    second.learned({"count": 2.0})
    second.absorb(stored(first))
    second.add(parts[2], 0.0)
    expected, found = plain(whole.observations()), plain(second.observations())
    assert found[0] == expected[0]
    if head:
        assert found[1] == expected[1]
    assert second.counters == whole.counters
    assert second.extras.shadow == whole.extras.shadow == ShadowIncrement(20, 2, 0, 0, 0.5, 0.9)
    assert second.extras.outputs == whole.extras.outputs
    assert second.extras.bandit == {"count": 7.0, "loss:a": 2.5}


def test_units_that_come_again_after_a_restart_do_not_count_for_the_sample_ratio_twice() -> None:
    of = definition()
    first, second = RunEvidence(of), RunEvidence(of)
    for evidence in (first, second):
        evidence.add(increment(1, 0, a=unit_numbers(100)), 0.0)
    second.absorb(stored(first))
    assert [dict(each.assigned) for each in second.observations().splits] == [{"a": 100}]


def test_a_bandits_weights_are_no_promise_to_compare_its_traffic_with() -> None:
    policy = '[metrics.good]\nkind = "binary"\n[policy]\nkind = "thompson"\nmetric = "good"\n'
    evidence = RunEvidence(definition(TWO + policy))
    evidence.add(increment(1, 0, a=unit_numbers(100)), 0.0)
    assert evidence.observations().splits == []


def test_strata_are_times_of_constant_weights_in_their_order() -> None:
    of = definition()
    evidence = RunEvidence(of)
    later = with_current(of, changed(of, in_force(of), {"a": 80.0, "b": 20.0}))
    evidence.follow(later)
    evidence.add(increment(1, 1, a=unit_numbers(8), b=unit_numbers(2, 1)), 0.0)
    evidence.add(increment(1, 0, a=unit_numbers(5, 2), b=unit_numbers(5, 3)), 0.0)
    observations = evidence.observations()
    counts = [{name: cell.values for name, cell in each.items()} for each in observations.metrics["errors"]]
    assert counts == [{"a": 5, "b": 5}, {"a": 8, "b": 2}]
    assert [dict(each.weights) for each in observations.splits] == [{"a": 50, "b": 50}, {"a": 80, "b": 20}]
    assert [dict(each.assigned) for each in observations.splits] == [{"a": 5, "b": 5}, {"a": 8, "b": 2}]


def test_what_was_kept_and_cannot_be_read_is_left_out_and_the_rest_counts() -> None:
    of = definition()
    first, second = RunEvidence(of), RunEvidence(of)
    first.add(increment(1, 0, a=[1]), 0.0)
    first.extras.add_outputs("a", {"y": outputs(math.inf)})
    second.absorb(stored(first))
    assert second.requests(0) == {"a": 1}
    assert second.extras == Extras()


async def test_nothing_is_saved_before_what_was_stored_has_been_loaded(tmp_path: Path) -> None:
    of = definition()
    keeper, saving, first = opened(tmp_path, of)
    first.take(increment(1, 0, a=[1, 2, 3]), 0.0, 0.0)
    await saving.save([first])
    second = Active.of(of)
    second.take(increment(1, 0, a=[4]), 0.0, 0.0)
    keeper.trouble = "gone"
    await saving.save([second])
    assert not second.evidence.loaded
    keeper.trouble = ""
    load, saving.load = saving.load, nothing  # type: ignore[method-assign]
    await saving.save([second])
    assert await requests_stored(keeper, of) == {"a": 3}
    saving.load = load  # type: ignore[method-assign]
    await saving.save([second])
    assert await requests_stored(keeper, of) == {"a": 4}
    await keeper.close()


async def nothing(_: Active) -> None:
    """Loads nothing, as if the store had failed just then."""


def opened(folder: Path, of: Definition, writer: str = "here") -> tuple[TroubledKeeper, Saving, Active]:
    """A store, and a run that is saved there."""
    keeper = TroubledKeeper(f"sqlite:///{folder}/store.db", writer, pause_s=0.0)
    return keeper, Saving(keeper), Active.of(of)


async def requests_stored(keeper: Keeper, of: Definition) -> dict[str, int]:
    """What a gateway would find after a restart."""
    again = Active.of(of)
    await Saving(keeper).load(again)
    assert again.evidence.loaded
    return again.evidence.requests(0)


async def test_what_could_not_be_saved_is_saved_later_and_once(tmp_path: Path) -> None:
    of = definition()
    keeper, saving, active = opened(tmp_path, of)
    active.take(increment(1, 0, a=[1, 2]), 0.0, 0.0)
    await saving.save([active])
    keeper.trouble = "the disk is full"
    active.take(increment(1, 0, a=[3], b=[4]), 0.0, 0.0)
    for _ in range(3):
        await saving.save([active])
    assert active.evidence.unsaved
    keeper.trouble = ""
    await saving.save([active])
    assert not active.evidence.unsaved
    await saving.save([active])
    assert await requests_stored(keeper, of) == {"a": 3, "b": 1}
    await keeper.close()


async def test_a_store_that_was_deleted_gets_all_of_it_again(tmp_path: Path) -> None:
    of = definition()
    keeper, saving, active = opened(tmp_path, of)
    active.take(increment(1, 0, a=[1, 2]), 0.0, 0.0)
    await saving.save([active])
    (tmp_path / "store.db").unlink()
    active.take(increment(1, 0, b=[3]), 0.0, 0.0)
    await saving.save([active])
    assert keeper.problem
    await saving.save([active])
    assert keeper.problem == ""
    assert await requests_stored(keeper, of) == {"a": 2, "b": 1}
    (tmp_path / "store.db").unlink()
    await saving.looks(active)
    assert keeper.problem, "others notice it first"
    await saving.save([active])
    assert await requests_stored(keeper, of) == {"a": 2, "b": 1}
    await keeper.close()


async def test_looks_that_come_while_others_are_saved_or_cannot_be_are_kept_in_order(world: World) -> None:
    await world.start()
    world.serve(a=unit_numbers(300), b=unit_numbers(300, 1))
    active = world.active()
    await world.conductor.looking._look(active)
    saved = world.conductor.saving
    world.keeper.trouble = "gone"
    await saved.save([active])
    await world.conductor.looking._look(active)
    world.keeper.trouble = ""
    waiting = await world.desk.looks("m", "x")
    await saved.save([active])
    assert await world.desk.looks("m", "x") == waiting
    assert len({each.at for each in waiting}) == 2
    assert [each.at for each in waiting] == sorted(each.at for each in waiting)


async def test_what_other_gateways_see_is_in_views(tmp_path: Path) -> None:
    here = World(tmp_path / "here")
    async with here.running():
        await here.start()
        there = World(tmp_path / "there", here.plane.root, here.store, "there")
        async with there.running():
            here.serve(a=unit_numbers(30), b=unit_numbers(20, 1))
            there.serve(a=unit_numbers(3, 2), b=unit_numbers(2, 3))
            await here.conductor.save()
            await there.conductor.save()
            for world in (here, there):
                world.active()._analysed_s -= 10.0
                view = await world.desk.view("m", "x")
                assert [each.requests for each in view.variants] == [33, 22]
            await here.conductor.save()
            assert await requests_stored(here.keeper, here.definition()) == {"a": 33, "b": 22}


def test_it_is_said_whether_a_stored_run_is_this_one() -> None:
    evidence = RunEvidence(definition())
    assert evidence.is_of(NOW + timedelta(seconds=1))
    assert not evidence.is_of(NOW - timedelta(minutes=1))
    assert CellKey(0, "errors", "a") not in evidence._own.cells
