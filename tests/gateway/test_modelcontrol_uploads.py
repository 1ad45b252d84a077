"""What comes with a load by name is served instead of the repository's, and leaves no trace when it goes."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.errors import InvalidInput, LoadFailed
from gateway.errors import ModelNotFound, NotAllowed, RequestTooLarge, VersionNotReady
from gateway.modelcontrol import ModelControl
from gateway.uploads import Uploads
from tests.gateway.plane import Plane
from tests.waiting import turns, until


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    """A control plane that serves two versions."""
    async with Plane(tmp_path).running() as plane:
        plane.publish("m/1", "one")
        plane.publish("m/2", "two")
        await plane.reaches(v1="READY", v2="READY")
        yield plane


def files(plane: Plane) -> list[str]:
    """Every uploaded file that is on disk."""
    found = (Path(folder, name) for folder, _, names in os.walk(plane.uploads) for name in names)  # while some go
    return sorted(str(each.relative_to(plane.uploads)) for each in found)


async def test_an_upload_is_served_instead_of_the_repository_s_folder(plane: Plane) -> None:
    await plane.by_name.load("m", overrides={"file:1/model.onnx": b"ours"})
    assert (await plane.ask(), await plane.ask(version=1)) == ("ours", "ours")
    with pytest.raises((ModelNotFound, VersionNotReady)):
        await plane.ask(version=2)
    await plane.reaches(v1="READY", v2=None)
    assert set(plane.adapter.live.values()) == {"ours"}
    plane.publish("m/3", "three")
    plane.publish("m/1", "changed")
    await plane.looked()
    await plane.reaches(v1="READY", v3=None)
    assert await plane.ask() == "ours"


async def test_a_load_without_overrides_brings_the_repository_s_back_and_removes_the_upload(plane: Plane) -> None:
    await plane.by_name.load("m", overrides={"file:5/model.onnx": b"ours"})
    assert files(plane) == ["1/5/model.onnx"]
    await plane.by_name.load("m")
    assert await plane.ask() == "two"
    await plane.reaches(v1="READY", v2="READY", v5=None)
    await until(lambda: list(plane.uploads.iterdir()) == [])


async def test_an_unload_removes_the_upload_once_its_last_answer_is_out(plane: Plane) -> None:
    plane.held.add("ours")
    await plane.by_name.load("m", overrides={"file:5/model.onnx": b"ours"})
    request = asyncio.create_task(plane.ask())
    await turns()
    await plane.by_name.unload("m")
    with pytest.raises((ModelNotFound, VersionNotReady)):
        await plane.ask()
    await plane.looked()
    assert files(plane) == ["1/5/model.onnx"], "somebody uses it still"
    (address,) = plane.adapter.live
    plane.models[address].finish()
    assert await request == "ours"
    await until(lambda: not files(plane))
    await plane.reaches(v1="UNLOADED", v2="UNLOADED", v5=None)


async def test_a_model_may_be_uploaded_alone(plane: Plane) -> None:
    await plane.by_name.load("new", overrides={"file:1/model.onnx": b"ours"})
    assert await plane.ask("new") == "ours"
    assert [each.name for each in plane.by_name.index()] == ["m", "m", "new"]
    with pytest.raises(ModelNotFound, match="model 'new' is not in the repository; there are: m"):
        await plane.by_name.load("new")
    assert await plane.ask("new") == "ours", "a load that finds nothing changes nothing"
    await plane.by_name.unload("new")
    await until(lambda: plane.state("new/1@onnxruntime") is None)
    with pytest.raises(ModelNotFound, match="there are: m"):
        await plane.ask("new")
    with pytest.raises(ModelNotFound):
        await plane.by_name.unload("new")
    await until(lambda: not files(plane))
    plane.publish("new/1", "the repository's")
    await until(lambda: plane.state("new/1@onnxruntime") == "READY")


async def test_one_upload_replaces_another_without_a_moment_without_an_answer(plane: Plane) -> None:
    answers: list[str] = []
    stop = asyncio.Event()

    async def client() -> None:
        while not stop.is_set():
            answers.append(await plane.ask())
            await asyncio.sleep(0)

    asking = asyncio.create_task(client())
    for version, content in ((1, "a"), (7, "b"), (3, "c")):
        await plane.by_name.load("m", overrides={f"file:{version}/model.onnx": content.encode()})
        await until(lambda content=content: answers[-1:] == [content])
    await plane.by_name.load("m")
    await until(lambda: answers[-1:] == ["two"])
    stop.set()
    await asking
    kept = [answer for answer, before in zip(answers, ["", *answers], strict=False) if answer != before]
    assert kept == ["two", "a", "b", "c", "two"], "never an answer of neither the old nor the new"
    await until(lambda: not files(plane))


async def test_an_upload_that_fails_is_taken_back(plane: Plane) -> None:
    plane.adapter.failures["bad"] = LoadFailed("no graph was found")
    for version in (1, 2, 9):
        with pytest.raises(LoadFailed, match="no graph was found"):
            await plane.by_name.load("m", overrides={f"file:{version}/model.onnx": b"bad"})
        assert (await plane.ask(version=1), await plane.ask(version=2)) == ("one", "two")
    await until(lambda: not files(plane))
    await plane.reaches(v1="READY", v2="READY", v9=None)
    await until(lambda: not plane.reason("m/1@onnxruntime") + plane.reason("m/2@onnxruntime"))
    with pytest.raises(LoadFailed, match="no graph was found"):
        await plane.by_name.load("new", overrides={"file:1/model.onnx": b"bad"})
    await until(lambda: plane.state("new/1@onnxruntime") is None)
    with pytest.raises(ModelNotFound):
        await plane.ask("new")


async def test_an_upload_after_one_that_is_served_and_fails_leaves_that_one(plane: Plane) -> None:
    plane.adapter.failures["bad"] = LoadFailed("no graph was found")
    await plane.by_name.load("m", overrides={"file:5/model.onnx": b"ours"})
    with pytest.raises(LoadFailed):
        await plane.by_name.load("m", overrides={"file:6/model.onnx": b"bad"})
    await plane.looked()
    assert await plane.ask() == "ours"
    assert files(plane) == ["1/5/model.onnx"]
    await plane.by_name.load("m")
    await until(lambda: not files(plane))


async def test_a_repository_that_cannot_be_loaded_any_more_leaves_the_upload_serving(plane: Plane) -> None:
    plane.adapter.failures["bad"] = LoadFailed("no graph was found")
    await plane.by_name.load("m", overrides={"file:5/model.onnx": b"ours"})
    plane.delete("m/1")
    plane.publish("m/2", "bad")
    with pytest.raises(LoadFailed, match="m/2@onnxruntime: no graph was found"):
        await plane.by_name.load("m")
    assert await plane.ask() == "ours"


async def test_an_unload_while_an_upload_loads_is_not_undone_by_its_failure(plane: Plane) -> None:
    plane.adapter.hold = asyncio.Event()
    loading = asyncio.create_task(plane.by_name.load("m", overrides={"file:5/model.onnx": b"ours"}))
    await plane.reaches(v5="LOADING")
    await plane.by_name.unload("m")
    with pytest.raises(LoadFailed):
        await loading
    await plane.reaches(v1="UNLOADED", v2="UNLOADED", v5=None)
    await until(lambda: not files(plane))


async def test_an_upload_that_fails_is_taken_back_though_its_caller_has_left(plane: Plane) -> None:
    plane.adapter.failures["bad"] = LoadFailed("no graph was found")
    plane.adapter.hold = asyncio.Event()
    loading = asyncio.create_task(plane.by_name.load("m", overrides={"file:5/model.onnx": b"bad"}))
    await plane.reaches(v5="LOADING")
    loading.cancel()
    await asyncio.wait([loading])
    plane.adapter.hold.set()
    await plane.reaches(v1="READY", v2="READY", v5=None)
    await until(lambda: not files(plane))


async def test_a_gateway_that_stops_begins_nothing_more(plane: Plane) -> None:
    plane.adapter.hold = asyncio.Event()
    loading = asyncio.create_task(plane.by_name.load("m", overrides={"file:1/model.onnx": b"ours"}))
    await until(lambda: len(plane.adapter.loads) == 3)
    await plane.control.stop()
    plane.adapter.hold.set()
    with pytest.raises(LoadFailed):
        await loading
    assert not any(record.busy for record in plane.control.records)
    assert (len(plane.adapter.loads), plane.adapter.live) == (3, {})


async def test_loads_of_one_model_take_turns_and_the_last_one_counts(plane: Plane) -> None:
    contents = [f"c{number}".encode() for number in range(5)]
    await asyncio.gather(*(plane.by_name.load("m", overrides={"file:1/model.onnx": each}) for each in contents))
    assert await plane.ask() == "c4"
    await until(lambda: len(files(plane)) == 1)
    await until(lambda: set(plane.adapter.live.values()) == {"c4"})


async def test_an_upload_with_settings_is_loaded_with_them(plane: Plane) -> None:
    config = '{"max_batch_size": 8, "version_policy": {"specific": {"versions": [3, 5]}}}'
    content = {f"file:{version}/model.onnx": f"{version}".encode() for version in (3, 4, 5)}
    await plane.by_name.load("m", overrides={"config": config, **content})
    await plane.reaches(v3="READY", v4=None, v5="READY")
    assert {artifact.batching.max_rows for artifact in plane.adapter.loads if artifact.version > 2} == {8}


async def test_settings_alone_count_for_the_repository_s_model_until_the_next_load(plane: Plane) -> None:
    plane.write("m/model.toml", "[batching]\nmax_rows = 3")
    await until(lambda: sum(artifact.batching.max_rows == 3 for artifact in plane.adapter.loads) == 2)
    config = '{"max_batch_size": 8, "version_policy": {"latest": {"num_versions": 1}}}'
    await plane.by_name.load("m", overrides={"config": config})
    await plane.reaches(v1=None, v2="READY")
    assert (plane.adapter.loads[-1].batching.max_rows, await plane.ask()) == (8, "two")
    await plane.by_name.load("m")
    await plane.reaches(v1="READY", v2="READY")
    assert plane.adapter.loads[-1].batching.max_rows == 3


async def test_a_load_given_up_for_other_settings_is_begun_again(plane: Plane) -> None:
    plane.adapter.hold = asyncio.Event()
    plane.publish("m/3", "three")
    await plane.reaches(v3="LOADING")
    config = '{"version_policy": {"latest": {"num_versions": 1}}}'
    loading = asyncio.create_task(plane.by_name.load("m", overrides={"config": config}))
    await until(lambda: len(plane.adapter.loads) == 4)
    plane.adapter.hold.set()
    await loading
    assert await plane.ask() == "three"


async def test_settings_alone_need_a_model_in_the_repository(plane: Plane) -> None:
    with pytest.raises(ModelNotFound):
        await plane.by_name.load("new", overrides={"config": "{}"})


async def test_labels_of_the_repository_do_not_count_for_an_upload(plane: Plane) -> None:
    await plane.labels.set("m", "stable", 1)
    await plane.by_name.load("m", overrides={"file:5/model.onnx": b"ours"})
    assert await plane.ask() == "ours"
    assert await plane.labels.of("m") == {}
    with pytest.raises(NotAllowed, match="model 'm' was uploaded"):
        await plane.labels.set("m", "stable", 5)
    await plane.by_name.load("m")
    assert await plane.ask() == "one"


async def test_a_version_of_an_upload_is_unloaded_by_itself(plane: Plane) -> None:
    overrides = {f"file:{version}/model.onnx": f"{version}".encode() for version in (1, 2)}
    await plane.by_name.load("m", overrides=overrides)
    await plane.by_name.unload("m", 2)
    assert await plane.ask() == "1"
    with pytest.raises(ModelNotFound, match="model 'm' has no version 3; there are: 1, 2"):
        await plane.by_name.load("m", 3, overrides)
    await until(lambda: len(files(plane)) == 2)


@pytest.mark.parametrize(
    "overrides",
    [
        {"file:1/../../x": b"x"},
        {"file:../x": b"x"},
        {"file:1/x": "no base64"},
        {"file:1/x": 3},
        {"config": "{"},
        {"config": "{}", "file:1/": b""},
        {"config": '{"name": "other"}', "file:1/x": b"x"},
    ],
)
async def test_what_is_wrong_is_refused_before_anything_is_written(plane: Plane, overrides: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        await plane.by_name.load("m", overrides=overrides)
    assert not plane.uploads.exists()
    assert await plane.ask() == "two"


@pytest.mark.parametrize("name", ["../x", "M", "", "a/b", ".", "x" * 65])
async def test_a_model_s_name_is_of_its_form(plane: Plane, name: str) -> None:
    with pytest.raises(InvalidInput, match="expected a name of a-z 0-9"):
        await plane.by_name.load(name, overrides={"file:1/model.onnx": b"x"})
    assert not plane.uploads.exists()


async def test_what_is_too_large_is_refused(plane: Plane) -> None:
    with pytest.raises(RequestTooLarge):
        await plane.by_name.load("m", overrides={"file:1/model.onnx": b"x" * 1001})
    assert not plane.uploads.exists()


async def test_without_the_setting_nothing_is_taken_and_loads_by_name_go_on(plane: Plane) -> None:
    closed = ModelControl(
        plane.control, Uploads(plane.uploads), allow_upload=False, max_upload_bytes=1000, load_timeout_s=60
    )
    for overrides in ({"file:1/x": "rubbish"}, {"config": "{"}):
        with pytest.raises(NotAllowed, match="only where the server's settings say model_upload = true"):
            await closed.load("m", overrides=overrides)
    await closed.load("m", overrides={"unload_dependents": True})
    assert await plane.ask() == "two"


async def test_a_full_disk_is_told_and_leaves_nothing_behind(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.name == "b":
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(LoadFailed, match="m: the upload cannot be stored: No space left on device"):
        await plane.by_name.load("m", overrides={"file:1/a": b"x", "file:1/b": b"x"})
    assert list(plane.uploads.iterdir()) == []
    assert await plane.ask() == "two"


async def test_uploads_are_private_and_whole(tmp_path: Path) -> None:
    plane = Plane(tmp_path)
    async with plane.running():
        overrides = {"file:1/saved_model/saved_model.pb": b"graph", "file:1/saved_model/variables/v": b"values"}
        with pytest.raises(LoadFailed):  # this plane has no backend for it
            await plane.by_name.load("m", overrides=overrides)
        assert stat.S_IMODE(plane.uploads.stat().st_mode) == 0o700
