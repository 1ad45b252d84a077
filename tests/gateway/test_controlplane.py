"""Deployments are kept as the folder wants them, and nothing that goes wrong with one takes an answer away."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from adapters.errors import BackendUnavailable, LoadFailed
from gateway.errors import ModelNotFound, VersionNotReady
from gateway.types import Limits, State, Target
from tests.gateway.fakes import X
from tests.gateway.plane import Plane
from tests.waiting import turns, until

ONE = "m/1@onnxruntime"
TWO = "m/2@onnxruntime"


@pytest.fixture
def plane(tmp_path: Path) -> Plane:
    return Plane(tmp_path)


async def test_a_version_that_appears_is_loaded_and_answers(plane: Plane) -> None:
    async with plane.running():
        await until(lambda: plane.registry.ready)
        plane.publish("m/1", "one")
        await plane.reaches(v1="READY")
        assert await plane.ask() == "one"
        (artifact,) = plane.adapter.loads
        assert str(artifact) == ONE
        assert artifact.path == plane.root / "m/1/model.onnx"
        record = plane.record(ONE)
        assert record is not None
        assert record.digest == artifact.digest != ""
        assert plane.changes == [(ONE, "FOUND", ""), (ONE, "LOADING", ""), (ONE, "READY", "")]


async def test_a_load_that_fails_says_why_and_hinders_no_other(plane: Plane) -> None:
    plane.adapter.failures["bad"] = LoadFailed("no graph was found")
    plane.publish("m/1", "one")
    plane.publish("m/2", "bad")
    async with plane.running():
        await plane.reaches(v1="READY", v2="FAILED")
        assert plane.reason(TWO) == "no graph was found"
        assert await plane.ask() == "one"
        assert plane.registry.ready
        with pytest.raises(VersionNotReady, match="m/2@onnxruntime is FAILED: no graph was found"):
            await plane.ask(version=2)


async def test_what_failed_is_loaded_again_when_its_files_change_and_not_before(plane: Plane) -> None:
    plane.adapter.failures["bad"] = LoadFailed("no graph was found")
    plane.publish("m/1", "bad")
    async with plane.running():
        await plane.reaches(v1="FAILED")
        await plane.looked()
        assert len(plane.adapter.loads) == 1
        plane.publish("m/1", "mended")
        await plane.reaches(v1="READY")
        assert (await plane.ask(), plane.reason(ONE)) == ("mended", "")


async def test_an_error_that_nobody_foresaw_is_told_to_the_log_alone(
    plane: Plane, caplog: pytest.LogCaptureFixture
) -> None:
    plane.adapter.failures["odd"] = ZeroDivisionError("a secret of the code")
    plane.publish("m/1", "odd")
    async with plane.running():
        await plane.reaches(v1="FAILED")
        assert plane.reason(ONE) == "internal error; the gateway's log says more"
        assert "a secret of the code" in caplog.text
        plane.publish("m/2", "two")
        await plane.reaches(v2="READY")


async def test_a_backend_that_is_not_installed_is_said_with_how_to_install_it(plane: Plane) -> None:
    plane.adapter.lacks = "onnxruntime is not installed: pip install 'torii-gateway[onnx]'"
    plane.publish("m/1", "one")
    async with plane.running():
        await plane.reaches(v1="FAILED")
        assert plane.reason(ONE) == plane.adapter.lacks
        assert plane.adapter.loads == []


async def test_a_load_without_end_is_given_up(tmp_path: Path) -> None:
    plane = Plane(tmp_path, load_timeout_s=0.02)
    plane.adapter.hold = asyncio.Event()
    plane.publish("m/1", "one")
    async with plane.running():
        await plane.reaches(v1="FAILED")
        assert plane.reason(ONE) == "loading took longer than 0.02 s"


async def test_what_cannot_be_loaded_as_it_lies_there_fails_without_a_load(plane: Plane) -> None:
    plane.publish("m/1", "one", "a.onnx")
    plane.publish("m/1", "two", "b.onnx")
    async with plane.running():
        await plane.reaches(v1="FAILED")
        assert plane.reason(ONE).startswith("several candidates: a.onnx, b.onnx")
        assert plane.adapter.loads == []


async def test_a_deleted_version_is_unloaded_once_its_last_answer_is_out(plane: Plane) -> None:
    plane.held.add("one")
    plane.publish("m/1", "one")
    async with plane.running():
        await plane.reaches(v1="READY")
        request = asyncio.create_task(plane.ask())
        await turns()
        plane.delete("m/1")
        await plane.reaches(v1="DRAINING")
        await plane.looked()
        assert plane.adapter.unloaded == []
        with pytest.raises(VersionNotReady):
            await plane.ask()
        plane.models[f"{ONE}#1"].finish()
        assert await request == "one"
        await plane.reaches(v1=None)
        assert plane.adapter.unloaded == [f"{ONE}#1"]
        assert plane.adapter.live == {}


async def test_a_deleted_model_is_forgotten(plane: Plane) -> None:
    plane.adapter.failures["bad"] = LoadFailed("no")
    plane.publish("m/1", "one")
    plane.publish("m/2", "bad")
    async with plane.running():
        await plane.reaches(v1="READY", v2="FAILED")
        plane.delete("m")
        await plane.reaches(v1=None, v2=None)
        with pytest.raises(ModelNotFound, match="there are: none"):
            await plane.ask()


async def test_a_version_of_the_latest_only_replaces_the_older_one_when_it_answers(plane: Plane) -> None:
    plane.write("m/model.toml", 'versions = "latest:1"')
    plane.publish("m/1", "one")
    async with plane.running():
        await plane.reaches(v1="READY")
        plane.adapter.hold = asyncio.Event()
        plane.publish("m/2", "two")
        await plane.reaches(v2="LOADING")
        await plane.looked()
        assert (await plane.ask(), plane.state(ONE)) == ("one", "READY")
        plane.adapter.hold.set()
        await plane.reaches(v1=None, v2="READY")
        assert await plane.ask() == "two"


async def test_a_latest_version_that_fails_leaves_the_older_one(plane: Plane) -> None:
    plane.adapter.failures["bad"] = LoadFailed("no")
    plane.write("m/model.toml", 'versions = "latest:1"')
    plane.publish("m/1", "one")
    async with plane.running():
        await plane.reaches(v1="READY")
        plane.publish("m/2", "bad")
        await plane.reaches(v2="FAILED")
        await plane.looked()
        assert (await plane.ask(), plane.state(ONE)) == ("one", "READY")


async def test_only_a_few_loads_run_at_once_and_a_slow_backend_holds_up_no_other(tmp_path: Path) -> None:
    plane = Plane(tmp_path, "onnxruntime", "tflite")
    plane.adapter.hold = asyncio.Event()
    for version in range(1, 8):
        plane.publish(f"m/{version}", "slow")
    plane.publish("m/1", "quick", "model.tflite")
    async with plane.running():
        await until(lambda: plane.state("m/1@tflite") == "READY")
        await until(lambda: len(plane.adapter.loads) == 4)
        await plane.looked()
        assert len(plane.adapter.loads) == 4
        plane.adapter.hold.set()
        await plane.reaches(**{f"v{version}": "READY" for version in range(1, 8)})


async def test_a_repository_that_cannot_be_read_keeps_serving(plane: Plane, caplog: pytest.LogCaptureFixture) -> None:
    plane.publish("m/1", "one")
    async with plane.running():
        await plane.reaches(v1="READY")
        plane.root.rename(plane.root.with_name("away"))
        await until(lambda: "cannot be read" in caplog.text)
        assert (await plane.ask(), plane.state(ONE)) == ("one", "READY")
        plane.root.with_name("away").rename(plane.root)
        plane.publish("m/2", "two")
        await plane.reaches(v1="READY", v2="READY")
        assert len(plane.adapter.loads) == 2


async def test_a_model_that_cannot_be_read_keeps_serving(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    plane.publish("m/1", "one")
    async with plane.running():
        await plane.reaches(v1="READY")
        real = os.scandir

        def scandir(path: str) -> object:
            if str(path).endswith("/m/1"):
                raise OSError(5, "Input/output error")
            return real(path)

        monkeypatch.setattr(os, "scandir", scandir)
        await until(lambda: plane.control.snapshot.unreadable)
        await plane.looked()
        assert (await plane.ask(), plane.state(ONE)) == ("one", "READY")
        monkeypatch.undo()
        await until(lambda: not plane.control.snapshot.unreadable)
        await plane.looked()
        assert len(plane.adapter.loads) == 1


async def test_a_model_toml_that_is_wrong_leaves_the_earlier_one_in_force(plane: Plane) -> None:
    plane.write("m/model.toml", "[limits]\ntimeout_ms = 7")
    plane.publish("m/1", "one")
    async with plane.running():
        await plane.reaches(v1="READY")
        plane.write("m/model.toml", "[limits]\ntimeout = 8")
        await until(lambda: plane.control.snapshot.all_problems() != [])
        await plane.looked()
        assert (await plane.ask(), len(plane.adapter.loads)) == ("one", 1)
        plane.write("other/model.toml", "backend = 1")
        plane.publish("other/1", "one")
        await until(lambda: plane.state("other/1@onnxruntime") == "FAILED")
        assert plane.reason("other/1@onnxruntime").startswith("other/model.toml: backend: ")


async def test_labels_that_are_wrong_leave_the_earlier_ones_in_force(plane: Plane) -> None:
    plane.publish("m/1", "one")
    plane.publish("m/2", "two")
    plane.write("m/labels.toml", "stable = 1")
    async with plane.running():
        await plane.reaches(v1="READY", v2="READY")
        assert await plane.ask() == "one"
        plane.write("m/labels.toml", "stable = ")
        await until(lambda: plane.control.snapshot.all_problems() != [])
        assert await plane.ask() == "one"
        plane.write("m/labels.toml", "stable = 2")
        await until(lambda: plane.registry.tables["m"].labels == {"stable": 2})
        assert await plane.ask() == "two"
        (plane.root / "m/labels.toml").unlink()
        await until(lambda: plane.registry.tables["m"].labels == {})


async def test_stop_answers_what_runs_and_ends_everything(plane: Plane) -> None:
    plane.held |= {"one", "two"}
    plane.publish("m/1", "one")
    plane.publish("m/2", "two")
    async with plane.running():
        await plane.reaches(v1="READY", v2="READY")
        requests = [asyncio.create_task(plane.ask(version=version)) for version in (1, 2)]
        await turns()
        plane.delete("m/1")
        await plane.reaches(v1="DRAINING")
        stopping = asyncio.create_task(plane.control.stop())
        await turns(50)
        assert not stopping.done()
        assert not plane.adapter.closed
        for model in plane.models.values():
            model.finish()
        assert await asyncio.gather(*requests) == ["one", "two"], "what drained already is let drain, too"
        await stopping
        assert plane.adapter.closed


async def test_stop_gives_up_loads(plane: Plane) -> None:
    plane.adapter.hold = asyncio.Event()
    plane.publish("m/1", "one")
    async with plane.running():
        await plane.reaches(v1="LOADING")
        await plane.control.stop()
        assert plane.adapter.live == {}
        assert plane.adapter.closed


async def test_settled_is_when_nothing_is_left_to_do(plane: Plane) -> None:
    assert not plane.control.settled
    plane.adapter.failures = {"bad": LoadFailed("no"), "away": BackendUnavailable("not now")}
    plane.publish("m/1", "one")
    plane.publish("m/2", "bad")
    async with plane.running():
        await until(lambda: plane.control.settled)
        assert [record.state for record in plane.control.records] == [State.READY, State.FAILED]
        plane.publish("m/3", "away")
        await plane.reaches(v3="FAILED")
        assert not plane.control.settled


async def test_limits_of_model_toml_reach_the_frontend(plane: Plane) -> None:
    plane.write("m/model.toml", "[limits]\nmax_in_flight = 1\nmax_queue = 0\ntimeout_ms = 7")
    plane.publish("m/1", "one")
    async with plane.running():
        await plane.reaches(v1="READY")
        with plane.registry.lease(Target("m")) as lease:
            assert lease.serving.limits == Limits(1, 0, 7)
            assert (await lease.servable.infer(X))["y"].tolist() == [2.0]
