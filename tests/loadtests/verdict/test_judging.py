"""From deployments to a verdict, over a gateway that is made up."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from gateway.control.verdict_form import read_verdict
from loadtests.verdict import control
from loadtests.verdict.document import Verdict, decode, encode
from loadtests.verdict.judging import judge
from tests.loadtests.verdict.world import SOFT, Backend, World, golden_data, options, served


@pytest.fixture
def world() -> Iterator[World]:
    with served(World({"a": Backend(), "b": Backend(base_us=2000, capacity=500)}, golden_data())) as made:
        yield made


def judged(world: World, **changed: float) -> Verdict:
    verdict = judge(world.gateway, "m", 1, options(**changed), world.tools())
    assert decode(encode(verdict)) == verdict
    read_verdict(encode(verdict), "m", 1)  # the gateway takes it
    return verdict


def test_the_one_that_takes_more_requests_is_recommended_with_all_its_figures(world: World) -> None:
    verdict = judged(world, latency_target_ms=10.0)
    assert (verdict.recommendation.kind, verdict.recommendation.deployments) == ("recommended", ("m/1@a",))
    first = verdict.rows[0]
    assert first.highest_rate
    assert first.highest_rate.low <= 1900 <= first.highest_rate.high * 1.05
    assert first.alone_p50_ms
    assert first.alone_p50_ms.value == pytest.approx(0.5, rel=0.05)
    assert first.accuracy
    assert (first.accuracy.value, verdict.accuracy_by) == (1.0, "golden outputs")
    assert first.agreement
    assert (first.agreement.within, verdict.reference) == (True, "golden outputs")
    assert (first.load_s, first.artifact_bytes, first.rss_bytes) == (0.5, 1000, 50_000_000)
    assert first.cost
    assert verdict.settings.cost_by == "rate"


def test_all_are_measured_in_turns_and_each_round_begins_with_another(world: World) -> None:
    judged(world, latency_target_ms=10.0)
    alone = [name for name, phase in world.stretches if phase == "measure alone"]
    assert alone == ["m/1@a", "m/1@b", "m/1@b", "m/1@a", "m/1@a", "m/1@b"]


def test_without_a_target_and_a_rate_they_are_chosen_so_that_all_can_keep_them(world: World) -> None:
    verdict = judged(world)
    assert verdict.settings.latency_target_ms == 5.0  # twice 2 ms, rounded up
    assert verdict.settings.rate
    assert not verdict.settings.target_given
    assert verdict.settings.rate < 250
    assert all(not row.problems for row in verdict.rows)


def test_labels_say_what_is_right_where_golden_data_has_them(world: World) -> None:
    world.golden = golden_data(labels=np.zeros(8, np.int64))
    verdict = judged(world)
    assert verdict.accuracy_by == "labels"
    assert verdict.rows[0].accuracy
    assert verdict.rows[0].accuracy.value == pytest.approx(float((SOFT.argmax(axis=1) == 0).mean()))


def test_wrong_answers_are_out_however_fast(world: World) -> None:
    world.backends["a"].shift = 1.0
    verdict = judged(world, latency_target_ms=10.0)
    assert verdict.recommendation.deployments == ("m/1@b",)
    assert "its answers are not the reference's" in verdict.rows[0].problems[0]


def test_without_golden_data_accuracy_is_unknown_and_deployments_are_held_against_each_other(world: World) -> None:
    world.golden = None
    verdict = judged(world)
    assert (verdict.accuracy_by, verdict.reference, verdict.settings.payload) == ("", "m/1@a", "invented")
    assert all(row.accuracy is None for row in verdict.rows)
    assert any("no golden data" in mark for mark in verdict.marks)


def test_golden_data_that_cannot_be_used_is_said_and_inputs_are_invented(world: World) -> None:
    world.golden = b"rubbish"
    verdict = judged(world)
    assert any("cannot be read" in mark for mark in verdict.marks)
    assert verdict.settings.payload == "invented"


def test_two_that_disagree_without_golden_data_are_both_out(world: World) -> None:
    world.golden = None
    world.backends["b"].shift = 1.0
    verdict = judged(world)
    assert verdict.recommendation.kind == "none"
    assert "no golden data to say which of them is right" in verdict.rows[0].problems[0]


def test_one_that_is_not_ready_is_named_with_its_reason_and_not_asked(world: World) -> None:
    world.backends["c"] = Backend(state="FAILED", reason="no such operator: Foo")
    verdict = judged(world)
    assert verdict.rows[2].state == "not ready"
    assert verdict.rows[2].problems == ("not ready: FAILED: no such operator: Foo",)
    assert "m/1@c" not in {name for name, _ in world.stretches}


@pytest.mark.parametrize("phase", ["measure alone", "search", "measure"])
def test_one_that_dies_in_the_middle_is_left_out_and_the_others_are_judged(world: World, phase: str) -> None:
    world.backends["a"].dies_in = phase
    verdict = judged(world, latency_target_ms=10.0)
    assert verdict.rows[0].state == "failed"
    assert "status 503" in verdict.rows[0].why
    assert "it is FAILED now: quarantined after 5 deaths" in verdict.rows[0].why
    assert verdict.recommendation.deployments == ("m/1@b",)
    assert [each for each in world.stretches if each[0] == "m/1@b"][-1][1].startswith("measure ")


def test_one_that_fails_now_and_then_is_out(world: World) -> None:
    world.backends["a"].failing = 2
    verdict = judged(world, latency_target_ms=10.0, rate=100.0)
    assert verdict.rows[0].errors == pytest.approx(2 / 52)
    assert any("of the requests failed" in each for each in verdict.rows[0].problems)
    assert verdict.recommendation.deployments == ("m/1@b",)


def test_a_generator_that_fails_is_said_of_the_row(world: World) -> None:
    world.backends["a"].generator_fails = True
    assert "the load generator failed: no core left" in judged(world).rows[0].why


def test_a_target_that_none_meets_recommends_none_and_looks_for_no_rate(world: World) -> None:
    verdict = judged(world, latency_target_ms=0.1)
    assert verdict.recommendation.kind == "none"
    assert "no rate keeps its p99 within 0.100 ms" in verdict.recommendation.reason
    assert {phase for _, phase in world.stretches} == {"measure alone"}


def test_a_rate_that_is_too_high_for_one_is_kept_by_the_other(world: World) -> None:
    verdict = judged(world, latency_target_ms=10.0, rate=1000.0)
    assert verdict.settings.rate_given
    assert "over the target of 10.0 ms" in verdict.rows[1].problems[0]
    assert verdict.recommendation.deployments == ("m/1@a",)


def test_one_deployment_alone_has_its_table_and_nothing_to_compare(world: World) -> None:
    del world.backends["b"]
    verdict = judged(world)
    assert verdict.recommendation.kind == "alone"
    assert verdict.rows[0].p99_ms


def test_none_that_is_ready_is_no_crash(world: World) -> None:
    for each in world.backends.values():
        each.state, each.reason = "FAILED", "broken"
    verdict = judged(world)
    assert verdict.recommendation.kind == "none"
    assert world.stretches == []


def test_without_knowing_the_cores_there_is_no_cost_and_the_rate_decides(world: World) -> None:
    world.cores = 0
    verdict = judged(world, latency_target_ms=10.0)
    assert all(row.cost is None for row in verdict.rows)
    assert verdict.settings.cost_by == ""
    assert verdict.recommendation.deployments == ("m/1@a",)


@pytest.mark.parametrize(
    ("model", "version", "said"), [("other", 1, "there are: m"), ("m", 7, "has no version 7; there are: 1")]
)
def test_what_is_not_there_is_said_with_what_is(world: World, model: str, version: int, said: str) -> None:
    with pytest.raises(control.NoVersion, match=said):
        judge(world.gateway, model, version, options(), world.tools())


def test_the_gateway_is_handed_the_verdict_as_it_is(world: World) -> None:
    verdict = judged(world)
    control.keep(world.gateway, verdict)
    assert world.kept[0]["recommendation"]["kind"] == verdict.recommendation.kind
