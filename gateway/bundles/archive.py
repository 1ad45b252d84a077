"""Writes archives whose bytes depend on nothing but names and contents: stored, sorted, without times."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final, TypeAlias

from adapters.errors import InvalidInput
from gateway.bundles.manifest import FileEntry
from gateway.replacing import sync_folder

Content: TypeAlias = bytes | Path
"""A file's bytes, or where they are."""

MOST_BYTES: Final = (1 << 32) - (1 << 20)
"""The most that an archive may hold: beyond it, zip needs a form that simple readers do not know."""

_NO_TIME = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_PUBLIC = 0o644
_CHUNK_BYTES = 1 << 20


def entry_of(content: Content) -> FileEntry:
    """A file's digest and size. Blocking: disk; raises OSError."""
    if isinstance(content, bytes):
        return FileEntry(hashlib.sha256(content).hexdigest(), len(content))
    with content.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return FileEntry(digest, stream.tell())


def write_archive(file: Path, contents: Mapping[str, Content]) -> None:
    """Write an archive as a whole, durably. Blocking: disk.

    Raises:
        InvalidInput: it would be too large.
        OSError: it cannot be written; nothing is left behind then.
    """
    size = sum(len(each) if isinstance(each, bytes) else each.stat().st_size for each in contents.values())
    if size > MOST_BYTES:
        raise InvalidInput(f"{file.name}: expected at most {MOST_BYTES} bytes together, got {size}")
    descriptor, staged = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
                for name in sorted(contents):
                    _add(archive, name, contents[name])
            stream.flush()
            os.fchmod(stream.fileno(), _PUBLIC)
            os.fsync(stream.fileno())
        Path(staged).replace(file)
    except BaseException:
        Path(staged).unlink(missing_ok=True)
        raise
    sync_folder(file.parent)


def _add(archive: zipfile.ZipFile, name: str, content: Content) -> None:
    info = zipfile.ZipInfo(name, _NO_TIME)
    info.create_system = _UNIX
    info.external_attr = (stat.S_IFREG | _PUBLIC) << 16
    if isinstance(content, bytes):
        archive.writestr(info, content)
        return
    info.file_size = content.stat().st_size
    with content.open("rb") as source, archive.open(info, "w") as target:
        _copy(source, target)


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    while chunk := source.read(_CHUNK_BYTES):
        target.write(chunk)
