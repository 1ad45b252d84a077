"""A file's text is replaced as a whole: whoever reads it finds the earlier content or the new one."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

_PUBLIC = 0o644


class Overtaken(OSError):
    """Somebody else changed the file, or took it away, since it was read."""


def replace_text(file: Path, before: str | None, text: str) -> None:
    """Write a file's text, durably; its mode stays, and its folder must be there. Blocking.

    `before` is the text as it was read, None where there was no such file. People edit these files, too, and know
    nothing of locks: what they wrote or took away since then is left as it is (up to the time of one rename).

    Raises:
        Overtaken: the file is not as it was read.
        OSError: it cannot be written.
    """
    mode = _PUBLIC if before is None else stat.S_IMODE(file.stat().st_mode)
    descriptor, staged = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        if not _is_still(file, before):
            raise Overtaken(f"{file.name} was changed by somebody else meanwhile; try again")
        Path(staged).replace(file)
    except BaseException:
        Path(staged).unlink(missing_ok=True)
        raise
    sync_folder(file.parent)


def _is_still(file: Path, before: str | None) -> bool:
    if before is None:
        return not os.path.lexists(file)
    return file.is_file() and file.read_bytes() == before.encode()


def sync_folder(folder: Path) -> None:
    """Have what was done to a folder's entries outlast a loss of power. Blocking; raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
