"""Exports as jobs: one at a time, as many as may wait, with their progress, and ended when that is asked for."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.errors import InvalidInput
from gateway.errors import Conflict, ModelNotFound, Overloaded
from gateway.exports import exporting
from gateway.exports.jobs import Exports, Job, JobState
from gateway.exports.order import Order, read_order
from gateway.exports.origin import Origin
from tests.gateway.exports.engine import FakeEngine
from tests.waiting import until


class World:
    """A model with three versions, and exports of them by a fake engine."""

    def __init__(self, root: Path) -> None:
        self.root = root / "m"
        for version in (1, 2, 3):
            (self.root / str(version)).mkdir(parents=True)
            (self.root / str(version) / "model.onnx").write_bytes(b"weights")
        self.engine = FakeEngine()
        self.news = 0
        self.exports = Exports(self.find, self.published, self.engine, most_waiting=2)

    def find(self, model: str, version: int) -> Origin:
        folder = self.root / str(version)
        if model != "m" or not folder.is_dir():
            raise ModelNotFound(f"no {model}/{version}")
        return Origin(folder)

    def published(self) -> None:
        self.news += 1

    async def over(self, job: Job) -> Job:
        assert job.task is not None
        await asyncio.wait([job.task])
        return job

    def files(self, version: int = 1) -> set[str]:
        folder = self.root / str(version)
        return {each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file()}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    await world.exports.close()


def order(version: int = 1, to: str = "tflite", quantize: str | None = "int8", **more: object) -> Order:
    return Order("m", version, to, quantize, **more)  # type: ignore[arg-type]


async def test_an_export_runs_says_how_far_it_is_and_is_published(world: World) -> None:
    job = world.exports.submit(order(shapes={"x": (1, 2)}, tolerance={"argmax": 0.9}), b"npz")
    assert (job.state, job.fraction) == (JobState.QUEUED, 0.0)
    await world.over(job)
    assert (job.state, job.fraction, job.error, world.news) == (JobState.DONE, 1.0, "", 1)
    assert list(job.log) == [
        "begins",
        "onnx → saved_model",
        "running onnx",
        "saved_model → tflite-int8",
        "publishing",
        "done",
    ]
    assert world.files() == {
        "model.onnx",
        "model.int8.tflite",
        "certificates/tflite-int8.json",
        "certificates/tflite-int8.html",
    }
    assert job.published is not None
    assert (job.published.backend, job.published.path) == ("tflite-int8", world.root / "1" / "model.int8.tflite")
    assert job.certificate is not None
    assert job.certificate.subject == "m/1"
    (task,) = world.engine.tasks
    assert (task.shapes, task.tolerance, world.engine.calibrations) == ({"x": (1, 2)}, {"argmax": 0.9}, [b"npz"])
    assert task.calibration is not None
    assert not task.calibration.exists()
    assert not task.staging.exists()


async def test_they_run_one_at_a_time_in_the_order_in_which_they_came(world: World) -> None:
    world.engine.hold = asyncio.Event()
    jobs = [world.exports.submit(order(version)) for version in (1, 2, 3)]
    await until(lambda: jobs[0].state is JobState.RUNNING)
    assert [job.state for job in jobs[1:]] == [JobState.QUEUED] * 2
    world.engine.hold.set()
    for job in jobs:
        assert (await world.over(job)).state is JobState.DONE
    assert world.engine.most_at_once == 1
    assert [task.subject for task in world.engine.tasks] == ["m/1", "m/2", "m/3"]
    assert world.exports.all() == jobs[::-1]


async def test_more_than_may_wait_are_refused(world: World) -> None:
    world.engine.hold = asyncio.Event()
    for version in (1, 2, 3):
        world.exports.submit(order(version))
    with pytest.raises(Overloaded, match="2 exports wait already"):
        world.exports.submit(order(quantize="fp16"))


async def test_calibration_data_that_wait_are_bounded_and_forgotten_with_their_exports(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.exports.jobs._MOST_HELD_BYTES", 10)
    world.engine.hold = asyncio.Event()
    first = world.exports.submit(order(1), b"x" * 20)  # one is always taken
    with pytest.raises(Overloaded, match="20 bytes of calibration data wait already"):
        world.exports.submit(order(2), b"x")
    await world.exports.cancel(first.id)
    second = world.exports.submit(order(2), b"x")
    await world.exports.cancel(second.id)
    world.engine.hold.set()
    assert (await world.over(world.exports.submit(order(3), b"x" * 20))).state is JobState.DONE


async def test_the_same_twice_at_once_is_refused(world: World) -> None:
    world.engine.hold = asyncio.Event()
    first = world.exports.submit(order())
    with pytest.raises(Conflict, match=rf"m/1 is being exported to tflite-int8 already: {first.id}"):
        world.exports.submit(order(replace=True))
    world.exports.submit(order(quantize="fp16"))


async def test_what_cannot_be_is_refused_at_once(world: World) -> None:
    with pytest.raises(ModelNotFound):
        world.exports.submit(order(version=9))
    with pytest.raises(InvalidInput, match="to: expected one of"):
        world.exports.submit(order(to="caffe"))
    with pytest.raises(ModelNotFound, match="export 'x' is not known"):
        world.exports.get("x")
    assert world.exports.all() == []


async def test_a_failed_export_says_why_publishes_nothing_and_the_next_one_runs(world: World) -> None:
    world.engine.failure = InvalidInput("operator 'Foo' of layer 'bar' is not known to TFLite")
    failed = await world.over(world.exports.submit(order()))
    assert (failed.state, failed.error) == (JobState.FAILED, "operator 'Foo' of layer 'bar' is not known to TFLite")
    assert (world.files(), world.news) == ({"model.onnx"}, 0)
    world.engine.failure = None
    assert (await world.over(world.exports.submit(order()))).state is JobState.DONE


async def test_what_nobody_foresaw_stays_in_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.engine.failure = RuntimeError("secret path /home/x")
    failed = await world.over(world.exports.submit(order()))
    assert failed.error == f"internal error; the gateway's log has it under export {failed.id}"
    assert "secret path" in caplog.text


async def test_an_artifact_that_is_there_is_found_out_before_anything_is_converted(world: World) -> None:
    await world.over(world.exports.submit(order()))
    again = await world.over(world.exports.submit(order()))
    assert again.state is JobState.FAILED
    assert again.error.startswith("m/1 has a model.int8.tflite already")
    assert len(world.engine.tasks) == 1
    assert (await world.over(world.exports.submit(order(replace=True)))).state is JobState.DONE


async def test_a_version_that_goes_while_its_export_waits_or_runs_gets_nothing(world: World) -> None:
    world.engine.hold = asyncio.Event()
    running, waiting = world.exports.submit(order(1)), world.exports.submit(order(2))
    await until(lambda: world.engine.running)
    world.engine.meanwhile = lambda task: shutil.rmtree(task.folder)
    shutil.rmtree(world.root / "2")
    world.engine.hold.set()
    assert (await world.over(running)).error == "m/1 is gone; nothing was published"
    assert (await world.over(waiting)).error == "no m/2"
    assert {each.name for each in world.root.iterdir()} == {"3", ".exports.lock"}


async def test_a_cancelled_export_has_ended_when_that_is_said(world: World) -> None:
    world.engine.hold = asyncio.Event()
    running, waiting = world.exports.submit(order(1)), world.exports.submit(order(2))
    await until(lambda: world.engine.running)
    assert (await world.exports.cancel(waiting.id)).state is JobState.CANCELLED
    assert (await world.exports.cancel(running.id)).state is JobState.CANCELLED
    assert (world.engine.running, world.files(1), world.files(2)) == (0, {"model.onnx"}, {"model.onnx"})
    assert (await world.exports.cancel(running.id)).state is JobState.CANCELLED


async def test_an_export_that_has_not_even_begun_can_be_ended(world: World) -> None:
    job = world.exports.submit(order())
    assert (await world.exports.cancel(job.id)).state is JobState.CANCELLED
    assert world.engine.tasks == []


async def test_an_export_that_is_being_put_there_is_done_though_it_is_cancelled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    publish = exporting.publish

    def slow(*arguments: object, **more: object) -> Path:
        begun.set()
        assert go_on.wait(20)
        return publish(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(exporting, "publish", slow)
    job = world.exports.submit(order())
    await until(begun.is_set)
    cancelling = asyncio.create_task(world.exports.cancel(job.id))
    await asyncio.sleep(0)
    go_on.set()
    assert (await cancelling).state is JobState.DONE
    assert "model.int8.tflite" in world.files()


async def test_when_the_gateway_ends_all_exports_do(world: World) -> None:
    world.engine.hold = asyncio.Event()
    jobs = [world.exports.submit(order(version)) for version in (1, 2)]
    await until(lambda: world.engine.running)
    await world.exports.close()
    assert {job.state for job in jobs} == {JobState.CANCELLED}
    assert (world.engine.running, len(world.engine.tasks)) == (0, 1)


async def test_only_the_latest_that_are_over_are_remembered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.exports.jobs._KEPT", 1)
    for version in (1, 2, 3):
        await world.over(world.exports.submit(order(version)))
    assert [str(job.order) for job in world.exports.all()] == ["m/3", "m/2"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "body: "),
        (b"[]", "Expected `object`"),
        (b'{"model":"m","version":1}', "missing required field `to`"),
        (b'{"model":"m","version":0,"to":"tflite"}', "$.version"),
        (b'{"model":"m","version":"1","to":"tflite"}', "$.version"),
        (b'{"model":"../m","version":1,"to":"tflite"}', "model '../m': expected a name"),
        (b'{"model":"m","version":1,"to":"../../x"}', "to: expected one of"),
        (b'{"model":"m","version":1,"to":"tflite","quantize":"int4"}', "quantize: tflite is written in"),
        (b'{"model":"m","version":1,"to":"tflite","calibration":"/etc/passwd!"}', "Invalid base64"),
        (b'{"model":"m","version":1,"to":"tflite","path":"/etc/passwd"}', "unknown field `path`"),
        (b'{"model":"m","version":1,"to":"tflite","shapes":{"x":[0]}}', "$.shapes"),
        (b'{"model":"m","version":1,"to":"tflite","shapes":{"x":[%s1]}}' % (b"1," * 20), "at most 16 axes"),
        (b'{"model":"m","version":1,"to":"tflite","shapes":{"%s":[1]}}' % (b"x" * 400), "at most 300 characters"),
        (b'{"model":"m","version":1,"to":"tflite","tolerance":{"argmax":"x"}}', "$.tolerance"),
        (b'{"model":"m","version":1,"to":"tflite","tolerance":{"argmax":2}}', "tolerance argmax: expected a number"),
        (b'{"model":"m","version":1,"to":"tflite","tolerance":{"much":1}}', "tolerance: expected one of"),
    ],
)
def test_an_order_that_is_none_is_refused_by_field(body: bytes, says: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        read_order(body)
    assert says in str(raised.value)


def test_an_order_brings_its_calibration_as_bytes() -> None:
    asked = b'{"model":"m","version":2,"to":"tflite","quantize":"int8","calibration":"bnB6","replace":true}'
    assert read_order(asked) == (Order("m", 2, "tflite", "int8", replace=True), b"npz")
