"""Reloads and deaths: there is always somebody to answer, as long as anybody can."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.errors import BackendDied, BackendUnavailable, LoadFailed
from gateway.errors import VersionNotReady
from gateway.versions import Restarts
from tests.gateway.plane import Plane
from tests.waiting import turns, until

ONE = "m/1@onnxruntime"


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    """A control plane that serves one version."""
    async with Plane(tmp_path).running() as plane:
        plane.publish("m/1", "one")
        await plane.reaches(v1="READY")
        yield plane


@pytest.fixture
def quick_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Restarts, "FIRST_DELAY_S", 0.001)


async def test_new_files_are_swapped_in_without_a_moment_without_an_answer(plane: Plane) -> None:
    answers: list[str] = []
    stop = asyncio.Event()

    async def client() -> None:
        while not stop.is_set():
            answers.append(await plane.ask())
            await asyncio.sleep(0)

    asking = asyncio.create_task(client())
    for content in ("two", "three", "four"):
        plane.publish("m/1", content)
        await until(lambda content=content: answers[-1:] == [content])
    stop.set()
    await asking
    assert list(dict.fromkeys(answers)) == ["one", "two", "three", "four"]
    assert answers == sorted(answers, key=["one", "two", "three", "four"].index), "never back to the old one"
    await until(lambda: list(plane.adapter.live.values()) == ["four"])
    assert {state for _, state, _ in plane.changes} == {"FOUND", "LOADING", "READY"}


async def test_the_old_one_serves_while_the_new_one_loads_and_ends_with_its_own_last_answer(plane: Plane) -> None:
    plane.held.add("two")
    plane.publish("m/1", "two")
    await until(lambda: "two" in plane.adapter.live.values())
    await until(lambda: len(plane.adapter.live) == 1)
    request = asyncio.create_task(plane.ask())
    await turns()
    plane.adapter.hold = asyncio.Event()
    plane.publish("m/1", "three")
    await until(lambda: len(plane.adapter.loads) == 3)
    assert (plane.state(ONE), plane.reason(ONE)) == ("READY", "")
    plane.adapter.hold.set()
    await until(lambda: "three" in plane.adapter.live.values())
    await plane.looked()
    assert await plane.ask() == "three"
    assert set(plane.adapter.live.values()) == {"two", "three"}
    plane.models[f"{ONE}#2"].finish()
    assert await request == "two"
    await until(lambda: list(plane.adapter.live.values()) == ["three"])


@pytest.mark.parametrize("error", [LoadFailed("cut short"), BackendUnavailable("no memory"), BackendDied("killed")])
async def test_a_reload_that_fails_keeps_the_old_one_serving_and_says_so(plane: Plane, error: Exception) -> None:
    plane.adapter.failures["bad"] = error
    plane.publish("m/1", "bad")
    await until(lambda: plane.reason(ONE))
    assert plane.reason(ONE).startswith(f"reload failed, the earlier files keep serving: {error}")
    assert (await plane.ask(), plane.state(ONE)) == ("one", "READY")
    record = plane.record(ONE)
    assert record is not None
    assert record.digest == plane.adapter.loads[0].digest


async def test_files_put_back_as_they_were_end_the_complaint_without_a_load(plane: Plane) -> None:
    plane.adapter.failures["bad"] = LoadFailed("cut short")
    plane.publish("m/1", "bad")
    await until(lambda: plane.reason(ONE))
    plane.publish("m/1", "one")
    await until(lambda: not plane.reason(ONE))
    assert [artifact.digest for artifact in plane.adapter.loads].count(plane.adapter.loads[0].digest) == 1
    assert plane.state(ONE) == "READY"


async def test_a_file_that_is_only_touched_is_not_loaded_again(plane: Plane) -> None:
    record = plane.record(ONE)
    assert record is not None
    before = record.tried
    os.utime(plane.root / "m/1/model.onnx", (1, 1))
    await until(lambda: record.tried != before and not record.busy)
    await plane.looked()
    assert len(plane.adapter.loads) == 1


async def test_a_file_that_failed_and_is_only_touched_is_not_tried_again(plane: Plane) -> None:
    plane.adapter.failures["bad"] = LoadFailed("no graph was found")
    plane.publish("m/2", "bad")
    await until(lambda: plane.state("m/2@onnxruntime") == "FAILED")
    record = plane.record("m/2@onnxruntime")
    assert record is not None
    before, loads = record.tried, len(plane.adapter.loads)
    os.utime(plane.root / "m/2/model.onnx", (1, 1))
    await until(lambda: record.tried != before and not record.busy)
    await plane.looked()
    assert (record.state, record.reason) == ("FAILED", "no graph was found")
    assert len(plane.adapter.loads) == loads


async def test_new_settings_are_loaded_though_the_files_are_the_same(plane: Plane) -> None:
    plane.write("m/model.toml", "[batching]\nmax_rows = 3")
    await until(lambda: len(plane.adapter.loads) == 2)
    assert plane.adapter.loads[-1].batching.max_rows == 3
    await until(lambda: list(plane.adapter.live) == [f"{ONE}#2"])


async def test_a_replacement_that_dies_as_it_takes_over_leaves_the_old_one_serving(
    plane: Plane, quick_restarts: None
) -> None:
    plane.dying = plane.kill
    plane.publish("m/1", "bad")
    await until(lambda: "quarantined" in plane.reason(ONE))
    assert (await plane.ask(), plane.state(ONE)) == ("one", "READY")
    assert plane.reason(ONE).startswith("reload failed, the earlier files keep serving: quarantined after 5 deaths")
    assert list(plane.adapter.live.values()) == ["one"]


async def test_a_replacement_that_dies_while_the_old_one_drains_is_started_again(plane: Plane) -> None:
    plane.held.add("two")
    plane.publish("m/1", "two")
    await until(lambda: list(plane.adapter.live.values()) == ["two"])
    request = asyncio.create_task(plane.ask())
    await turns()
    plane.publish("m/1", "three")
    await until(lambda: "three" in plane.adapter.live.values())
    await plane.looked()
    plane.kill(f"{ONE}#3")
    await until(lambda: f"{ONE}#4" in plane.adapter.live)
    await plane.reaches(v1="READY")
    assert await plane.ask() == "three"
    plane.models[f"{ONE}#2"].finish()
    assert await request == "two"


async def test_a_stop_waits_for_the_answers_of_what_was_replaced_too(plane: Plane) -> None:
    plane.held.add("two")
    plane.publish("m/1", "two")
    await until(lambda: list(plane.adapter.live.values()) == ["two"])
    request = asyncio.create_task(plane.ask())
    await turns()
    plane.publish("m/1", "three")
    await until(lambda: "three" in plane.adapter.live.values())
    await plane.looked()
    stopping = asyncio.create_task(plane.control.stop())
    await turns(50)
    assert not plane.adapter.closed
    plane.models[f"{ONE}#2"].finish()
    assert await request == "two"
    await stopping


async def test_the_old_one_s_death_during_a_reload_is_told_and_the_new_one_takes_over(plane: Plane) -> None:
    plane.adapter.hold = asyncio.Event()
    plane.publish("m/1", "two")
    await until(lambda: len(plane.adapter.loads) == 2)
    plane.kill(f"{ONE}#1")
    await plane.reaches(v1="LOADING")
    with pytest.raises(VersionNotReady, match="m/1@onnxruntime is LOADING: killed"):
        await plane.ask()
    plane.adapter.hold.set()
    await plane.reaches(v1="READY")
    assert await plane.ask() == "two"


async def test_the_old_one_s_death_during_a_reload_that_fails_is_no_readiness(plane: Plane) -> None:
    plane.adapter.failures["bad"] = LoadFailed("cut short")
    plane.adapter.hold = asyncio.Event()
    plane.publish("m/1", "bad")
    await until(lambda: len(plane.adapter.loads) == 2)
    plane.kill(f"{ONE}#1")
    plane.adapter.hold.set()
    await plane.reaches(v1="FAILED")
    assert plane.reason(ONE) == "cut short"
    plane.publish("m/1", "one")
    await plane.reaches(v1="READY")
    assert await plane.ask() == "one"


async def test_what_dies_is_started_again_at_once(plane: Plane) -> None:
    plane.kill(f"{ONE}#1", "killed by SIGSEGV")
    assert (ONE, "FAILED", "killed by SIGSEGV; trying again in 0 s") in plane.changes
    await plane.reaches(v1="READY")
    assert (await plane.ask(), plane.reason(ONE)) == ("one", "")
    assert list(plane.adapter.live) == [f"{ONE}#2"]


async def test_what_dies_again_and_again_waits_longer_and_longer_and_is_then_left_alone(
    plane: Plane, quick_restarts: None
) -> None:
    for number in range(1, 6):
        await until(lambda number=number: f"{ONE}#{number}" in plane.models and plane.state(ONE) == "READY")
        plane.kill(f"{ONE}#{number}", "killed by SIGSEGV")
    reasons = [reason for _, state, reason in plane.changes if state == "FAILED"]
    assert reasons == [
        *(f"killed by SIGSEGV; trying again in {delay} s" for delay in ("0", "0.001", "0.002", "0.004")),
        "quarantined after 5 deaths in 10 minutes; the last: killed by SIGSEGV",
    ]
    await plane.looked()
    assert (plane.state(ONE), len(plane.adapter.loads)) == ("FAILED", 5)


async def test_new_files_end_a_quarantine_and_begin_a_new_count(plane: Plane, quick_restarts: None) -> None:
    for number in range(1, 6):
        await until(lambda number=number: f"{ONE}#{number}" in plane.models and plane.state(ONE) == "READY")
        plane.kill(f"{ONE}#{number}")
    plane.publish("m/1", "mended")
    await plane.reaches(v1="READY")
    plane.kill(f"{ONE}#6")
    await plane.reaches(v1="READY")
    assert await plane.ask() == "mended"


async def test_what_dies_while_it_loads_is_left_alone_after_five_times(plane: Plane, quick_restarts: None) -> None:
    plane.adapter.failures["bomb"] = BackendDied("the worker died while loading: killed by SIGKILL")
    plane.publish("m/2", "bomb")
    await until(lambda: "quarantined" in plane.reason("m/2@onnxruntime"))
    await plane.looked()
    assert len(plane.adapter.loads) == 1 + 5
    assert await plane.ask() == "one"


async def test_a_backend_that_is_away_is_tried_until_it_is_there(plane: Plane, quick_restarts: None) -> None:
    plane.adapter.failures["two"] = BackendUnavailable("TorchServe does not answer")
    plane.publish("m/2", "two")
    await until(lambda: len(plane.adapter.loads) > 7)
    assert "TorchServe does not answer; trying again in" in plane.reason("m/2@onnxruntime")
    del plane.adapter.failures["two"]
    await plane.reaches(v2="READY")
    assert plane.reason("m/2@onnxruntime") == ""


async def test_requests_in_a_process_that_died_fail_and_those_of_others_do_not(plane: Plane) -> None:
    plane.held.add("two")
    plane.publish("m/2", "two")
    await plane.reaches(v2="READY")
    request = asyncio.create_task(plane.ask(version=2))
    await turns()
    await plane.models["m/2@onnxruntime#2"].aclose()
    plane.kill("m/2@onnxruntime#2")
    assert await plane.ask(version=1) == "one"
    with pytest.raises(BackendUnavailable):
        await request


class TestSharedServer:
    """TF Serving and TorchServe hold many deployments in one process: when it dies, one of them is to blame."""

    @pytest.fixture
    async def shared(self, tmp_path: Path, quick_restarts: None) -> AsyncIterator[Plane]:
        async with Plane(tmp_path, "torchserve").running() as plane:
            plane.publish("m/1", "one", "model.pt")
            plane.publish("m/2", "two", "model.pt")
            await plane.reaches(v1="READY", v2="READY")
            yield plane

    @staticmethod
    def crash(plane: Plane) -> None:
        """The server dies with all that it held."""
        for address in list(plane.adapter.live):
            plane.kill(address, "the server died")

    async def test_who_was_only_near_when_another_load_killed_it_is_never_quarantined(self, shared: Plane) -> None:
        for number in range(8):
            await shared.reaches(v1="READY", v2="READY")
            shared.adapter.hold = asyncio.Event()
            loads = len(shared.adapter.loads)
            shared.publish("m/3", f"bomb {number}", "model.pt")
            await until(lambda loads=loads: len(shared.adapter.loads) > loads)
            self.crash(shared)
            assert shared.state("m/1@torchserve") == "FAILED"
            shared.adapter.failures[f"bomb {number}"] = BackendDied("the server died")
            shared.adapter.hold.set()
            shared.adapter.hold = None
        await shared.reaches(v1="READY", v2="READY")
        assert {await shared.ask(version=version) for version in (1, 2)} == {"one", "two"}

    async def test_a_server_that_dies_by_itself_is_counted(self, shared: Plane) -> None:
        for _ in range(5):
            await shared.reaches(v1="READY", v2="READY")
            self.crash(shared)
        await shared.looked()
        assert [shared.state(f"m/{version}@torchserve") for version in (1, 2)] == ["FAILED", "FAILED"]
        assert "quarantined" in shared.reason("m/1@torchserve")
