"""A device fetches, checks and swaps models, over a real server."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bsdiff4
import numpy as np
import pytest

from tests.edge_client.conftest import Numbers, factor, make_model
from tests.edge_client.repository import EdgeServer, answer, golden_data, make_bundle
from torii_edge import Busy, EdgeModel, InstalledModel, NotInstalled, Outcome
from torii_edge.durable import sole
from torii_edge.reports import Outbox
from torii_edge.store import Store


def test_a_device_gets_the_version_that_is_offered_and_then_the_next(model: EdgeModel, server: EdgeServer) -> None:
    assert factor(model) == 1.5
    server.offered = server.repository.offer(2, poll_s=77)
    update = model.update()
    assert (update.outcome, update.version, update.poll_s) == (Outcome.INSTALLED, 2, 77)
    assert factor(model) == 2.5
    assert model.update().outcome is Outcome.UP_TO_DATE


def test_the_server_is_told_facts_and_the_same_anonymous_id_each_time(
    model: EdgeModel, server: EdgeServer, device: Callable[..., EdgeModel]
) -> None:
    device().update()
    first, second = server.queries
    assert first.pop("id") == second.pop("id") != ""
    assert second.pop("have") == server.repository.offer(1)["sha256"]
    expected = {
        "channel": "stable",
        "os": "linux",
        "arch": "arm64",
        "ram_mb": "512",
        "app": "2.1",
        "runtime": "numbers",
    }
    assert first == second == expected


def test_what_is_installed_is_there_after_a_restart_without_a_server(
    model: EdgeModel, server: EdgeServer, device: Callable[..., EdgeModel]
) -> None:
    server.stop()
    again = device()
    assert again.version == 1
    assert again.update().outcome is Outcome.OFFLINE
    assert factor(again) == 1.5


def test_reports_wait_while_the_server_cannot_take_them(model: EdgeModel, server: EdgeServer) -> None:
    assert sorted(each["kind"] for each in server.reports) == ["installed", "latency", "self_check"]
    server.acts["reports"] = lambda to: answer(to, 503, b"not now")
    server.offered = server.repository.offer(2)
    model.update()
    assert model.status()["reports_waiting"] == 3
    del server.acts["reports"]
    model.update()
    assert model.status()["reports_waiting"] == 0
    told = {(each["kind"], each["version"], each["target"]) for each in server.reports if each["version"] == 2}
    assert told == {(kind, 2, "digits/2/digits-2-linux.zip") for kind in ("installed", "latency", "self_check")}
    assert len({each["id"] for each in server.reports}) == 1


def test_reports_that_the_server_will_never_take_do_not_wait_for_ever(model: EdgeModel, server: EdgeServer) -> None:
    server.acts["reports"] = lambda to: answer(to, 400, b"rubbish")
    server.offered = server.repository.offer(2)
    model.update()
    assert model.status()["reports_waiting"] == 0


def test_a_device_for_which_there_is_nothing_keeps_what_it_has(model: EdgeModel, server: EdgeServer) -> None:
    server.offered = None
    update = model.update()
    assert update.outcome is Outcome.NOTHING
    assert update.detail == "digits, channel stable, for linux-arm64 with numbers", "what a bundle has to be of"
    assert factor(model) == 1.5


def test_a_lower_version_of_the_server_is_a_rollback_and_needs_no_download(
    model: EdgeModel, server: EdgeServer
) -> None:
    server.offered = server.repository.offer(2)
    model.update()
    server.offered = server.repository.offer(1)
    server.asked.clear()
    update = model.update()
    assert (update.outcome, update.version, factor(model)) == (Outcome.ROLLED_BACK, 1, 1.5)
    assert not [each for each in server.paths() if each.startswith("targets/")]
    assert model.status()["previous"] is None, "what was taken back is nothing to fall back to"


def test_a_version_that_is_no_longer_signed_is_not_fallen_back_to(model: EdgeModel, server: EdgeServer) -> None:
    server.offered = server.repository.offer(2)
    model.update()
    assert model.status()["previous"] == 1
    server.repository.revoke(1)
    model.update()
    assert model.status()["previous"] is None
    server.repository.revoke(2)
    server.offered = None
    model.update()
    assert model.status()["still_signed"] is False
    assert factor(model) == 2.5


def test_a_rollback_by_hand_stays_until_the_server_offers_another_version(
    model: EdgeModel, server: EdgeServer, device: Callable[..., EdgeModel]
) -> None:
    server.offered = server.repository.offer(2)
    model.update()
    assert model.rollback() == 1
    assert factor(model) == 1.5
    again = device()
    update = again.update()
    assert (update.outcome, update.version) == (Outcome.UNFIT, 1)
    assert "by hand" in update.detail
    server.repository.publish(3, make_bundle(3, b"3.5"))
    server.offered = server.repository.offer(3)
    assert again.update().outcome is Outcome.INSTALLED
    assert factor(again) == 3.5
    again.rollback()
    with pytest.raises(NotInstalled, match="no former model"):
        again.rollback()


def test_a_model_that_answers_otherwise_than_its_golden_data_is_not_installed(
    model: EdgeModel, server: EdgeServer
) -> None:
    golden = golden_data({"x": np.ones((2, 3), "f4")}, {"y": np.full((2, 3), 9.5, "f4")})
    server.repository.publish(3, make_bundle(3, b"3.5", golden=golden))
    server.offered = server.repository.offer(3)
    update = model.update()
    assert (update.outcome, update.version) == (Outcome.UNFIT, 1)
    assert "differs by 6" in update.detail
    assert factor(model) == 1.5
    assert [each for each in server.reports if each["kind"] == "self_check" and not each["passed"]]
    server.asked.clear()
    assert "not tried again" in model.update().detail
    assert not [each for each in server.paths() if each.startswith("targets/")]


def test_the_device_is_asked_again_where_nothing_is_there_for_its_first_runtime(
    server: EdgeServer, device: Callable[..., EdgeModel]
) -> None:
    server.offered = None
    device(runtimes={"first": Numbers, "numbers": Numbers}).update()
    assert [each["runtime"] for each in server.queries] == ["first", "numbers"]


def test_metadata_that_come_packed_are_unpacked(server: EdgeServer, device: Callable[..., EdgeModel]) -> None:
    def packed(to: object) -> None:
        data = gzip.compress(server.found(to.path.removeprefix("/edge/v1/")))  # type: ignore[attr-defined]
        answer(to, 200, data, {"Content-Encoding": "gzip"})  # type: ignore[arg-type]

    server.acts["targets.json"] = packed
    assert device().update().outcome is Outcome.INSTALLED


def test_a_download_goes_on_where_it_broke_off(model: EdgeModel, server: EdgeServer) -> None:
    repository = server.repository
    repository.publish(3, make_bundle(3, b"3.5", padding=b"p" * 300_000))
    server.offered = repository.offer(3)
    data = repository.bundles[3][1]

    def breaks_off(to: object) -> None:
        answer(to, 200, data[:200_000], {"Content-Length": str(len(data))})  # type: ignore[arg-type]
        to.close_connection = True  # type: ignore[attr-defined]

    server.acts["targets/"] = breaks_off
    assert model.update().outcome is Outcome.OFFLINE
    del server.acts["targets/"]
    server.asked.clear()
    assert model.update().outcome is Outcome.INSTALLED
    ranges = [headers.get("range") for path, headers in server.asked if path.startswith("targets/")]
    assert ranges == ["bytes=200000-"]
    assert factor(model) == 3.5


@pytest.mark.parametrize("status", [200, 416])
def test_a_server_that_cannot_go_on_begins_anew(
    model: EdgeModel, server: EdgeServer, tmp_path: Path, status: int
) -> None:
    server.offered = server.repository.offer(2)
    data = server.repository.bundles[2][1]
    partial = tmp_path / "device/incoming" / f"{server.offered['sha256']}.part"
    partial.write_bytes(data[:100])
    server.acts["targets/"] = lambda to: answer(to, status, data if status == 200 else b"")
    outcome = model.update().outcome
    if status == 416:
        assert outcome is Outcome.OFFLINE
        del server.acts["targets/"]
        outcome = model.update().outcome
    assert outcome is Outcome.INSTALLED


def test_a_spoiled_part_of_a_download_is_fetched_anew(model: EdgeModel, server: EdgeServer, tmp_path: Path) -> None:
    server.offered = server.repository.offer(2)
    partial = tmp_path / "device/incoming" / f"{server.offered['sha256']}.part"
    partial.write_bytes(b"\0" * 100)
    assert model.update().outcome is Outcome.INSTALLED


def _with_delta(server: EdgeServer, patch: bytes, **custom: str) -> None:
    repository = server.repository
    path = "digits/2/digits-2-linux.from-0123456789abcdef.bsdiff"
    facts = {"from_sha256": repository.offer(1)["sha256"], "to": repository.bundles[2][0], **custom}
    repository.add_target(path, patch, facts)
    delta = {"target": path, "sha256": "", "length": len(patch)}
    server.offered = repository.offer(2, delta=delta)


def test_a_delta_is_fetched_instead_of_the_whole(model: EdgeModel, server: EdgeServer) -> None:
    bundles = server.repository.bundles
    _with_delta(server, bsdiff4.diff(bundles[1][1], bundles[2][1]))
    server.asked.clear()
    assert model.update().outcome is Outcome.INSTALLED
    assert [each for each in server.paths() if each.startswith("targets/") and not each.endswith(".bsdiff")] == []
    assert factor(model) == 2.5


@pytest.mark.parametrize(
    "trouble",
    ["rubbish", "another result", "of another bundle", "not there", "unsigned", "bomb", "base is gone", "too long"],
)
def test_whatever_is_wrong_with_a_delta_the_whole_is_fetched(
    model: EdgeModel, server: EdgeServer, tmp_path: Path, trouble: str
) -> None:
    old, new = (server.repository.bundles[version][1] for version in (1, 2))
    makes: dict[str, Callable[[], bytes]] = {
        "rubbish": lambda: b"BSDIFF40" + b"\1" * 60,
        "another result": lambda: bsdiff4.diff(old, new[:-1] + b"?"),
        "bomb": lambda: bsdiff4.diff(old, b"0" * 2_000_000),
        "too long": lambda: b"0" * len(new),
    }
    patch = makes.get(trouble, lambda: bsdiff4.diff(old, new))()
    _with_delta(server, patch, **({"from_sha256": "0" * 64} if trouble == "of another bundle" else {}))
    if trouble == "not there":
        server.acts[".bsdiff"] = lambda to: answer(to, 404, b"")
    if trouble == "unsigned":
        del server.repository.signed["targets"].targets[server.offered["delta"]["target"]]  # type: ignore
        server.repository.write_all(bump=True)
    if trouble == "base is gone":
        for each in (tmp_path / "device/releases").glob("*/bundle.zip"):
            each.unlink()
    update = model.update()
    assert (update.outcome, update.detail, factor(model)) == (Outcome.INSTALLED, "", 2.5)


@pytest.mark.parametrize(
    ("custom", "reason"),
    [
        ({"runtime": "abacus"}, "it needs 'abacus', and there is numbers"),
        ({"min_app": "2.10"}, "it needs version 2.10 of the app, and this is 2.1"),
        ({"min_ram_mb": 513}, "it needs 513 MiB of memory, and there are 512"),
        ({"runtime": "numbers", "min_app": "2.1.0", "min_ram_mb": 512}, ""),
    ],
)
def test_what_was_signed_for_other_devices_is_not_taken_whatever_the_server_offers(
    model: EdgeModel, server: EdgeServer, custom: dict[str, Any], reason: str
) -> None:
    server.repository.publish(2, make_bundle(2, b"2.5"), **custom)
    server.offered = server.repository.offer(2)
    update = model.update()
    assert update.outcome is (Outcome.REFUSED if reason else Outcome.INSTALLED)
    assert reason in update.detail


def test_only_one_process_updates_a_folder(model: EdgeModel, tmp_path: Path) -> None:
    with sole(tmp_path / "device/lock"):
        assert model.update().outcome is Outcome.BUSY
        with pytest.raises(Busy):
            model.rollback()
        assert factor(model) == 1.5


def test_a_model_whose_files_were_spoiled_gives_way_to_the_last_good_one(
    model: EdgeModel, server: EdgeServer, device: Callable[..., EdgeModel], tmp_path: Path
) -> None:
    server.offered = server.repository.offer(2)
    model.update()
    weights = tmp_path / "device/releases" / server.offered["sha256"] / "model.txt"
    weights.write_bytes(b"2.6")
    again = device()
    assert factor(again) == 1.5
    assert again.update().outcome is Outcome.INSTALLED
    assert factor(again) == 2.5
    assert [each["detail"] for each in server.reports if each["kind"] == "failed"] == [
        "the files of version 2 are spoiled"
    ]


def test_the_only_model_when_spoiled_is_fetched_anew(
    model: EdgeModel, server: EdgeServer, device: Callable[..., EdgeModel], tmp_path: Path
) -> None:
    weights = tmp_path / "device/releases" / server.offered["sha256"] / "model.txt"  # type: ignore[index]
    weights.write_bytes(b"2.6")
    again = device()
    again.update()
    assert again.update().outcome is Outcome.INSTALLED
    assert factor(again) == 1.5


def test_a_folder_is_of_one_model(model: EdgeModel, server: EdgeServer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds 'digits'"):
        EdgeModel(server.url, "others", tmp_path / "device", trusted_root=tmp_path / "trusted-root.json")
    with pytest.raises(ValueError, match="channel: expected"):
        make_model(server, tmp_path / "device", channel="../x")


def test_no_model_yet_is_said(device: Callable[..., EdgeModel]) -> None:
    fresh = device()
    assert fresh.version is None
    with pytest.raises(NotInstalled):
        factor(fresh)


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b"<html>a hotel's login page</html>", Outcome.OFFLINE),
        (200, b"[" * 100_000, Outcome.OFFLINE),
        (200, b'{"version": "2"}', Outcome.OFFLINE),
        (200, b'{"version": 2, "target": "../../x", "sha256": "a"}', Outcome.OFFLINE),
        (200, b"0" * 400_000, Outcome.OFFLINE),
        (302, b"", Outcome.OFFLINE),
        (500, b"", Outcome.OFFLINE),
        (400, b"rubbish", Outcome.REFUSED),
    ],
)
def test_a_check_that_is_answered_with_rubbish_changes_nothing(
    model: EdgeModel, server: EdgeServer, status: int, body: bytes, outcome: Outcome
) -> None:
    server.acts["/check"] = lambda to: answer(to, status, body)
    update = model.update()
    assert (update.outcome, update.version, factor(model)) == (outcome, 1, 1.5)


def test_nothing_is_left_over_after_an_update(model: EdgeModel, server: EdgeServer, tmp_path: Path) -> None:
    server.offered = server.repository.offer(2)
    model.update()
    folder = tmp_path / "device"
    assert not list((folder / "incoming").iterdir())
    assert {each.name for each in (folder / "releases").iterdir()} == {
        server.repository.offer(version)["sha256"] for version in (1, 2)
    }
    assert not [each for each in folder.rglob("*") if each.name.startswith((".", "tmp"))]


def test_a_bundle_during_whose_self_check_the_device_stopped_again_and_again_is_given_up(
    model: EdgeModel, server: EdgeServer, tmp_path: Path
) -> None:
    server.offered = server.repository.offer(2)
    store = Store(tmp_path / "device")
    notes = store.notes()
    notes.attempts[server.offered["sha256"]] = 3
    store.note(notes)
    update = model.update()
    assert (update.outcome, factor(model)) == (Outcome.UNFIT, 1.5)
    assert "began 3 times" in update.detail


@pytest.mark.parametrize("spoiled", ["", "{}", "[]", '{"declined": [1]}', '{"declined": {}, "more": 1}', "[" * 9999])
def test_notes_that_cannot_be_read_are_as_good_as_none(tmp_path: Path, spoiled: str) -> None:
    for name in ("notes.json", "current.json", "reports.json"):
        (tmp_path / name).write_text(spoiled)
    store = Store(tmp_path)
    assert (store.notes().declined, store.notes().signed, store.current()) == ({}, True, None)
    assert Outbox(tmp_path / "reports.json", "").waiting == 0


def test_a_root_that_is_none_is_named(device: Callable[..., EdgeModel], tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"image": []}')
    update = device(trusted_root=wrong).update()
    assert (update.outcome, update.version) == (Outcome.REFUSED, None)
    assert "the trusted root that came with the app is no root metadata" in update.detail


def test_running_what_was_never_fetched_makes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(NotInstalled, match="no model in use; an update fetches one"):
        InstalledModel(tmp_path / "nothing").run({})
    assert not (tmp_path / "nothing").exists()
