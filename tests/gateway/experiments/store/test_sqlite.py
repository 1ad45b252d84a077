"""What can become of a file."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from gateway.experiments.store.errors import StoreUnavailable
from gateway.experiments.store.store import Store
from tests.gateway.experiments.store.evidence import RUN, exposure

Open = Callable[..., Store]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "store.db"


@pytest.fixture
def file(path: Path, open_store: Open) -> Store:
    return open_store(f"sqlite:///{path}")


def save(store: Store, number: int, units: int = 0) -> None:
    with store.transaction() as saving:
        saving.save_counters(RUN, {"n": number})
        saving.save_exposures(RUN, [exposure(unit) for unit in range(units)])


def kept(store: Store) -> int | None:
    found = store.load(RUN)
    return found and found.own.counters["n"]


def test_the_file_and_its_folder_are_for_their_owner_alone(file: Store, path: Path) -> None:
    save(file, 1)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}
    assert modes == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}


def test_every_commit_is_on_the_disk_before_it_is_said_to_be(file: Store) -> None:
    with file.transaction() as saving:
        asked = {
            name: saving._connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous")
        }
    assert asked == {"journal_mode": "wal", "synchronous": 2}


def test_a_file_that_is_no_database_is_left_as_it_is(file: Store, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is somebody's diary\n" * 100)
    with pytest.raises(StoreUnavailable, match=f"{path}: the file is no SQLite database; name another, or move it"):
        save(file, 1)
    assert path.read_bytes() == b"this is somebody's diary\n" * 100
    path.unlink()
    save(file, 2)
    assert kept(file) == 2


def test_a_damaged_file_is_reported(file: Store, path: Path) -> None:
    save(file, 1, units=5000)
    file.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(StoreUnavailable, match="the file is damaged; put a copy back"):
        save(file, 2)
    path.write_bytes(whole)
    save(file, 3)
    assert kept(file) == 3


def test_a_folder_in_the_files_place_is_reported(file: Store, path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StoreUnavailable, match=f"{path} cannot be opened: Is a directory"):
        file.open()
    path.rmdir()
    file.open()


def test_a_locked_file_is_reported_and_works_again_once_let_go(file: Store, path: Path) -> None:
    save(file, 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreUnavailable, match="another process has had it locked for 2 s"):
            save(file, 2)
    save(file, 3)
    assert kept(file) == 3


def test_one_who_reads_for_long_does_not_hold_up_the_store(file: Store, path: Path) -> None:
    save(file, 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM torii_counters").fetchone()
        save(file, 2)
    assert kept(file) == 2


def test_a_deleted_file_is_told_of_once_and_then_made_anew(file: Store, path: Path) -> None:
    save(file, 1)
    path.unlink()
    with pytest.raises(StoreUnavailable, match="was deleted or replaced while in use"):
        save(file, 2)
    assert kept(file) is None
    save(file, 3)
    assert kept(file) == 3


def test_a_replaced_file_is_used_after_it_was_told(file: Store, path: Path, tmp_path: Path, open_store: Open) -> None:
    other = open_store(f"sqlite:///{tmp_path}/other.db")
    save(other, 10, units=3000)
    other.close()
    save(file, 1)
    (tmp_path / "other.db").replace(path)
    with pytest.raises(StoreUnavailable, match="was deleted or replaced"):
        kept(file)
    assert kept(file) == 10
    with closing(sqlite3.connect(path)) as checking:
        assert checking.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_file_that_was_moved_away_has_everything(file: Store, path: Path, tmp_path: Path, open_store: Open) -> None:
    save(file, 7)
    path.rename(tmp_path / "moved.db")
    with pytest.raises(StoreUnavailable, match="was deleted or replaced"):
        kept(file)
    assert kept(open_store(f"sqlite:///{tmp_path}/moved.db")) == 7


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_limit_on_files_sizes_is_reported_and_works_again_once_lifted(file: Store, path: Path) -> None:
    save(file, 1)
    with largest_file(path.stat().st_size + 100_000):  # Python ignores SIGXFSZ
        with pytest.raises(StoreUnavailable, match="the disk"):
            save(file, 2, units=10_000)
        assert kept(file) == 1
    save(file, 3, units=10_000)
    assert kept(file) == 3


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_reported_and_works_again_once_there_is_room(small_disk: Path, open_store: Open) -> None:
    store = open_store(f"sqlite:///{small_disk}/store.db")
    save(store, 1)
    filler = small_disk / "filler"
    with filler.open("wb") as writing:
        os.posix_fallocate(writing.fileno(), 0, shutil.disk_usage(small_disk).free)
    with pytest.raises(StoreUnavailable, match="the disk is full; make room"):
        save(store, 2, units=5000)
    filler.unlink()
    save(store, 3, units=5000)
    assert kept(store) == 3
    store.close()


def test_a_read_only_disk_is_reported_and_works_again_once_it_is_not(small_disk: Path, open_store: Open) -> None:
    store = open_store(f"sqlite:///{small_disk}/store.db")
    save(store, 1)
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(StoreUnavailable, match=r"cannot be opened: Read-only file system; .* writable"):
        save(store, 2)
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    save(store, 3)
    assert kept(store) == 3
    store.close()


def test_a_file_that_may_not_be_written_is_reported(file: Store, path: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("root may write everything")
    save(file, 1)
    file.close()
    path.chmod(0o400)
    with pytest.raises(StoreUnavailable, match=r"cannot be opened: Permission denied; .* writable"):
        save(file, 2)
    path.chmod(0o600)
    save(file, 3)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_store_in_memory_is_refused(url: str) -> None:
    with pytest.raises(StoreUnavailable, match="names no file: expected sqlite:///PATH"):
        Store(url)
