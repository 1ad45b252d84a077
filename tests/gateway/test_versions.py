"""What to do next for every deployment: pure decisions, tried in every situation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import ModelConfig
from gateway.types import Deployment, State
from gateway.versions import (
    Act,
    Actual,
    Restarts,
    Settling,
    Wanted,
    Wish,
    backend_order,
    kept_versions,
    next_steps,
)


@pytest.mark.parametrize(
    ("policy", "present", "kept"),
    [
        ("all", [3, 1, 2], {1, 2, 3}),
        ("all", [], set()),
        ("latest:1", [3, 1, 10], {10}),
        ("latest:2", [3, 1, 10], {3, 10}),
        ("latest:9", [3, 1], {1, 3}),
        ("latest:2", [], set()),
        ((1, 4), [1, 2, 3], {1}),
        ((), [1], set()),
    ],
)
def test_a_policy_keeps_the_versions_that_it_names(policy: Any, present: list[int], kept: set[int]) -> None:
    assert kept_versions(policy, present) == kept


@pytest.mark.parametrize(
    ("configured", "order"), [(None, ("a", "b")), (("b",), ("b",)), (("b", "a"), ("b", "a")), ((), ())]
)
def test_a_model_s_own_order_of_backends_wins(configured: tuple[str, ...] | None, order: tuple[str, ...]) -> None:
    assert backend_order(ModelConfig.model_construct(backends=configured), ("a", "b")) == order


S = 10**9


class TestSettling:
    """Times are given by hand: seconds since the epoch for files, and of a clock that only this machine has."""

    def test_files_that_were_left_alone_long_ago_are_complete_at_first_sight(self) -> None:
        assert Settling(2.0).complete("1", 998 * S, wall_s=1000, monotonic_s=5)

    def test_fresh_files_are_complete_once_left_alone_for_long_enough(self) -> None:
        settling = Settling(2.0)
        seen = [settling.complete("1", 1000 * S, wall_s=1000 + s, monotonic_s=5 + s) for s in (0, 1, 1.9, 2, 3)]
        assert seen == [False, False, False, True, True]

    def test_a_change_begins_the_wait_anew(self) -> None:
        settling = Settling(2.0)
        assert not settling.complete("1", 1000 * S, wall_s=1001, monotonic_s=6)
        assert not settling.complete("1", 1002 * S, wall_s=1003, monotonic_s=8)
        assert settling.complete("1", 1002 * S, wall_s=1004, monotonic_s=9)

    def test_a_file_server_whose_clock_runs_ahead_is_watched_instead_of_believed(self) -> None:
        settling = Settling(2.0)
        ahead = 5000 * S
        seen = [settling.complete("1", ahead, wall_s=1000 + s, monotonic_s=5 + s) for s in (0, 1, 2)]
        assert seen == [False, False, True]
        assert not settling.complete("1", ahead + 1, wall_s=1002, monotonic_s=7)

    def test_our_clock_being_set_back_does_not_hold_a_version_for_ever(self) -> None:
        settling = Settling(2.0)
        assert not settling.complete("1", 1000 * S, wall_s=1001, monotonic_s=5)
        assert settling.complete("1", 1000 * S, wall_s=10, monotonic_s=7)

    def test_versions_are_watched_each_by_itself(self) -> None:
        settling = Settling(2.0)
        assert not settling.complete("1", 5000 * S, wall_s=1000, monotonic_s=5)
        assert not settling.complete("2", 5000 * S, wall_s=1001, monotonic_s=6)
        assert settling.complete("1", 5000 * S, wall_s=1002, monotonic_s=7)
        assert not settling.complete("2", 5000 * S, wall_s=1002, monotonic_s=7)

    def test_what_is_gone_is_forgotten_and_waits_anew_when_it_is_back(self) -> None:
        settling = Settling(2.0)
        settling.complete("1", 5000 * S, wall_s=1000, monotonic_s=5)
        settling.complete("2", 5000 * S, wall_s=1000, monotonic_s=5)
        settling.forget_all_but(["2"])
        assert not settling.complete("1", 5000 * S, wall_s=1002, monotonic_s=7)
        assert settling.complete("2", 5000 * S, wall_s=1002, monotonic_s=7)

    def test_no_settling_time_is_no_wait(self) -> None:
        assert Settling(0.0).complete("1", 5000 * S, wall_s=1000, monotonic_s=5)


def on(version: int, backend: str = "onnx", model: str = "m") -> Deployment:
    return Deployment(model, version, backend)


UNLOADED = Actual(State.UNLOADED, "files")
OLDER = Actual(State.READY, "older")
SERVE, WAIT, SPARE = (Wanted(wish, "files") for wish in (Wish.SERVE, Wish.WAIT, Wish.SPARE))
STAY, WITHDRAWN = Wanted(Wish.STAY, "files"), Wanted(Wish.WITHDRAWN, "files")
LABELLED, LABELLED_WAIT = (Wanted(wish, "files", by_label=True) for wish in (Wish.SERVE, Wish.WAIT))
READY, FAILED, LOADING, FOUND, DRAINING = (
    Actual(state, "files") for state in (State.READY, State.FAILED, State.LOADING, State.FOUND, State.DRAINING)
)
BUSY = Actual(State.LOADING, "files", busy=True)


UNLOAD_1 = {on(1): Act.UNLOAD}


@pytest.mark.parametrize(
    ("wanted", "actual", "steps"),
    [
        pytest.param({on(1): SERVE}, {}, {on(1): Act.LOAD}, id="a new version is loaded"),
        pytest.param({on(1): WAIT}, {}, {}, id="one that is still written is not"),
        pytest.param({on(1): SPARE}, {}, {}, id="one that the policy leaves out is not"),
        pytest.param({on(1): SERVE}, {on(1): READY}, {}, id="what is ready is left alone"),
        pytest.param({on(1): SERVE}, {on(1): BUSY}, {}, id="what is being loaded is left alone"),
        pytest.param({on(1): SERVE}, {on(1): FAILED}, {}, id="what failed is not tried again as it is"),
        pytest.param({on(1): SERVE}, {on(1): OLDER}, {on(1): Act.LOAD}, id="new files are"),
        pytest.param({on(1): SERVE}, {on(1): Actual(State.FAILED, "older")}, {on(1): Act.LOAD}, id="mended files, too"),
        pytest.param({on(1): WAIT}, {on(1): OLDER}, {}, id="not while they are written"),
        pytest.param({on(1): SERVE}, {on(1): Actual(State.LOADING, "older", busy=True)}, {}, id="nor while busy"),
        pytest.param({on(1): SERVE}, {on(1): UNLOADED}, {on(1): Act.LOAD}, id="and what was unloaded"),
        pytest.param({}, {on(1): READY}, UNLOAD_1, id="a deleted folder is unloaded"),
        pytest.param({}, {on(1): FAILED}, UNLOAD_1, id="a deleted failure is forgotten"),
        pytest.param({}, {on(1): BUSY}, {}, id="a deleted folder's load is let end first"),
        pytest.param({}, {on(1): Actual(State.DRAINING, "files", busy=True)}, {}, id="what drains is let drain"),
        pytest.param({on(2): SERVE, on(1): SPARE}, {on(1): READY}, {on(2): Act.LOAD}, id="the old stays"),
        pytest.param({on(2): SERVE, on(1): SPARE}, {on(1): READY, on(2): BUSY}, {}, id="until that is loaded"),
        pytest.param({on(2): WAIT, on(1): SPARE}, {on(1): READY}, {}, id="or even complete"),
        pytest.param({on(2): SERVE, on(1): SPARE}, {on(1): READY, on(2): READY}, UNLOAD_1, id="then goes"),
        pytest.param({on(2): SERVE, on(1): SPARE}, {on(1): READY, on(2): FAILED}, {}, id="never if that failed"),
        pytest.param({on(2): SERVE, on(1): SPARE}, {on(1): FAILED, on(2): BUSY}, UNLOAD_1, id="not if failed"),
        pytest.param({on(1): SPARE}, {on(1): READY}, {}, id="the last one is kept though nothing is wanted"),
        pytest.param(
            {on(2): SERVE, on(2, "tf"): SERVE, on(1): SPARE, on(1, "tf"): SPARE},
            {on(2): READY, on(2, "tf"): BUSY, on(1): READY, on(1, "tf"): READY},
            {on(1): Act.UNLOAD},
            id="each backend's old one stays for its own new one",
        ),
        pytest.param(
            {on(2): SERVE, on(1): SPARE, on(1, "tf"): SPARE},
            {on(2): READY, on(1): READY, on(1, "tf"): READY},
            {on(1): Act.UNLOAD, on(1, "tf"): Act.UNLOAD},
            id="or for any where its backend is given up",
        ),
        pytest.param(
            {on(2): SERVE, on(2, "tf"): SERVE, on(1, "lite"): SPARE},
            {on(2): READY, on(2, "tf"): BUSY, on(1, "lite"): READY},
            {},
            id="and then for all of these",
        ),
        pytest.param(
            {on(1, model="a"): SPARE, on(9, model="b"): SERVE},
            {on(1, model="a"): READY, on(9, model="b"): READY},
            {},
            id="another model's readiness replaces nothing",
        ),
        pytest.param({on(1): LABELLED}, {}, {on(1): Act.LOAD}, id="what a label names is loaded"),
        pytest.param(
            {on(3): SERVE, on(2): SPARE, on(1): LABELLED},
            {on(3): FAILED, on(2): READY, on(1): READY},
            {},
            id="an older version that a label keeps does not replace a newer one",
        ),
        pytest.param(
            {on(3): SERVE, on(2): SPARE, on(1): LABELLED_WAIT},
            {on(3): FAILED, on(2): READY, on(1): READY},
            {},
            id="nor while its files change",
        ),
        pytest.param(
            {on(3): SERVE, on(2): SPARE, on(1): LABELLED},
            {on(3): READY, on(2): READY, on(1): BUSY},
            {on(2): Act.UNLOAD},
            id="and holds up nothing either",
        ),
        pytest.param({on(2): SERVE, on(1): STAY}, {on(2): READY, on(1): READY}, {}, id="what is to stay stays"),
        pytest.param({on(1): STAY}, {on(1): OLDER}, {}, id="as it is"),
        pytest.param({on(1): STAY}, {}, {}, id="if it is there"),
        pytest.param(
            {on(3): SERVE, on(2): SPARE, on(1): STAY},
            {on(3): FAILED, on(2): READY, on(1): READY},
            {},
            id="and replaces nothing",
        ),
        pytest.param({on(1): WITHDRAWN}, {}, {}, id="what was unloaded by request is not loaded"),
        pytest.param({on(1): WITHDRAWN}, {on(1): READY}, UNLOAD_1, id="but unloaded, though nothing is left"),
        pytest.param({on(1): WITHDRAWN}, {on(1): FAILED}, UNLOAD_1, id="whatever its state"),
        pytest.param({on(1): WITHDRAWN}, {on(1): UNLOADED}, {}, id="once"),
        pytest.param({on(1): WITHDRAWN}, {on(1): BUSY}, {}, id="not while something is done to it"),
        pytest.param(
            {on(2): WITHDRAWN, on(1): SPARE},
            {on(2): READY, on(1): READY},
            {on(2): Act.UNLOAD},
            id="it replaces nothing",
        ),
    ],
)  # fmt: skip
def test_the_next_steps(
    wanted: Mapping[Deployment, Wanted], actual: Mapping[Deployment, Actual], steps: Mapping[Deployment, Act]
) -> None:
    assert next_steps(wanted, actual, now_s=100.0) == steps


@pytest.mark.parametrize(("retry_at_s", "steps"), [(None, {}), (100.1, {}), (100.0, {on(1): Act.LOAD})])
def test_what_failed_for_a_while_is_tried_again_at_its_time(
    retry_at_s: float | None, steps: Mapping[Deployment, Act]
) -> None:
    for state in (State.FAILED, State.READY):
        actual = {on(1): Actual(state, "files", retry_at_s)}
        assert next_steps({on(1): SERVE}, actual, now_s=100.0) == steps


DEPLOYMENTS = st.builds(Deployment, st.sampled_from("ab"), st.integers(1, 3), st.sampled_from(["onnx", "tf"]))
FINGERPRINTS = st.sampled_from(["x", "y"])
WANTED = st.dictionaries(DEPLOYMENTS, st.builds(Wanted, st.sampled_from(Wish), FINGERPRINTS, st.booleans()))
ACTUAL = st.dictionaries(
    DEPLOYMENTS,
    st.builds(Actual, st.sampled_from(State), FINGERPRINTS, st.none() | st.floats(0, 200), st.booleans()),
)


@given(WANTED, ACTUAL)
def test_nothing_is_done_to_what_is_busy_unwanted_or_unfinished(
    wanted: dict[Deployment, Wanted], actual: dict[Deployment, Actual]
) -> None:
    steps = next_steps(wanted, actual, now_s=100.0)
    assert steps == next_steps(wanted, actual, now_s=100.0)
    for deployment, act in steps.items():
        have = actual.get(deployment)
        assert have is None or not have.busy or have.state is State.UNLOADED
        if act is Act.LOAD:
            assert wanted[deployment].wish is Wish.SERVE
        else:
            assert have is not None
            assert deployment not in wanted or wanted[deployment].wish in (Wish.SPARE, Wish.WITHDRAWN)


@given(WANTED, ACTUAL)
def test_once_every_step_is_done_there_is_nothing_left_to_do(
    wanted: dict[Deployment, Wanted], actual: dict[Deployment, Actual]
) -> None:
    idle = {each: Actual(have.state, have.tried, have.retry_at_s) for each, have in actual.items()}
    for _ in range(3):
        steps = next_steps(wanted, idle, now_s=100.0)
        for deployment, act in steps.items():
            if act is Act.LOAD:
                idle[deployment] = Actual(State.READY, wanted[deployment].fingerprint)
            else:
                del idle[deployment]
    assert steps == {}


@given(WANTED, ACTUAL)
def test_no_unload_leaves_a_model_without_an_answer_that_it_had(
    wanted: dict[Deployment, Wanted], actual: dict[Deployment, Actual]
) -> None:
    steps = next_steps(wanted, actual, now_s=100.0)
    for model in "ab":
        ready = [each for each, have in actual.items() if have.state is State.READY and each.model == model]
        left = [each for each in ready if steps.get(each) is not Act.UNLOAD]
        kept = [each for each in ready if each in wanted and wanted[each].wish is not Wish.WITHDRAWN]
        assert left or not kept


class TestRestarts:
    """When what died is started again."""

    def test_it_is_started_at_once_then_later_and_later_then_not_at_all(self) -> None:
        restarts = Restarts()
        assert [restarts.died(float(s)) for s in range(5)] == [0.0, 0.5, 1.0, 2.0, None]

    def test_deaths_of_long_ago_do_not_count(self) -> None:
        restarts = Restarts()
        assert [restarts.died(200.0 * number) for number in range(20)][3:] == [1.0] * 17

    def test_one_more_death_in_quarantine_changes_nothing(self) -> None:
        restarts = Restarts()
        assert [restarts.died(1.0) for _ in range(8)][4:] == [None] * 4

    @pytest.mark.parametrize(("attempts", "delay_s"), [(0, 0), (1, 0), (2, 0.5), (3, 1), (7, 16), (8, 30), (9, 30)])
    def test_the_delay_doubles_up_to_half_a_minute(self, attempts: int, delay_s: float) -> None:
        assert Restarts.delay_s(attempts) == delay_s

    def test_a_backend_that_was_away_for_weeks_is_still_tried_again(self) -> None:
        assert Restarts.delay_s(100_000) == 30.0
