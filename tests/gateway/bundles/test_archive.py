"""Archives: the same content gives the same bytes, and nothing half-written is left behind."""

from __future__ import annotations

import errno
import os
import zipfile
from pathlib import Path

import pytest

from adapters.errors import InvalidInput
from gateway.bundles import archive
from gateway.bundles.archive import write_archive


def test_the_same_content_gives_the_same_bytes_whatever_its_order_and_times(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(b"w" * 3_000_000)
    write_archive(tmp_path / "one.zip", {"b": b"2", "a/w": weights, "a": b"1"})
    os.utime(weights, (1, 1))
    weights.chmod(0o600)
    write_archive(tmp_path / "two.zip", {"a": b"1", "a/w": weights, "b": b"2"})
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as read:
        assert read.namelist() == ["a", "a/w", "b"]
        plain = {(each.compress_type, each.date_time, each.external_attr) for each in read.infolist()}
        assert plain == {(zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0), 0o100644 << 16)}
        assert read.read("a/w") == weights.read_bytes()


def test_where_the_disk_is_full_what_was_there_stays_and_nothing_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "m.zip"
    write_archive(file, {"a": b"1"})
    before = file.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("gateway.bundles.archive.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_archive(file, {"a": b"2"})
    assert (file.read_bytes(), list(tmp_path.iterdir())) == (before, [file])


def test_what_simple_readers_could_not_read_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_BYTES", 3)
    with pytest.raises(InvalidInput, match=r"m.zip: expected at most 3 bytes together, got 4"):
        write_archive(tmp_path / "m.zip", {"a": b"12", "b": b"34"})
    assert not list(tmp_path.iterdir())
