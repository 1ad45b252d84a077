"""A publisher dies at any write, or its disk is full: clients can verify what is there, and the next command mends."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.edge.disk import STAGED, Disk
from gateway.edge.making import make
from gateway.edge.refreshing import refresh
from gateway.edge.roles import DEFAULTS, RoleName
from gateway.edge.rotation import rotate, unfinished
from gateway.errors import ModelNotFound
from tests.gateway.edge.workshop import DyingDisk, FullDisk, Killed, Workshop, passphrase

OLD, NEW = "digits/1/digits-1-android.zip", "digits/2/digits-2-android.zip"
Command = Callable[[Workshop], object]


def publish(shop: Workshop) -> None:
    shop.publish(2)


def revoke(shop: Workshop) -> None:
    with suppress(ModelNotFound):
        shop.publisher.revoke("digits", 1, "bad")


def renewed(shop: Workshop) -> None:
    refresh(shop.edge, shop.keys, force=True, disk=shop.folder.disk)


def rotated(role: RoleName) -> Command:
    return lambda shop: rotate(shop.folder, shop.keys, role)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one bundle, and a client that has seen it."""
    shop = Workshop(tmp_path_factory.mktemp("made"))
    shop.make()
    shop.publish(1)
    assert shop.client().get(OLD)
    return shop.place


def copies(made: Path, tmp_path: Path) -> Iterator[tuple[int, Path]]:
    for step in range(200):
        place = tmp_path / str(step)
        shutil.copytree(made, place)
        yield step, place
    raise AssertionError("it never ends")


def survives(made: Path, tmp_path: Path, command: Command, ends: Callable[[Workshop], bool]) -> None:
    """Kill the command at every step, and look what clients see then, and after it was repeated."""
    for step, place in copies(made, tmp_path):
        disk = DyingDisk(step)
        try:
            command(Workshop(place, disk))
        except Killed:
            pass
        else:
            assert step > 2
            assert ends(Workshop(place))
            return
        after = Workshop(place)
        for client in (after.client(), after.client("fresh")):
            updater = client.update()
            for path in (OLD, NEW):
                if found := updater.get_targetinfo(path):
                    assert updater.download_target(found)
        command(after)
        assert ends(after), f"killed at step {step}"
        assert after.client("fresh").update()
        assert not [each for each in after.edge.rglob("*") if each.name.startswith(STAGED)]


def test_one_who_is_killed_while_publishing(made: Path, tmp_path: Path) -> None:
    survives(made, tmp_path, publish, lambda shop: shop.client().get(NEW) is not None)


def test_one_who_is_killed_while_revoking(made: Path, tmp_path: Path) -> None:
    def gone(shop: Workshop) -> bool:
        return shop.client().get(OLD) is None and not list(shop.folder.targets.rglob("*.zip"))

    survives(made, tmp_path, revoke, gone)


def test_one_who_is_killed_while_refreshing(made: Path, tmp_path: Path) -> None:
    version = Workshop(made).folder.read().timestamp.version
    survives(made, tmp_path, renewed, lambda shop: shop.folder.read().timestamp.version > version)


@pytest.mark.parametrize("role", ["root", "targets", "snapshot", "timestamp"])
def test_one_who_is_killed_while_rotating(made: Path, tmp_path: Path, role: RoleName) -> None:
    before = Workshop(made).folder.read().root.roles[role].keyids

    def other_keys(shop: Workshop) -> bool:
        state = shop.folder.read()
        found = state.root.roles[role].keyids
        return not unfinished(state) and len(found) == 1 and found != before and shop.client().get(OLD) is not None

    survives(made, tmp_path, rotated(role), other_keys)


def test_one_who_is_killed_while_making_the_repository(tmp_path: Path) -> None:
    for step in range(200):
        place = tmp_path / str(step)
        shop = Workshop(place, DyingDisk(step))
        try:
            make(shop.folder, shop.keys, DEFAULTS)
        except Killed:
            again = Workshop(place)
            if not (again.folder.metadata / "timestamp.json").exists():
                again.make()
            assert again.client().update()
        else:
            assert step > 10
            return


@pytest.mark.parametrize("pieces", range(5))
def test_a_full_disk_changes_nothing(made: Path, tmp_path: Path, pieces: int) -> None:
    place = tmp_path / "copy"
    shutil.copytree(made, place)
    before = Workshop(place).files()
    shop = Workshop(place, FullDisk(pieces))
    with pytest.raises(OSError, match="No space left"):
        shop.publish(2)
    assert shop.files() == before
    assert shop.client().get(OLD)
    publish(Workshop(place))
    assert shop.client().get(NEW)


def test_what_was_signed_and_not_shown_is_shown_by_a_refresh(made: Path, tmp_path: Path) -> None:
    place = tmp_path / "copy"
    shutil.copytree(made, place)
    shutil.move(place / "keys" / "online", tmp_path / "online")
    shop = Workshop(place)
    done = shop.publish(2)
    assert (done.new, done.live) == (True, False)
    assert shop.client().get(NEW) is None
    assert not shop.publish(2).live
    shutil.move(place / "keys" / "offline", tmp_path / "offline")
    shutil.move(tmp_path / "online", place / "keys" / "online")
    refresh(shop.edge, Workshop(place).keys)
    assert shop.client().get(NEW)


def test_dying_disks_die_and_sound_ones_do_not(tmp_path: Path) -> None:
    Disk().write(tmp_path / "file", b"sound")
    with pytest.raises(Killed):
        DyingDisk(1).write(tmp_path / "file", b"something else")
    assert (tmp_path / "file").read_bytes() == b"sound"
    assert (tmp_path / f"{STAGED}file").read_bytes() == b"somethi"
    assert passphrase("online", tmp_path)
