"""What devices report, and what comes of it."""

from __future__ import annotations

import asyncio
import gzip
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from gateway.edge.channel_file import Channel, Halt, Stage
from gateway.experiments.store.store import Store
from tests.gateway.edge.server.conftest import Edge, Serve
from tests.gateway.edge.server.folder import Folder, rollout
from tests.waiting import until

TARGET = "digits/2/digits-2-android.zip"


def report(device: str, kind: str = "self_check", **fields: Any) -> dict[str, Any]:
    told = {"id": device, "model": "digits", "version": 2, "target": TARGET, "kind": kind}
    if kind == "self_check":
        told["passed"] = True
    return {**told, **fields}


@pytest.fixture
async def edge(serve: Serve, folder: Folder) -> Edge:
    return await _edge(serve, folder)


async def _edge(serve: Serve, folder: Folder, percent: float = 10.0, **fields: Any) -> Edge:
    for version in (1, 2):
        folder.bundle("digits", version, b"%d" % version)
    folder.write()
    folder.channels("digits", stable=Channel(current=1, rollout=rollout(2, percent=percent, **fields)))
    return await serve()


async def evidence(edge: Edge) -> dict[str, Any]:
    """Of version 2's latest rollout."""
    found = (await edge.status())["models"]["digits"]["stable"]["evidence"]["2"]
    latest: dict[str, Any] = list(found.values())[-1] if found else {}
    return latest


async def test_a_report_is_counted_once_however_often_it_comes(edge: Edge) -> None:
    one, other = report("a", latency_ms=[3.0, 4.0]), report("b", passed=False, detail="7 is 1")
    assert await edge.report(one, other, one) == {"accepted": 2, "duplicates": 1, "refused": []}
    assert await edge.report(one) == {"accepted": 0, "duplicates": 1, "refused": []}
    assert await edge.report(report("a", "installed")) == {"accepted": 1, "duplicates": 0, "refused": []}
    assert await evidence(edge) == {
        "self_check_passed": 1,
        "self_check_failed": 1,
        "installed_passed": 1,
        "judged": 2,
        "faulted": 1,
    }
    assert (await edge.status())["details"] == [{"model": "digits", "version": 2, "detail": "7 is 1"}]


async def test_a_device_that_fails_twice_is_one_device(edge: Edge) -> None:
    await edge.report(report("a", passed=False), report("a", "failed"))
    found = await evidence(edge)
    assert (found["judged"], found["faulted"]) == (1, 1)


async def test_counts_outlast_the_server_and_so_does_what_was_counted(serve: Serve, folder: Folder) -> None:
    edge = await _edge(serve, folder)
    await edge.report(report("a", latency_ms=[3.0]), report("b"))
    await edge.stop()
    again = await serve()
    await until(lambda: again.state.tally.stored.counts)
    assert (await evidence(again))["self_check_passed"] == 2
    await again.report(report("a"), report("c"))
    await until(lambda: not again.state.tally.waiting)
    found = await evidence(again)
    assert found["self_check_passed"] == 3
    assert 2.5 < found["latency_ms"]["p50"] < 3.5


async def test_no_id_is_in_the_store(edge: Edge, tmp_path: Path) -> None:
    await edge.report(report("the-device-of-somebody"))
    await until(lambda: not edge.state.tally.waiting and edge.state.tally.stored.counts)
    content = b"".join(await asyncio.to_thread(lambda: [each.read_bytes() for each in tmp_path.glob("store.db*")]))
    assert b"digits" in content
    assert b"the-device-of-somebody" not in content


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"version": "2"}, "$.version"),
        ({"version": 0}, "$.version"),
        ({"kind": "praise"}, "$.kind"),
        ({"passed": None}, "passed: expected true or false with kind self_check"),
        ({"kind": "failed", "passed": True}, "passed: expected false or nothing"),
        ({"kind": "latency"}, "latency_ms: expected one number at least"),
        ({"latency_ms": [-1]}, "$.latency_ms[0]"),
        ({"latency_ms": [1e308]}, "$.latency_ms[0]"),
        ({"latency_ms": [1.0] * 1001}, "$.latency_ms"),
        ({"id": ""}, "$.id"),
        ({"id": "x" * 129}, "$.id"),
        ({"model": "../x"}, "$.model"),
        ({"target": "digits/9/digits-9-android.zip"}, "target: expected the path of a bundle of digits/2"),
        ({"target": "digits/1/digits-1-android.zip"}, "target: expected the path of a bundle of digits/2"),
        ({"version": 1}, "target: expected the path of a bundle of digits/1"),
        ({"channel": "nightly"}, "channel: expected one of model 'digits'"),
        ({"color": "red"}, "color"),
        ({"at": "yesterday"}, "$.at"),
        ({"detail": "x" * 1001}, "$.detail"),
    ],
)
async def test_a_wrong_report_is_refused_by_field_and_the_others_are_taken(
    edge: Edge, fields: dict[str, Any], text: str
) -> None:
    found = await edge.report(report("a"), {**report("b"), **fields}, report("c"))
    assert found["accepted"] == 2
    [refused] = found["refused"]
    assert refused["index"] == 1
    assert text in refused["error"]


@pytest.mark.parametrize("at", [1_764_000_000, 1_764_000_000.5, "2026-11-23T18:00:00Z"])
async def test_a_devices_clock_may_be_told_in_seconds_or_as_text(edge: Edge, at: Any) -> None:
    assert (await edge.report(report("a", at=at)))["accepted"] == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"{}", 400),
        (b'{"reports": []}', 400),
        (b'{"reports": [' + b"1," * 1000 + b"1]}", 400),
        (b'{"reports": [' * 50_000, 400),
        (b'{"reports": [1], "more": 1}', 400),
        (b" " * (1 << 20) + b"{}", 413),
    ],
)
async def test_what_is_no_body_of_reports_is_refused(edge: Edge, body: bytes, status: int) -> None:
    async with edge.session.post("/edge/v1/reports", data=body, headers={"Content-Type": "application/json"}) as answer:
        assert answer.status == status
        assert "error" in await answer.json()


@pytest.mark.parametrize(
    ("encoding", "body"), [("gzip", gzip.compress(b" " * (64 << 20), mtime=0)), ("gzip", b"junk"), ("zstd", b"junk")]
)
async def test_a_packed_body_is_refused_and_never_unpacked(edge: Edge, encoding: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    async with edge.session.post("/edge/v1/reports", data=body, headers=headers) as answer:
        assert answer.status == 400
        assert "content-encoding: expected none" in (await answer.json())["error"]


async def test_a_browsers_form_of_another_page_is_refused(edge: Edge) -> None:
    body = json.dumps({"reports": [report("a")]})
    async with edge.session.post("/edge/v1/reports", data=body, headers={"Content-Type": "text/plain"}) as answer:
        assert answer.status == 400


async def test_failing_self_checks_halt_a_rollout_by_themselves(serve: Serve, folder: Folder, tmp_path: Path) -> None:
    edge = await _edge(serve, folder, percent=100, halt=Halt(max_failed=0.02, min_reports=20))
    told = await edge.check(id="a")
    assert told
    assert told["version"] == 2
    await edge.report(*(report(f"good-{number}") for number in range(30)))
    await edge.report(*(report(f"bad-{number}", passed=False) for number in range(3)))
    await until(lambda: edge.state.watch.catalog.channels["digits"].channels["stable"].rollout.state == "halted")
    told = await edge.check(id="a")
    assert told
    assert (told["version"], told["stage"]) == (1, "current")
    await until(lambda: folder.channel("digits").rollout.state == "halted")
    assert "3 of 33" in folder.channel("digits").rollout.reason

    def events() -> list[Any]:
        return Store(f"sqlite:///{tmp_path}/store.db", "reader").events("digits")

    while not (found := await asyncio.to_thread(events)):  # noqa: ASYNC110  # it is in a database
        await asyncio.sleep(0.02)
    [event] = found
    assert (event.who, event.action) == ("edge", "rollout halted")
    assert "3 of 33" in event.reason


async def test_good_reports_take_a_rollout_through_its_stages(serve: Serve, folder: Folder) -> None:
    stages = (Stage(percent=10, after_s=0, min_reports=5), Stage(percent=100, after_s=0, min_reports=5))
    edge = await _edge(serve, folder, stages=stages)
    await edge.report(*(report(f"one-{number}") for number in range(5)))
    await until(lambda: folder.channel("digits").rollout.percent == 100)
    assert folder.channel("digits").current == 1
    await edge.report(*(report(f"two-{number}") for number in range(5)))
    await until(lambda: folder.channel("digits").current == 2)
    assert folder.channel("digits").rollout.state == "done"


async def test_a_version_that_is_tried_again_begins_with_clean_hands(serve: Serve, folder: Folder) -> None:
    edge = await _edge(serve, folder, percent=100)
    await edge.report(*(report(f"{number}", passed=False) for number in range(5)))
    await until(lambda: folder.channel("digits").rollout.state == "halted")
    folder.channels("digits", stable=Channel(current=1, rollout=rollout(2, percent=100)))
    await edge.state.watch.look()
    await edge.state.steward.look()
    assert folder.channel("digits").rollout.state == "running"
    assert (await edge.report(report("1")))["accepted"] == 1  # the same device, of the new rollout


async def test_a_rollout_is_halted_even_if_its_file_cannot_be_written(
    serve: Serve, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = await _edge(serve, folder, percent=100)
    files = edge.state.steward._files
    change, full = files.change, [True]

    def failing(*arguments: Any) -> Channel:
        if full:
            raise OSError(28, "No space left on device")
        return change(*arguments)

    monkeypatch.setattr(files, "change", failing)
    await edge.report(*(report(f"{number}", passed=False) for number in range(5)))
    await until(lambda: edge.state.watch.catalog.channels["digits"].channels["stable"].rollout.state == "halted")
    assert (await edge.check(id="a") or {})["version"] == 1
    assert folder.channel("digits").rollout.state == "running"
    full.clear()
    await until(lambda: folder.channel("digits").rollout.state == "halted")
    assert (await edge.check(id="a") or {})["version"] == 1


async def test_a_locked_store_stops_neither_deliveries_nor_halts(serve: Serve, folder: Folder, tmp_path: Path) -> None:
    edge = await _edge(serve, folder, percent=100)
    await edge.report(report("first"))
    await until(lambda: edge.state.tally.stored.counts)
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    await edge.report(*(report(f"{number}", passed=False) for number in range(5)))
    await until(lambda: folder.channel("digits").rollout.state == "halted")
    assert (await edge.check(id="a") or {})["version"] == 1
    await until(lambda: edge.state.saving.problem)
    assert "locked" in (await edge.status())["reports"]["store"]
    other.execute("ROLLBACK")
    other.close()
    await until(lambda: not edge.state.tally.waiting)
    assert (await evidence(edge))["self_check_failed"] == 5


async def test_what_comes_while_the_store_takes_nothing_is_bounded_and_told(
    serve: Serve, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = await _edge(serve, folder)
    monkeypatch.setattr(edge.state.tally, "_most_waiting", 4)
    found = await edge.report(*(report(f"{number}") for number in range(4)))
    assert (found["accepted"], len(found["refused"])) == (2, 2)  # a report and its device, each
    assert (await edge.status())["reports"]["dropped"] == 2


async def test_the_status_is_for_this_machine_or_for_the_token(serve: Serve, folder: Folder) -> None:
    edge = await _edge(serve, folder)
    for headers in ({"X-Forwarded-For": "1.2.3.4"}, {"Host": "evil.example"}):
        async with edge.get("status", headers=headers) as answer:
            assert answer.status == 403
    closed = await serve(token="0123456789abcdef")
    for headers, status in (({}, 403), ({"Authorization": "Bearer x"}, 403)):
        async with closed.get("status", headers=headers) as answer:
            assert answer.status == status
    async with closed.get("status", headers={"Authorization": "Bearer 0123456789abcdef"}) as answer:
        assert answer.status == 200
