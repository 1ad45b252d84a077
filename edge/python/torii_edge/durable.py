"""Files that are there whole or not at all, whenever the process or the machine stops."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torii_edge.errors import Busy

try:
    import fcntl
except ImportError:  # Windows: that one process at a time changes a folder is for the app to see to
    fcntl = None  # type: ignore[assignment]

_NEW = (
    os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
)


@contextmanager
def written(path: Path, *, append: bool = False) -> Iterator[int]:
    """A descriptor to write a new file by, or to go on with one; what was written is on the disk at the end."""
    descriptor = os.open(path, _NEW | (os.O_APPEND if append else os.O_EXCL), 0o644)
    try:
        yield descriptor
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(descriptor: int, data: bytes) -> None:
    """Write all of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def replace_file(path: Path, data: bytes) -> None:
    """Give a file new content at once: whoever reads it sees all of the old or all of the new."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    try:
        with written(new) as descriptor:
            write(descriptor, data)
        os.replace(new, path)  # noqa: PTH105  # as every other write here: by a function of os
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def move_folder(source: Path, target: Path) -> None:
    """Rename a folder, for good; a folder that stands there already is removed."""
    if target.exists():
        remove_folder(target)
    sync_folder(source)
    os.rename(source, target)  # noqa: PTH104
    sync_folder(target.parent)


def remove_folder(folder: Path) -> None:
    """Remove a folder: first its name, then its files, so that half of it never stands under that name."""
    going = folder.with_name(f".old-{folder.name}")
    shutil.rmtree(going, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        os.rename(folder, going)  # noqa: PTH104
    shutil.rmtree(going, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Put a folder's entries on the disk; where folders cannot be opened (Windows) the system sees to it."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def sole(path: Path) -> Iterator[None]:
    """The time in which no other process changes what a lock file stands for; raises Busy."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
    try:
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy(f"{path.parent} is being updated by another process") from None
        yield
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Put a file that somebody else wrote on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
