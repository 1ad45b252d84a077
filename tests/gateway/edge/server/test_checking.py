"""Which bundle a device is told to have."""

from __future__ import annotations

import pytest

from gateway.edge.channel_file import Channel
from gateway.edge.devices import Rules
from tests.gateway.edge.server.conftest import Edge, Serve
from tests.gateway.edge.server.folder import Folder, rollout


@pytest.fixture
async def edge(serve: Serve, folder: Folder) -> Edge:
    folder.bundle("digits", 1, b"one")
    folder.bundle("digits", 2, b"two")
    folder.bundle("digits", 2, b"two large", "linux-arm64", min_ram_mb=2048, min_app="2.1")
    folder.write()
    folder.channels("digits", stable=Channel(current=1, rollout=rollout(2, percent=10)), beta=Channel(current=2))
    return await serve(poll_s=60)


async def test_a_device_is_told_its_version_with_path_digest_and_length(edge: Edge, folder: Folder) -> None:
    told = await edge.check(channel="beta", id="abc")
    target = folder.targets["digits/2/digits-2-android.zip"]
    assert told == {
        "model": "digits",
        "channel": "beta",
        "version": 2,
        "target": "digits/2/digits-2-android.zip",
        "sha256": target["hashes"]["sha256"],
        "length": 3,
        "delta": None,
        "stage": "current",
        "poll_s": 60,
    }


async def test_a_rollouts_share_of_devices_is_told_its_version_and_always_the_same(edge: Edge) -> None:
    first = [await edge.check(id=f"device-{number}") for number in range(200)]
    again = [await edge.check(id=f"device-{number}") for number in range(200)]
    assert first == again
    rolling = [each for each in first if each and each["stage"] == "rollout"]
    assert all(each["version"] == 2 for each in rolling)
    assert 5 <= len(rolling) <= 40  # 20 are expected; less likely than 1 in 10,000 beyond these
    assert all(each and each["version"] == 1 for each in first if each not in rolling)


async def test_a_device_without_an_id_comes_last(edge: Edge) -> None:
    told = await edge.check()
    assert told is not None
    assert told["version"] == 1


async def test_there_is_nothing_for_a_platform_runtime_or_device_without_a_bundle(edge: Edge) -> None:
    assert await edge.check(channel="beta", os="ios") is None
    assert await edge.check(channel="beta", runtime="onnxruntime") is None
    small = {"os": "linux", "arch": "aarch64", "channel": "beta", "app": "2.1.0"}
    assert await edge.check(**small, ram_mb=1024) is None
    assert await edge.check(**{**small, "app": "2.0"}, ram_mb=4096) is None
    assert (await edge.check(**small, ram_mb=4096) or {})["target"].endswith("linux-arm64.zip")


async def test_what_the_rollout_has_no_bundle_for_gets_what_all_others_get(serve: Serve, folder: Folder) -> None:
    folder.bundle("digits", 1, b"one")
    folder.bundle("digits", 2, b"two", "ios")
    folder.write()
    folder.channels("digits", stable=Channel(current=1, rollout=rollout(2, percent=100)))
    edge = await serve()
    assert (await edge.check(id="a") or {})["version"] == 1
    assert (await edge.check(id="a", os="ios") or {})["version"] == 2


async def test_rules_are_kept(serve: Serve, folder: Folder) -> None:
    for version in (1, 2):
        folder.bundle("digits", version, b"%d" % version)
    folder.write()
    rules = Rules(min_app="2.1", os=("android",))
    folder.channels("digits", stable=Channel(current=1, rollout=rollout(2, percent=100, rules=rules)))
    edge = await serve()
    assert (await edge.check(id="a", app="2.1.0") or {})["version"] == 2
    assert (await edge.check(id="a", app="2.0.9") or {})["version"] == 1
    assert (await edge.check(id="a") or {})["version"] == 1


async def test_a_delta_is_offered_to_whom_it_is_for(serve: Serve, folder: Folder) -> None:
    before = folder.bundle("digits", 1, b"one")
    folder.bundle("digits", 2, b"two")
    path = f"digits/2/digits-2-android.from-{before[:16]}.bsdiff"
    digest = folder.add(path, b"d", from_sha256=before, to="digits/2/digits-2-android.zip")
    folder.write()
    folder.channels("digits", stable=Channel(current=2))
    edge = await serve()
    assert (await edge.check(have=before) or {})["delta"] == {"target": path, "sha256": digest, "length": 1}
    assert (await edge.check(have="0" * 64) or {})["delta"] is None
    assert (await edge.check() or {})["delta"] is None


async def test_a_halt_is_seen_by_the_next_device_once_the_file_is_read(edge: Edge, folder: Folder) -> None:
    told = [await edge.check(id=f"device-{number}") for number in range(100)]
    on_two = next(number for number, each in enumerate(told) if each and each["version"] == 2)
    stable = folder.channel("digits")
    assert stable.rollout is not None
    folder.channels("digits", stable=Channel(current=1, rollout=rollout(2, percent=10, state="halted")))
    await edge.state.watch.look()
    assert (await edge.check(id=f"device-{on_two}") or {})["version"] == 1


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ({}, 400, "os: expected the device's system, as android, got nothing"),
        ({"os": "And roid"}, 400, "os: expected"),
        ({"os": "android", "ram_mb": "lots"}, 400, "ram_mb: expected a whole number of MiB, got 'lots'"),
        ({"os": "android", "ram_mb": "-1"}, 400, "ram_mb: "),
        ({"os": "android", "ram_mb": "9" * 400}, 400, "ram_mb: "),
        ({"os": "android", "app": "newest"}, 400, "app: expected a version"),
        ({"os": "android", "have": "zz"}, 400, "have: expected 64 hex digits"),
        ({"os": "android", "id": "a b"}, 400, "id: expected"),
        ({"os": "android", "id": "x" * 129}, 400, "id: expected"),
        ({"os": "android", "channel": "../x"}, 400, "channel: expected"),
        ({"os": "android", "color": "red"}, 400, "'color': expected one of channel, os,"),
        ({"os": "android", "channel": "nightly"}, 404, "there is beta, stable"),
    ],
)
async def test_rubbish_is_refused_by_name(edge: Edge, query: dict[str, str], status: int, text: str) -> None:
    async with edge.get("models/digits/check", params=query) as answer:
        assert answer.status == status
        assert text in (await answer.json())["error"]


async def test_a_field_given_twice_and_a_model_that_is_not_there_are_refused(edge: Edge) -> None:
    async with edge.get("models/digits/check?os=android&os=ios") as answer:
        assert (answer.status, (await answer.json())["error"]) == (400, "os: expected it once, got it 2 times")
    for model, status in (("letters", 404), ("..", 404), ("%2e%2e%2fkeys", 400), ("x" * 65, 400)):
        async with edge.get(f"models/{model}/check?os=android") as answer:
            assert answer.status == status
            assert "error" in await answer.json()
