"""Which weights are in force, whatever a file says; and what an experiment looks like to requests."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gateway.conduct.effective import split
from gateway.conduct.runs import begun_anew, ended
from gateway.conduct.weights import changed, in_force, ramped, with_current
from gateway.experiments.definition import Current, Definition
from gateway.experiments.files import read_experiment
from gateway.types import SLOTS
from tests.gateway.conduct.world import NOW, TWO

HALVES = ((500_000, "a"), (SLOTS, "b"))


def running(text: str = TWO) -> Definition:
    return begun_anew(read_experiment(text, "m", "x", "x"), NOW)


@pytest.mark.parametrize(
    "kept",
    [
        Current({"a": 50, "b": 50}, {"a": 50, "b": 50}, ()),
        Current({"a": 50, "b": 50}, {"a": 0, "b": 0}, HALVES),
        Current({"a": 50, "b": 50}, {"a": -50, "b": 150}, HALVES),
        Current({"a": 50, "c": 50}, {"a": 50, "c": 50}, HALVES),
        Current({"a": 40, "b": 60}, {"a": 40, "b": 60}, ((SLOTS, "c"),)),
    ],
)
def test_a_current_that_nobody_could_go_by_is_made_anew(kept: Current) -> None:
    definition = with_current(running(), kept)
    current = in_force(definition)
    assert (current.weights, current.slots, current.epoch) == ({"a": 50, "b": 50}, HALVES, 1)
    assert split(definition, b"").slots == ((500_000, 0), (SLOTS, 1))


def test_variants_share_a_ramps_percent_by_their_weights() -> None:
    three = TWO.replace("50", "60", 1).replace("50", "30", 1) + '[variants.c]\ntarget = "m/3"\nweight = 10\n'
    assert ramped(running(three), 20) == {"a": 80, "b": 15, "c": 5}


def test_the_ramp_of_a_run_with_fewer_steps_stays_at_its_last() -> None:
    definition = running(f"{TWO}[ramp]\nsteps = [5, 20]\n")
    current = in_force(definition)
    later = with_current(definition, changed(definition, current, {"a": 80.0, "b": 20.0}, step=1))
    edited = read_experiment(f"{TWO.replace('50', '40', 1).replace('50', '60', 1)}[ramp]\nsteps = [7]\n", "m", "x", "x")
    assert in_force(with_current(edited, in_force(later))).weights == {"a": 93, "b": 7}


def test_a_bandit_that_does_not_stick_assigns_every_request_by_itself() -> None:
    policy = '[metrics.good]\nkind = "binary"\n[policy]\nkind = "exp3"\nmetric = "good"\nsticky = {}\n'
    assert split(running(TWO + policy.format("false")), b"").units == ()
    assert split(running(TWO + policy.format("true")), b"").units != ()


def test_tokens_are_made_only_where_outcomes_are_awaited() -> None:
    assert split(running(), b"key").token_key == b""
    assert split(running(f'{TWO}[metrics.good]\nkind = "binary"\n'), b"key").token_key == b"key"


def test_a_new_run_moves_as_few_units_as_may_be_from_where_the_last_one_left_them() -> None:
    first = running()
    moved = with_current(first, changed(first, in_force(first), {"a": 20.0, "b": 80.0}))
    again = begun_anew(ended(moved, NOW, ""), NOW + timedelta(hours=1))
    assert again.current is not None
    assert again.current.weights == {"a": 50, "b": 50}
    assert again.current.slots[0] == (200_000, "a"), "who had a keeps it"
    assert (again.run, again.current.epoch, again.ended) == (2, 0, None)


def test_a_run_that_has_ended_keeps_the_moment() -> None:
    over = ended(running(), NOW, "enough")
    later = ended(over, NOW + timedelta(hours=1), "promoted", "b")
    assert (later.ended, later.reason, later.winner) == (NOW, "promoted", "b")
