"""One request, whatever protocol it came by: refused before it costs anything, and ended when its time is up."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from adapters.errors import DeadlineExceeded, InferenceFailed, InvalidInput
from adapters.tensors import Tensors
from gateway.dataplane import DataPlane
from gateway.errors import ModelNotFound, Overloaded
from gateway.registry import Registry
from gateway.types import Deployment, InferRequest, Limits, ModelTable, Serving, Standing, State, Target
from tests.gateway.fakes import HeldServable, QuickServable, X, endpoint
from tests.waiting import turns

ONE = Deployment("m", 1, "onnxruntime")


async def dataplane(model: HeldServable, **limits: int) -> DataPlane:
    async def connect(_: object) -> HeldServable:
        return model

    registry = Registry(connect, drain_timeout_s=60)
    await registry.publish(ONE, endpoint("a"), Serving(Limits(**limits)))
    registry.show({"m": ModelTable("m", ("onnxruntime",), {}, {ONE: Standing(State.READY)})})
    return DataPlane(registry)


def request(
    inputs: Tensors = X, outputs: tuple[str, ...] | None = None, timeout_ms: float | None = None
) -> InferRequest:
    return InferRequest(Target("m"), inputs, "7", outputs, timeout_ms)


async def test_an_answer_has_its_request_s_id_and_says_who_gave_it() -> None:
    response = await (await dataplane(QuickServable())).infer(request())
    assert (response.id, response.deployment, response.runtime) == ("7", ONE, "fake 1")
    assert {name: tensor.tolist() for name, tensor in response.outputs.items()} == {"x": [1.0], "y": [2.0]}


@pytest.mark.parametrize("outputs", [("y",), ("y", "x"), ()])
async def test_the_outputs_that_were_asked_for_come_in_that_order_and_no_others(outputs: tuple[str, ...]) -> None:
    response = await (await dataplane(QuickServable())).infer(request(outputs=outputs))
    assert tuple(response.outputs) == outputs


@pytest.mark.parametrize(
    "wrong", [request({}), request({"x": np.ones(1)}), request({**X, "z": np.ones(1)}), request(outputs=("z",))]
)
async def test_what_does_not_fit_the_model_is_refused_before_it_is_sent_there(wrong: InferRequest) -> None:
    model = QuickServable()
    with pytest.raises(InvalidInput):
        await (await dataplane(model)).infer(wrong)
    assert model.seen == []


@pytest.mark.parametrize(("asked_ms", "limit_ms", "says"), [(1, 60_000, "1 ms"), (None, 2, "2 ms"), (60_000, 2, "2 ms"),
                                                            (0.5, 9, "0.5 ms")])  # fmt: skip
async def test_a_request_ends_when_its_own_time_or_the_model_s_is_up(
    asked_ms: float | None, limit_ms: int, says: str
) -> None:
    model = HeldServable()
    with pytest.raises(DeadlineExceeded, match=f"m/1@onnxruntime took longer than {says}"):
        await (await dataplane(model, timeout_ms=limit_ms)).infer(request(timeout_ms=asked_ms))
    assert model.running == [], "the model was told to let it be"


async def test_the_time_in_the_queue_counts() -> None:
    model = HeldServable()
    plane = await dataplane(model, max_in_flight=1)
    first = asyncio.create_task(plane.infer(request()))
    await turns()
    with pytest.raises(DeadlineExceeded):
        await plane.infer(request(timeout_ms=1))
    model.finish()
    await first


async def test_a_caller_that_leaves_takes_its_request_along() -> None:
    model = HeldServable()
    task = asyncio.create_task((await dataplane(model)).infer(request()))
    await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert model.running == []


async def test_the_model_s_failure_is_the_caller_s_answer() -> None:
    model = HeldServable()
    task = asyncio.create_task((await dataplane(model)).infer(request()))
    await turns()
    model.finish(InferenceFailed("division by zero"))
    with pytest.raises(InferenceFailed, match="division by zero"):
        await task


async def test_metadata_is_of_the_deployment_that_would_answer() -> None:
    plane = await dataplane(QuickServable())
    assert plane.resolve(Target("m")).deployment == ONE
    with pytest.raises(ModelNotFound):
        plane.resolve(Target("n"))


async def test_a_request_that_would_be_refused_is_refused_before_it_is_read() -> None:
    model = HeldServable()
    plane = await dataplane(model, max_in_flight=1, max_queue=0)
    plane.admit(Target("m"))
    running = asyncio.create_task(plane.infer(request()))
    await turns()
    with pytest.raises(Overloaded):
        plane.admit(Target("m"))
    (told,) = plane.registry.statistics().values()
    assert told.inference_stats.fail.count == 1, "it counts as any other refusal"
    model.finish()
    await running
    plane.admit(Target("m"))
    with pytest.raises(ModelNotFound):
        plane.admit(Target("n"))
