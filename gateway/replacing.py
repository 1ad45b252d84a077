"""A file's text is replaced as a whole: whoever reads it finds the earlier content or the new one."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

_PUBLIC = 0o644


def replace_text(file: Path, text: str) -> None:
    """Write a file's text, durably; its mode stays, and its folder must be there. Blocking; raises OSError."""
    mode = stat.S_IMODE(file.stat().st_mode) if file.exists() else _PUBLIC
    descriptor, staged = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        Path(staged).replace(file)
    except BaseException:
        Path(staged).unlink(missing_ok=True)
        raise
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Have what was done to a folder's entries outlast a loss of power. Blocking; raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
