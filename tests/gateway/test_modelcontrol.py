"""Models are loaded and unloaded by name, and stay so whatever comes into the repository."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.base import Artifact, Endpoint
from adapters.errors import BackendUnavailable, LoadFailed
from gateway.errors import ModelNotFound, VersionNotReady
from gateway.protocols.model_repository import IndexEntry
from gateway.versions import Restarts
from tests.gateway.plane import Plane
from tests.waiting import turns, until

ONE = "m/1@onnxruntime"
TWO = "m/2@onnxruntime"


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    """A control plane that serves two versions."""
    async with Plane(tmp_path).running() as plane:
        plane.publish("m/1", "one")
        plane.publish("m/2", "two")
        await plane.reaches(v1="READY", v2="READY")
        yield plane


def index(plane: Plane, ready_only: bool = False) -> dict[str, tuple[str, str]]:
    return {f"{each.name}/{each.version}": (each.state, each.reason) for each in plane.by_name.index(ready_only)}


class TestUnload:
    """Withdrawn when the call returns, then drained and unloaded."""

    async def test_an_unloaded_model_is_not_routable_when_the_call_returns(self, plane: Plane) -> None:
        await plane.by_name.unload("m")
        for version in (None, 1, 2):
            with pytest.raises(VersionNotReady):
                await plane.ask(version=version)
        await plane.reaches(v1="UNLOADED", v2="UNLOADED")
        assert plane.adapter.live == {}
        assert plane.reason(ONE).startswith("unloaded by request")

    async def test_running_requests_are_answered_first(self, plane: Plane) -> None:
        plane.held.add("three")
        plane.publish("m/3", "three")
        await plane.reaches(v3="READY")
        request = asyncio.create_task(plane.ask())
        await turns()
        await plane.by_name.unload("m")
        await plane.reaches(v1="UNLOADED", v2="UNLOADED", v3="DRAINING")
        assert index(plane)["m/3"] == ("UNLOADING", "")
        (address,) = plane.adapter.live
        plane.models[address].finish()
        assert await request == "three"
        await plane.reaches(v3="UNLOADED")
        assert plane.adapter.live == {}

    async def test_it_stays_unloaded_whatever_comes(self, plane: Plane) -> None:
        await plane.by_name.unload("m")
        plane.publish("m/1", "changed")
        plane.publish("m/3", "three")
        plane.write("m/labels.toml", "stable = 3")
        plane.write("m/model.toml", "[batching]\nmax_rows = 3")
        await plane.reaches(v1="UNLOADED", v3="UNLOADED")
        await plane.looked()
        assert (len(plane.adapter.loads), plane.adapter.live) == (2, {})
        plane.delete("m")
        await plane.reaches(v1=None, v2=None, v3=None)
        plane.publish("m/4", "four")
        await plane.reaches(v4="UNLOADED")

    async def test_a_version_is_unloaded_by_itself(self, plane: Plane) -> None:
        await plane.by_name.unload("m", 2)
        assert await plane.ask() == "one"
        with pytest.raises(VersionNotReady, match=r"m/2@onnxruntime is DRAINING|unloaded by request"):
            await plane.ask(version=2)
        plane.publish("m/3", "three")
        await plane.reaches(v1="READY", v2="UNLOADED", v3="READY")

    async def test_what_was_there_before_the_policy_s_choice_comes_back_for_an_unloaded_version(
        self, plane: Plane
    ) -> None:
        plane.write("m/model.toml", 'versions = "latest:1"')
        await plane.reaches(v1=None)
        await plane.by_name.unload("m", 2)
        await plane.reaches(v1="READY", v2="UNLOADED")

    async def test_a_label_does_not_keep_what_is_unloaded_by_name(self, plane: Plane) -> None:
        await plane.labels.set("m", "stable", 1)
        await plane.by_name.unload("m", 1)
        with pytest.raises(VersionNotReady):
            await plane.ask()
        await plane.reaches(v1="UNLOADED")

    async def test_a_load_under_way_is_given_up(self, plane: Plane) -> None:
        plane.adapter.hold = asyncio.Event()
        plane.publish("m/3", "three")
        await plane.reaches(v3="LOADING")
        await plane.by_name.unload("m", 3)
        await plane.reaches(v3="UNLOADED")
        plane.adapter.hold.set()
        await plane.looked()
        assert "three" not in plane.adapter.live.values()

    async def test_what_is_being_reloaded_is_withdrawn_all_the_same(self, plane: Plane) -> None:
        plane.adapter.hold = asyncio.Event()
        plane.publish("m/2", "another")
        await until(lambda: len(plane.adapter.loads) == 3)
        await plane.by_name.unload("m")
        with pytest.raises(VersionNotReady):
            await plane.ask()
        await plane.reaches(v1="UNLOADED", v2="UNLOADED")
        assert plane.adapter.live == {}

    async def test_a_load_that_is_slow_to_be_given_up_is_waited_for(self, plane: Plane) -> None:
        loading = asyncio.Event()

        async def load(artifact: Artifact) -> Endpoint:
            try:
                loading.set()
                return await asyncio.Future[Endpoint]()
            finally:
                await asyncio.sleep(0.1)  # for longer than some looks at the repository take

        plane.adapter.load = load  # type: ignore[method-assign]
        plane.publish("m/2", "another")
        await loading.wait()
        await plane.by_name.unload("m")
        with pytest.raises(VersionNotReady):
            await plane.ask()
        await plane.reaches(v1="UNLOADED", v2="UNLOADED")

    async def test_what_dies_while_it_drains_is_unloaded_once(self, plane: Plane) -> None:
        plane.held.add("three")
        plane.publish("m/3", "three")
        await plane.reaches(v3="READY")
        request = asyncio.create_task(plane.ask())
        await turns()
        await plane.by_name.unload("m", 3)
        await turns()
        plane.kill("m/3@onnxruntime#3")
        await turns()
        plane.models["m/3@onnxruntime#3"].finish()
        await request
        await plane.reaches(v3="UNLOADED")
        await plane.looked()
        assert plane.adapter.unloaded == ["m/3@onnxruntime#3"]

    async def test_what_failed_is_unloaded_too_and_not_tried_again(self, plane: Plane) -> None:
        plane.adapter.failures["away"] = BackendUnavailable("not now")
        plane.publish("m/3", "away")
        await plane.reaches(v3="FAILED")
        await plane.by_name.unload("m", 3)
        await plane.reaches(v3="UNLOADED")
        tried = len(plane.adapter.loads)
        await plane.looked()
        assert len(plane.adapter.loads) == tried

    async def test_unloading_again_changes_nothing(self, plane: Plane) -> None:
        for _ in range(2):
            await plane.by_name.unload("m", 1)
            await plane.by_name.unload("m")
        await plane.reaches(v1="UNLOADED", v2="UNLOADED")

    async def test_what_is_not_there_cannot_be_unloaded(self, plane: Plane) -> None:
        with pytest.raises(ModelNotFound, match="model 'n' is not in the repository; there are: m"):
            await plane.by_name.unload("n")
        with pytest.raises(ModelNotFound, match="model 'm' has no version 3; there are: 1, 2"):
            await plane.by_name.unload("m", 3)
        assert await plane.ask() == "two"

    async def test_other_models_go_on(self, plane: Plane) -> None:
        plane.publish("n/1", "other")
        await until(lambda: plane.state("n/1@onnxruntime") == "READY")
        await plane.by_name.unload("m")
        assert await plane.ask("n") == "other"


class TestLoad:
    """Everything of the model is ready or failed when the call returns."""

    async def test_what_was_unloaded_is_back_when_the_call_returns(self, plane: Plane) -> None:
        await plane.by_name.unload("m")
        await plane.by_name.load("m")
        assert (await plane.ask(version=1), await plane.ask(version=2)) == ("one", "two")

    async def test_a_version_is_loaded_by_itself(self, plane: Plane) -> None:
        await plane.by_name.unload("m")
        await plane.by_name.load("m", 1)
        assert await plane.ask() == "one"
        await plane.reaches(v1="READY", v2="UNLOADED")
        await plane.by_name.load("m")
        assert await plane.ask() == "two"

    async def test_what_drains_is_waited_for_and_loaded_anew(self, plane: Plane) -> None:
        plane.held.add("three")
        plane.publish("m/3", "three")
        await plane.reaches(v3="READY")
        request = asyncio.create_task(plane.ask())
        await turns()
        await plane.by_name.unload("m", 3)
        loading = asyncio.create_task(plane.by_name.load("m", 3))
        await plane.looked()
        assert not loading.done()
        (old,) = (address for address, content in plane.adapter.live.items() if content == "three")
        plane.models[old].finish()
        await loading
        assert await request == "three"
        assert old not in plane.adapter.live
        assert plane.state("m/3@onnxruntime") == "READY"

    async def test_a_folder_is_looked_at_at_once(self, tmp_path: Path) -> None:
        plane = Plane(tmp_path, poll_s=3600)
        async with plane.running():
            await plane.control.scanned.wait()
            plane.publish("m/1", "one")
            await plane.by_name.load("m")
            assert await plane.ask() == "one"
            plane.publish("m/1", "changed")
            await plane.by_name.load("m")
            assert await plane.ask() == "changed"

    async def test_what_failed_is_tried_again_though_its_files_are_the_same(self, plane: Plane) -> None:
        plane.adapter.failures["bad"] = LoadFailed("no graph was found")
        plane.publish("m/3", "bad")
        await plane.reaches(v3="FAILED")
        tried = len(plane.adapter.loads)
        del plane.adapter.failures["bad"]
        await plane.by_name.load("m")
        assert await plane.ask() == "bad"
        assert len(plane.adapter.loads) == tried + 1, "what is ready is not loaded again"

    async def test_a_quarantine_ends_with_a_load(self, plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Restarts, "FIRST_DELAY_S", 0.001)
        plane.publish("m/3", "three")
        await plane.reaches(v3="READY")
        plane.dying = plane.kill
        await until(lambda: plane.kill_all("three") or "quarantined" in plane.reason("m/3@onnxruntime"))
        plane.dying = lambda address: None
        await plane.by_name.load("m", 3)
        assert await plane.ask() == "three"

    async def test_a_load_of_what_is_ready_does_nothing(self, plane: Plane) -> None:
        await plane.by_name.load("m")
        assert len(plane.adapter.loads) == 2

    async def test_what_cannot_be_loaded_is_named_with_its_reason(self, tmp_path: Path) -> None:
        plane = Plane(tmp_path, "onnxruntime", "tflite")
        plane.adapters["onnxruntime"].failures["bad"] = LoadFailed("no graph was found")
        plane.adapters["tflite"].failures["bad"] = LoadFailed("no buffer was found")
        plane.publish("m/1", "bad")
        plane.publish("m/1", "bad", "model.tflite")
        async with plane.running():
            with pytest.raises(LoadFailed) as caught:
                await plane.by_name.load("m")
            assert str(caught.value) == f"{ONE}: no graph was found; m/1@tflite: no buffer was found"
            plane.adapters["tflite"].failures.clear()
            await plane.by_name.load("m")
            assert await plane.ask() == "bad", "one that is ready is enough"

    async def test_a_reload_that_fails_is_told_and_the_old_one_serves(self, plane: Plane) -> None:
        plane.adapter.failures["bad"] = LoadFailed("no graph was found")
        plane.publish("m/2", "bad")
        with pytest.raises(LoadFailed, match=f"{TWO}: reload failed, the earlier files keep serving: no graph"):
            await plane.by_name.load("m", 2)
        assert await plane.ask() == "two"

    async def test_a_load_without_end_is_given_up(self, tmp_path: Path) -> None:
        plane = Plane(tmp_path, load_timeout_s=0.05)
        plane.adapter.hold = asyncio.Event()
        plane.publish("m/1", "one")
        async with plane.running():
            with pytest.raises(LoadFailed, match=ONE):
                await plane.by_name.load("m")

    async def test_what_is_not_there_cannot_be_loaded(self, plane: Plane) -> None:
        with pytest.raises(ModelNotFound, match="model 'n' is not in the repository; there are: m"):
            await plane.by_name.load("n")
        with pytest.raises(ModelNotFound, match="model 'm' has no version 3; there are: 1, 2"):
            await plane.by_name.load("m", 3)
        with pytest.raises(ModelNotFound):
            await plane.by_name.load("../m")

    async def test_a_model_without_an_artifact_says_what_is_missing(self, plane: Plane) -> None:
        plane.publish("n/1", "words", "README.md")
        with pytest.raises(LoadFailed, match=r"n/1: no artifact: expected .* found README.md"):
            await plane.by_name.load("n")
        (plane.root / "o").mkdir()
        with pytest.raises(LoadFailed, match="o: no version: expected a folder named by a positive integer"):
            await plane.by_name.load("o")

    async def test_a_version_that_the_policy_leaves_out_is_not_loaded_and_says_so(self, plane: Plane) -> None:
        plane.write("m/model.toml", 'versions = "latest:1"')
        await plane.reaches(v1=None)
        with pytest.raises(LoadFailed, match="m/1: the version policy keeps none, and no label names one"):
            await plane.by_name.load("m", 1)

    async def test_an_unload_ends_the_wait(self, plane: Plane) -> None:
        plane.adapter.hold = asyncio.Event()
        plane.publish("m/3", "three")
        loading = asyncio.create_task(plane.by_name.load("m", 3))
        await plane.reaches(v3="LOADING")
        await plane.by_name.unload("m", 3)
        with pytest.raises(LoadFailed, match="m/3@onnxruntime: unloaded by request"):
            await loading

    async def test_a_caller_who_leaves_does_not_end_the_load(self, plane: Plane) -> None:
        await plane.by_name.unload("m")
        plane.adapter.hold = asyncio.Event()
        loading = asyncio.create_task(plane.by_name.load("m"))
        await plane.reaches(v1="LOADING", v2="LOADING")
        loading.cancel()
        await asyncio.wait([loading])
        plane.adapter.hold.set()
        await plane.reaches(v1="READY", v2="READY")

    async def test_a_repository_that_is_away_is_told(self, plane: Plane) -> None:
        plane.root.rename(plane.root.with_name("away"))
        for call in (plane.by_name.load("m"), plane.by_name.unload("m")):
            with pytest.raises(BackendUnavailable, match=r"the repository .* cannot be read"):
                await call
        assert await plane.ask() == "two"

    async def test_a_gateway_that_stops_keeps_no_caller_waiting(self, plane: Plane) -> None:
        plane.adapter.hold = asyncio.Event()
        plane.publish("m/3", "three")
        loading = asyncio.create_task(plane.by_name.load("m", 3))
        await plane.reaches(v3="LOADING")
        await plane.control.stop()
        with pytest.raises(LoadFailed):
            await loading
        assert plane.adapter.live == {}


class TestIndex:
    """What is in the repository, in Triton's words."""

    async def test_every_version_is_there_with_its_state_and_reason(self, plane: Plane) -> None:
        plane.adapter.failures["bad"] = LoadFailed("no graph was found")
        plane.publish("m/3", "bad")
        plane.publish("n/1", "other")
        plane.publish("o/1", "words", "README.md")
        (plane.root / "p").mkdir()
        await plane.by_name.unload("m", 1)
        await plane.reaches(v1="UNLOADED", v3="FAILED")
        await until(lambda: plane.state("n/1@onnxruntime") == "READY")
        assert [each.name for each in plane.by_name.index()] == ["m", "m", "m", "n", "o", "p"]
        seen = index(plane)
        assert seen["m/1"] == ("UNAVAILABLE", "unloaded")
        assert seen["m/2"] == ("READY", "")
        assert seen["m/3"] == ("UNAVAILABLE", "m/3@onnxruntime: no graph was found")
        assert seen["n/1"] == ("READY", "")
        assert seen["o/1"][0] == "UNAVAILABLE"
        assert seen["o/1"][1].startswith("no artifact: expected")
        assert plane.by_name.index()[-1] == IndexEntry(
            "p", None, "UNAVAILABLE", "p: no version: expected a folder named by a positive integer, as in 1/"
        )  # type: ignore[arg-type]
        assert set(index(plane, ready_only=True)) == {"m/2", "n/1"}

    async def test_one_ready_backend_is_ready_and_the_others_reasons_are_told(self, tmp_path: Path) -> None:
        plane = Plane(tmp_path, "onnxruntime", "tflite")
        plane.adapters["tflite"].failures["bad"] = LoadFailed("no buffer was found")
        plane.publish("m/1", "good")
        plane.publish("m/1", "bad", "model.tflite")
        async with plane.running():
            await until(lambda: plane.state("m/1@tflite") == "FAILED" and plane.state(ONE) == "READY")
            assert index(plane) == {"m/1": ("READY", "m/1@tflite: no buffer was found")}

    async def test_what_loads_or_waits_for_it_is_loading(self, plane: Plane) -> None:
        plane.adapter.hold = asyncio.Event()
        for version in range(3, 9):
            plane.publish(f"m/{version}", "more")
        await until(lambda: plane.state("m/8@onnxruntime") == "FOUND" and plane.state("m/3@onnxruntime") == "LOADING")
        assert (index(plane)["m/3"], index(plane)["m/8"]) == (("LOADING", ""), ("LOADING", ""))

    async def test_what_the_policy_leaves_out_says_so(self, plane: Plane) -> None:
        plane.write("m/model.toml", 'versions = "latest:1"')
        await plane.reaches(v1=None)
        assert index(plane)["m/1"] == ("UNAVAILABLE", "left out by the version policy")
