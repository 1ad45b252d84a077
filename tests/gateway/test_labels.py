"""Labels are moved by name: only to what is ready, whole files at a time, and never with a moment without an answer."""

from __future__ import annotations

import asyncio
import errno
import stat
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import BackendUnavailable, InvalidInput, LoadFailed
from gateway.config import ConfigError, read_labels
from gateway.errors import ModelNotFound, NotAllowed, VersionNotReady
from gateway.labels import Labels, with_label
from tests.gateway.plane import Plane
from tests.waiting import turns, until

FILE = "m/labels.toml"


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    """A control plane that serves two versions."""
    async with Plane(tmp_path).running() as plane:
        plane.publish("m/1", "one")
        plane.publish("m/2", "two")
        await plane.reaches(v1="READY", v2="READY")
        yield plane


def text(plane: Plane) -> str:
    return (plane.root / FILE).read_text()


async def test_a_label_is_set_moved_and_removed_and_requests_go_by_it_at_once(plane: Plane) -> None:
    assert await plane.labels.of("m") == {}
    await plane.labels.set("m", "stable", 1)
    assert (await plane.ask(), await plane.ask(label="stable")) == ("one", "one")
    assert text(plane) == "stable = 1\n"
    await plane.labels.set("m", "stable", 2)
    assert (await plane.ask(), await plane.ask(label="stable")) == ("two", "two")
    await plane.labels.set("m", "stable", 1)
    await plane.labels.remove("m", "stable")
    assert await plane.ask() == "two", "the newest answers again"
    assert await plane.labels.of("m") == {}
    assert text(plane) == ""


async def test_other_labels_and_comments_stay(plane: Plane) -> None:
    plane.write(FILE, '# ours\ncanary = 2 # for a week\n\n"old.1" = 7')
    await plane.labels.set("m", "stable", 1)
    assert text(plane) == '# ours\ncanary = 2 # for a week\n\n"old.1" = 7\nstable = 1\n'
    await plane.labels.set("m", "canary", 1)
    assert text(plane) == '# ours\ncanary = 1\n\n"old.1" = 7\nstable = 1\n'
    await plane.labels.remove("m", "old.1")
    assert await plane.labels.of("m") == {"canary": 1, "stable": 1}
    assert text(plane) == "# ours\ncanary = 1\n\nstable = 1\n"


async def test_a_label_moves_only_to_a_ready_version(plane: Plane) -> None:
    plane.adapter.failures["bad"] = LoadFailed("no graph was found")
    plane.publish("m/3", "bad")
    await plane.reaches(v3="FAILED")
    with pytest.raises(VersionNotReady, match="m/3@onnxruntime is FAILED: no graph was found"):
        await plane.labels.set("m", "stable", 3)
    with pytest.raises(ModelNotFound, match="model 'm' has no version 9; there are: 1, 2, 3"):
        await plane.labels.set("m", "stable", 9)
    with pytest.raises(ModelNotFound, match="model 'n' is not in the repository; there are: m"):
        await plane.labels.set("n", "stable", 1)
    plane.adapter.hold = asyncio.Event()
    plane.publish("m/4", "four")
    await plane.reaches(v4="LOADING")
    with pytest.raises(VersionNotReady, match="m/4@onnxruntime is LOADING"):
        await plane.labels.set("m", "stable", 4)
    await plane.by_name.unload("m", 2)
    with pytest.raises(VersionNotReady, match=r"m/2@onnxruntime is (DRAINING|UNLOADED)"):
        await plane.labels.set("m", "stable", 2)
    assert not (plane.root / FILE).exists()


async def test_one_ready_deployment_of_a_version_is_enough(tmp_path: Path) -> None:
    plane = Plane(tmp_path, "onnxruntime", "tflite")
    plane.adapter.failures["bad"] = LoadFailed("no")
    plane.publish("m/1", "bad")
    plane.publish("m/1", "good", "model.tflite")
    async with plane.running():
        await until(lambda: (plane.state("m/1@onnxruntime"), plane.state("m/1@tflite")) == ("FAILED", "READY"))
        await plane.labels.set("m", "stable", 1)
        assert await plane.ask() == "good"


@pytest.mark.parametrize(
    "label", ["", "Stable", "-x", ".x", "_x", "a b", "a/b", "../x", "é", "a\n", "x" * 65, "a=b", '"', "stable\0"]
)
async def test_a_label_s_name_is_of_its_form(plane: Plane, label: str) -> None:
    for change in (plane.labels.set("m", label, 1), plane.labels.remove("m", label)):
        with pytest.raises(InvalidInput, match="expected a name of a-z 0-9"):
            await change
    assert not (plane.root / FILE).exists()


@pytest.mark.parametrize("version", [0, -1, True, 1.0, "1", None, 10**18])
async def test_a_version_is_a_positive_integer(plane: Plane, version: Any) -> None:
    with pytest.raises(InvalidInput, match="version: expected a positive integer"):
        await plane.labels.set("m", "stable", version)


async def test_a_label_that_is_not_there_cannot_be_removed(plane: Plane) -> None:
    await plane.labels.set("m", "stable", 1)
    with pytest.raises(ModelNotFound, match="model 'm' has no label 'canary'; there are: stable"):
        await plane.labels.remove("m", "canary")
    with pytest.raises(ModelNotFound, match="model 'n' is not in the repository"):
        await plane.labels.remove("n", "canary")
    with pytest.raises(ModelNotFound, match="model 'n' is not in the repository"):
        await plane.labels.of("n")


@pytest.mark.parametrize("wrong", ["stable = ", "stable = '1'", "[stable]", "a.b = 1", "x = 1\nx = 1", "\xff"])
async def test_nothing_is_written_while_the_file_is_wrong(plane: Plane, wrong: str) -> None:
    (plane.root / FILE).write_bytes(wrong.encode("latin-1"))
    for change in (plane.labels.set("m", "stable", 1), plane.labels.remove("m", "stable")):
        with pytest.raises(NotAllowed, match=r"m/labels.toml: .*nothing was written: mend the file first"):
            await change
    assert (plane.root / FILE).read_bytes() == wrong.encode("latin-1")


async def test_a_file_that_is_a_link_is_left_alone(plane: Plane) -> None:
    shared = plane.root.parent / "shared.toml"
    shared.write_text("canary = 2\n")
    (plane.root / FILE).symlink_to(shared)
    with pytest.raises(NotAllowed, match=r"m/labels.toml: it is a symbolic link"):
        await plane.labels.set("m", "stable", 1)
    assert (shared.read_text(), (plane.root / FILE).is_symlink()) == ("canary = 2\n", True)


async def test_a_file_that_would_be_too_large_to_be_read_is_not_written(plane: Plane) -> None:
    plane.write(FILE, "#" * (2**20 - 1) + "\n")
    with pytest.raises(NotAllowed, match="at most 1048576 bytes"):
        await plane.labels.set("m", "stable", 1)
    assert len(text(plane)) == 2**20


@pytest.mark.parametrize("call", ["mkstemp", "fsync", "replace"])
async def test_a_repository_that_cannot_be_written_says_so_and_loses_nothing(
    plane: Plane, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    await plane.labels.set("m", "canary", 2)

    def refuse(*_: object, **__: object) -> Any:
        raise OSError(errno.EROFS, "Read-only file system")

    target = {"mkstemp": "tempfile.mkstemp", "fsync": "os.fsync", "replace": "pathlib.Path.replace"}[call]
    monkeypatch.setattr(target, refuse)
    with pytest.raises(NotAllowed, match=r"m/labels.toml cannot be written: Read-only file system; no label was"):
        await plane.labels.set("m", "stable", 1)
    monkeypatch.undo()
    assert text(plane) == "canary = 2\n"
    assert sorted(each.name for each in (plane.root / "m").iterdir()) == ["1", "2", "labels.toml"]
    await plane.labels.set("m", "stable", 1)


async def test_a_repository_that_is_away_is_told_and_what_serves_goes_on(plane: Plane) -> None:
    plane.root.rename(plane.root.with_name("away"))
    with pytest.raises(BackendUnavailable, match=r"the repository .* cannot be read: No such file"):
        await plane.labels.set("m", "stable", 1)
    assert await plane.ask() == "two"


async def test_the_file_keeps_its_mode_and_a_new_one_is_for_all_to_read(plane: Plane) -> None:
    await plane.labels.set("m", "stable", 1)
    assert stat.S_IMODE((plane.root / FILE).stat().st_mode) == 0o644
    (plane.root / FILE).chmod(0o660)
    await plane.labels.set("m", "stable", 2)
    assert stat.S_IMODE((plane.root / FILE).stat().st_mode) == 0o660


async def test_setting_a_label_to_what_it_is_writes_nothing(plane: Plane) -> None:
    await plane.labels.set("m", "stable", 1)
    before = (plane.root / FILE).stat().st_ino
    await plane.labels.set("m", "stable", 1)
    assert (plane.root / FILE).stat().st_ino == before


async def test_labels_set_at_the_same_time_are_all_kept(plane: Plane) -> None:
    names = [f"l{number}" for number in range(20)]
    await asyncio.gather(*(plane.labels.set("m", name, 1 + number % 2) for number, name in enumerate(names)))
    assert await plane.labels.of("m") == {name: 1 + number % 2 for number, name in enumerate(names)}
    assert tomllib.loads(text(plane)) == await plane.labels.of("m")


async def test_no_request_fails_while_a_label_moves_back_and_forth(plane: Plane) -> None:
    await plane.labels.set("m", "stable", 1)
    answers: list[str] = []
    stop = asyncio.Event()

    async def client(label: str | None) -> None:
        while not stop.is_set():
            answers.append(await plane.ask(label=label))
            await asyncio.sleep(0)

    asking = [asyncio.create_task(client(label)) for label in (None, "stable")]
    for version, content in [(2, "two"), (1, "one")] * 10:
        await plane.labels.set("m", "stable", version)
        before = len(answers)
        await until(lambda before=before: len(answers) > before + 4)
        assert set(answers[before + 2 :]) == {content}, "whoever asks after the move gets the new version"
    stop.set()
    await asyncio.gather(*asking)


async def test_a_version_that_a_label_names_goes_on_though_the_policy_keeps_another(tmp_path: Path) -> None:
    plane = Plane(tmp_path)
    plane.write("m/model.toml", 'versions = "latest:1"')
    plane.publish("m/1", "one")
    async with plane.running():
        await plane.reaches(v1="READY")
        await plane.labels.set("m", "stable", 1)
        plane.publish("m/2", "two")
        await plane.reaches(v2="READY")
        await plane.looked()
        assert (await plane.ask(), plane.state("m/1@onnxruntime")) == ("one", "READY")
        await plane.labels.set("m", "canary", 1)
        await plane.labels.set("m", "stable", 2)
        await plane.looked()
        assert plane.state("m/1@onnxruntime") == "READY", "another label names it still"
        await plane.labels.remove("m", "canary")
        await plane.reaches(v1=None, v2="READY")
        assert await plane.ask() == "two"


async def test_a_version_does_not_go_while_a_label_is_being_moved_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = Plane(tmp_path)
    plane.write("m/model.toml", 'versions = "latest:1"')
    plane.publish("m/1", "one")
    plane.adapter.hold = hold = asyncio.Event()
    loop = asyncio.get_running_loop()
    replace = Path.replace

    async def replacement_ready() -> None:
        hold.set()
        await plane.reaches(v2="READY")
        await until(lambda: plane.control._looking._waiters)  # a look that would let the first version go

    def slow_disk(staged: Path, file: Path) -> Path:
        asyncio.run_coroutine_threadsafe(replacement_ready(), loop).result(20)
        return replace(staged, file)

    async with plane.running():
        hold.set()
        await plane.reaches(v1="READY")
        hold.clear()
        plane.publish("m/2", "two")
        await plane.reaches(v2="LOADING")
        with monkeypatch.context() as patch:
            patch.setattr("pathlib.Path.replace", slow_disk)
            await plane.labels.set("m", "stable", 1)
        await plane.looked()
        assert (await plane.ask(), plane.state("m/1@onnxruntime")) == ("one", "READY")


async def test_labelled_versions_are_loaded_first(tmp_path: Path) -> None:
    plane = Plane(tmp_path)
    plane.adapter.hold = asyncio.Event()
    for version in range(1, 10):
        plane.publish(f"m/{version}", f"{version}")
        plane.publish(f"n/{version}", f"{version}")
    plane.write("n/labels.toml", "stable = 9")
    async with plane.running():
        await until(lambda: len(plane.adapter.loads) == 4)
        assert "n/9@onnxruntime" in map(str, plane.adapter.loads), "four load at once, and it is among the first four"


async def test_an_unpinned_request_waits_for_stable_rather_than_go_elsewhere(tmp_path: Path) -> None:
    plane = Plane(tmp_path)
    plane.publish("m/1", "one")
    plane.publish("m/2", "two")
    plane.write(FILE, "stable = 1")
    hold = asyncio.Event()
    load = plane.adapter.load

    async def slow_first(artifact: Any) -> Any:
        if artifact.version == 1:
            await hold.wait()
        return await load(artifact)

    plane.adapter.load = slow_first  # type: ignore[method-assign]
    seen: list[object] = []
    async with plane.running():
        while plane.state("m/1@onnxruntime") != "READY":
            try:
                seen.append(await plane.ask())
            except (ModelNotFound, VersionNotReady) as error:
                seen.append(type(error))
            if plane.state("m/2@onnxruntime") == "READY":
                await turns()
                hold.set()
            await asyncio.sleep(0)
        assert set(seen) <= {ModelNotFound, VersionNotReady}
        assert await plane.ask() == "one"


LABELS = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,8}", fullmatch=True)


@given(
    st.dictionaries(LABELS, st.integers(1, 9)), LABELS, st.integers(1, 9) | st.none(), st.sampled_from(["\n", "\r\n"])
)
def test_a_changed_text_says_what_was_asked_and_all_else_as_before(
    labels: dict[str, int], label: str, version: int | None, newline: str
) -> None:
    before = newline.join(f'"{name}" = {number} # {name}' for name, number in labels.items())
    after = read_labels(with_label(before, label, version), FILE)
    expected = {name: number for name, number in labels.items() if name != label}
    assert after == (expected if version is None else {**expected, label: version})


def test_a_text_that_would_be_too_large_is_refused() -> None:
    with pytest.raises(ConfigError, match="at most 1048576 bytes"):
        with_label("#" * 2**20, "stable", 1)


async def test_every_change_is_told_with_what_was_before_and_who_made_it(tmp_path: Path) -> None:
    plane = Plane(tmp_path)
    plane.publish("m/1", "one")
    plane.publish("m/2", "two")
    told: list[tuple[object, ...]] = []
    labels = Labels(plane.control, lambda *change: told.append(change))
    async with plane.running():
        await plane.reaches(v1="READY", v2="READY")
        await labels.set("m", "stable", 1, "Ada")
        await labels.set("m", "stable", 1, "Ada")
        await labels.set("m", "stable", 2, "Ada")
        with pytest.raises(ModelNotFound):
            await labels.set("m", "stable", 3, "Ada")
        await labels.remove("m", "stable", "Bob")
    assert told == [
        ("m", "stable", None, 1, "Ada"),
        ("m", "stable", 1, 2, "Ada"),
        ("m", "stable", 2, None, "Bob"),
    ]
