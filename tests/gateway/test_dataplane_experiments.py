"""Requests of running experiments: assigned where nothing is pinned, recorded by what became of them."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from adapters.base import Endpoint
from adapters.errors import DeadlineExceeded, InferenceFailed, InvalidInput
from gateway.api.dialect import refusal
from gateway.api.open_inference import OpenInferenceHttp
from gateway.dataplane import DataPlane
from gateway.errors import ModelNotFound, Overloaded, VersionNotReady
from gateway.registry import Registry
from gateway.types import (
    Caller,
    Deployment,
    InferRequest,
    InferResponse,
    Limits,
    ModelTable,
    Serving,
    Standing,
    State,
    Target,
    TrafficSplit,
)
from tests.gateway.experiments.splits import From, split
from tests.gateway.experiments.test_recording import Sums
from tests.gateway.fakes import HeldServable, QuickServable, X, endpoint
from tests.waiting import turns, until

ONE, TWO = (Deployment("m", version, "onnxruntime") for version in (1, 2))
M = Target("m")


class World:
    """Versions 1 and 2 of m, which are the arms a and b."""

    def __init__(self, *models: HeldServable) -> None:
        self.models = dict(zip(("one", "two"), models, strict=True))
        self.registry = Registry(self._connect, drain_timeout_s=60)
        self.dataplane = DataPlane(self.registry)

    async def _connect(self, to: Endpoint) -> HeldServable:
        return self.models[to.address]

    def show(self, *splits: TrafficSplit, **states: State) -> None:
        standings = {
            each: Standing(states.get(f"v{each.version}", State.READY)) for each in (ONE, TWO) if each in self.published
        }
        self.registry.show({"m": ModelTable("m", ("onnxruntime",), {"old": 1, "stable": 1}, standings, splits)})

    async def open(self, *splits: TrafficSplit, **limits: int) -> World:
        self.published = [ONE, TWO]
        for deployment, address in ((ONE, "one"), (TWO, "two")):
            await self.registry.publish(deployment, endpoint(address), Serving(Limits(**limits)))
        self.show(*splits)
        return self

    async def ask(self, target: Target = M, caller: Caller | None = None, **more: Any) -> InferResponse:
        inputs = more.pop("inputs", X)
        return await self.dataplane.infer(InferRequest(target, inputs, caller=caller, **more))

    def noted(self) -> dict[tuple[int, str], tuple[int, int, int]]:
        """By epoch and arm: assigned, answered, failed."""
        return Sums(self.registry.recorder.take()).requests()


async def quick(*splits: TrafficSplit, **limits: int) -> World:
    return await World(QuickServable(), QuickServable()).open(*splits, **limits)


ALL_TO_B = {"a": 0, "b": 100}


async def test_a_request_that_pins_nothing_is_answered_by_its_variant() -> None:
    here = await quick(split(ALL_TO_B))
    answer = await here.ask()
    assert answer.deployment == TWO
    assert answer.parameters == {"experiment": "m/x", "variant": "b"}
    assert here.noted() == {(0, "b"): (1, 1, 0)}


@pytest.mark.parametrize(
    ("target", "by"),
    [(Target("m", 1), ONE), (Target("m", 2), TWO), (Target("m", None, "old"), ONE),
     (Target("m", None, None, "onnxruntime"), ONE)],
)  # fmt: skip
async def test_one_that_pins_anything_takes_part_in_nothing(target: Target, by: Deployment) -> None:
    here = await quick(split(ALL_TO_B, overrides=True))
    for caller in (None, From(torii_unit="alice"), From(torii_variant="b")):
        answer = await here.ask(target, caller)
        assert (answer.deployment, answer.parameters, answer.assigned) == (by, {}, None)
    assert here.noted() == {}


async def test_another_model_is_not_touched() -> None:
    here = await quick(split(ALL_TO_B))
    with pytest.raises(ModelNotFound):
        await here.ask(Target("n"))
    assert here.noted() == {}


async def test_one_that_does_not_pass_the_filter_goes_where_it_went_before() -> None:
    here = await quick(split(ALL_TO_B, headers={"x-country": "de"}))
    assert (await here.ask(caller=From(x_country="fr"))).deployment == ONE
    assert (await here.ask(caller=From(x_country="de"))).deployment == TWO
    assert here.noted() == {(0, "b"): (1, 1, 0)}


async def test_of_several_experiments_the_one_whose_filter_it_passes_counts() -> None:
    german = split({"a": 100, "b": 0}, headers={"x-country": "de"})
    french = split(ALL_TO_B, experiment="y", headers={"x-country": "fr"})
    here = await quick(german, french)
    assert (await here.ask(caller=From(x_country="de"))).parameters["experiment"] == "m/x"
    assert (await here.ask(caller=From(x_country="fr"))).parameters["experiment"] == "m/y"


async def test_once_the_experiment_is_gone_requests_go_where_they_went_before() -> None:
    here = await quick(split(ALL_TO_B))
    await here.ask()
    here.show()
    assert (await here.ask()).deployment == ONE
    assert here.noted() == {(0, "b"): (1, 1, 0)}


async def test_units_are_remembered_as_long_as_their_split_stays() -> None:
    here = await quick(split())
    await here.ask(caller=From(torii_unit="alice"))
    (before,) = here.registry._assigners["m"]
    here.show(split())
    assert here.registry._assigners["m"][0] is before
    here.show(split({"a": 1, "b": 99}))
    assert here.registry._assigners["m"][0] is not before


# What becomes of it.


async def test_an_answer_of_the_variant_is_recorded_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10**12, 7_000_000))
    monkeypatch.setattr("gateway.dataplane.monotonic_ns", lambda: next(clock))
    here = await quick(split(ALL_TO_B))
    await here.ask()
    sums = Sums(here.registry.recorder.take())
    assert sums.latency[0, "b"].total.sum() == 7.0


@pytest.mark.parametrize(
    "wrong", [{"inputs": {}}, {"inputs": {"x": np.ones(1)}}, {"outputs": ("z",)}], ids=["no inputs", "dtype", "output"]
)
async def test_a_mistake_of_the_caller_is_no_error_of_the_variant(wrong: dict[str, Any]) -> None:
    here = await quick(split(ALL_TO_B))
    with pytest.raises(InvalidInput):
        await here.ask(**wrong)
    assert here.noted() == {(0, "b"): (1, 0, 0)}


async def test_a_model_that_fails_is_an_error_of_the_variant() -> None:
    model = HeldServable()
    here = await World(QuickServable(), model).open(split(ALL_TO_B))
    asked = asyncio.create_task(here.ask())
    await until(lambda: model.running)
    model.finish(InferenceFailed("no"))
    with pytest.raises(InferenceFailed):
        await asked
    assert here.noted() == {(0, "b"): (1, 0, 1)}


async def test_an_answer_that_comes_too_late_is_an_error_of_the_variant() -> None:
    here = await World(QuickServable(), HeldServable()).open(split(ALL_TO_B))
    with pytest.raises(DeadlineExceeded):
        await here.ask(timeout_ms=1)
    assert here.noted() == {(0, "b"): (1, 0, 1)}


async def test_a_caller_who_hangs_up_is_no_error_of_the_variant() -> None:
    model = HeldServable()
    here = await World(QuickServable(), model).open(split(ALL_TO_B))
    asked = asyncio.create_task(here.ask())
    await until(lambda: model.running)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert here.noted() == {(0, "b"): (1, 0, 0)}


async def test_a_variant_that_is_overloaded_is_in_error() -> None:
    model = HeldServable()
    here = await World(QuickServable(), model).open(split(ALL_TO_B), max_in_flight=1, max_queue=0)
    asked = asyncio.create_task(here.ask())
    await until(lambda: model.running)
    with pytest.raises(Overloaded):
        await here.ask()
    model.finish()
    await asked
    assert here.noted() == {(0, "b"): (2, 1, 1)}


async def test_a_variant_that_is_not_ready_is_in_error_and_no_other_answers_instead() -> None:
    here = await quick(split(ALL_TO_B))
    here.show(split(ALL_TO_B), v2=State.FAILED)
    with pytest.raises(VersionNotReady):
        await here.ask()
    assert here.noted() == {(0, "b"): (1, 0, 1)}


async def test_a_variant_that_is_gone_is_in_error() -> None:
    here = await quick(split(ALL_TO_B))
    here.published.remove(TWO)
    here.show(split(ALL_TO_B))
    with pytest.raises(ModelNotFound):
        await here.ask()
    assert here.noted() == {(0, "b"): (1, 0, 1)}


async def test_answers_under_way_when_weights_change_count_for_the_earlier_ones() -> None:
    model = HeldServable()
    here = await World(QuickServable(), model).open(split(ALL_TO_B))
    asked = asyncio.create_task(here.ask())
    await until(lambda: model.running)
    here.show(split({"a": 100, "b": 0}, epoch=1))
    assert (await here.ask()).deployment == ONE
    here.registry.recorder.take()
    model.finish()
    await asked
    assert here.noted() == {(0, "b"): (0, 1, 0)}


async def test_an_answer_that_is_no_number_is_seen() -> None:
    here = await quick(split(ALL_TO_B))
    await here.ask(inputs={"x": np.array([np.nan], np.float32)})
    await here.ask()
    sums = Sums(here.registry.recorder.take())
    assert (sums.examined["b"], sums.not_finite["b"]) == (2, 1)


async def test_what_is_relayed_is_recorded_too() -> None:
    here = await quick(split(ALL_TO_B))

    async def fail(_: object) -> None:
        raise InferenceFailed("no")

    assert await here.dataplane.relay(here.dataplane.route(M, None), lambda model: model.infer(X))
    with pytest.raises(InferenceFailed):
        await here.dataplane.relay(here.dataplane.route(M, None), fail)
    assert here.noted() == {(0, "b"): (2, 1, 1)}


async def test_what_a_request_was_read_for_is_what_serves_it() -> None:
    here = await quick(split({"a": 50, "b": 50}))
    for _ in range(50):
        way = here.dataplane.route(M, None)
        answer = await here.dataplane.infer(InferRequest(M, X), way)
        assert way.assignment is not None
        assert answer.deployment == way.deployment == (ONE if way.assignment.arm.arm.name == "a" else TWO)


async def test_what_not_every_variant_can_do_takes_part_in_nothing() -> None:
    here = await quick(split(ALL_TO_B))
    way = here.dataplane.route(M, None, able=lambda endpoint: endpoint.address == "one")
    assert (way.deployment, way.assignment) == (ONE, None)
    assert here.noted() == {}
    way = here.dataplane.route(M, None, able=lambda endpoint: True)
    assert way.deployment == TWO


async def test_a_large_body_is_not_refused_for_a_deployment_that_may_not_get_it() -> None:
    model = HeldServable()
    here = await World(model, QuickServable()).open(split(ALL_TO_B), max_in_flight=1, max_queue=0)
    asked = asyncio.create_task(here.ask(Target("m", 1)))
    await until(lambda: model.running)
    here.dataplane.admit(M)
    with pytest.raises(Overloaded):
        here.dataplane.admit(Target("m", 1))
    model.finish()
    await asked
    await turns()


async def test_a_failure_says_whose_it_is_as_an_answer_does() -> None:
    held = HeldServable()
    here = await World(QuickServable(), held).open(split(ALL_TO_B, token_key=b"k"), timeout_ms=1)
    with pytest.raises(DeadlineExceeded) as late:
        await here.ask()
    here = await World(QuickServable(), held).open(split(ALL_TO_B, token_key=b"k"))
    asking = asyncio.create_task(here.ask())
    await until(lambda: held.running)
    held.finish(InferenceFailed("it did"))
    with pytest.raises(InferenceFailed) as failed:
        await asking
    for raised in (late, failed):
        told = dict(raised.value.headers)
        assert (told["torii-served-by"], told["torii-experiment"], told["torii-variant"]) == (str(TWO), "m/x", "b")
        assert told["torii-request-id"]
    with pytest.raises(InvalidInput) as wrong:
        await here.ask(inputs={})
    assert wrong.value.headers == ()


def test_what_a_failure_says_besides_goes_out_as_headers() -> None:
    error = InferenceFailed("it did")
    error.headers = (("torii-variant", "b"),)
    answer = refusal(OpenInferenceHttp(DataPlane(Registry(World._connect, 1))), error)  # type: ignore[arg-type]
    assert (b"torii-variant", b"b") in answer.headers
