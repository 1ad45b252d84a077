"""A file's text is replaced as a whole, and people's own hands at it count."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.replacing import Overtaken, replace_text


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that says `before`."""
    file = tmp_path / "x.toml"
    file.write_text("before\n")
    return file


def test_a_file_is_replaced_and_keeps_its_mode(file: Path) -> None:
    file.chmod(0o600)
    replace_text(file, "before\n", "after\r\n")
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"after\r\n", 0o600)
    assert list(file.parent.iterdir()) == [file]


def test_a_new_file_is_written(tmp_path: Path) -> None:
    replace_text(tmp_path / "new.toml", None, "first")
    assert (tmp_path / "new.toml").read_text() == "first"


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Have somebody do something while the new text is on its way to the disk."""
    sync = os.fsync

    def slow(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        act()
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)


def test_what_somebody_wrote_meanwhile_stays(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meanwhile(monkeypatch, lambda: file.write_text("by hand\n"))
    with pytest.raises(Overtaken, match=r"x\.toml was changed by somebody else"):
        replace_text(file, "before\n", "after\n")
    assert file.read_text() == "by hand\n"
    assert list(file.parent.iterdir()) == [file]


def test_what_somebody_took_away_meanwhile_does_not_come_back(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meanwhile(monkeypatch, file.unlink)
    with pytest.raises(Overtaken):
        replace_text(file, "before\n", "after\n")
    assert not list(file.parent.iterdir())


def test_a_new_file_does_not_replace_another_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.toml"
    meanwhile(monkeypatch, lambda: file.write_text("by hand\n"))
    with pytest.raises(Overtaken):
        replace_text(file, None, "first\n")
    assert file.read_text() == "by hand\n"
