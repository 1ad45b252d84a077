"""What is written to a disk such that a reader finds the earlier file or the new one, whenever the writer dies."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import IO, BinaryIO, Final

from adapters.errors import InvalidInput
from gateway.replacing import sync_folder

STAGED: Final = ".staged."
"""How names of files begin that are not whole yet: what a dead writer left of them may be deleted."""

_PIECE: Final = 1 << 20
_PUBLIC: Final = 0o644


class Disk:
    """Blocking; all of it raises OSError. Each step on the way is a method, so that a test can die there."""

    def write(self, file: Path, data: bytes, mode: int = _PUBLIC) -> None:
        """Make a file, or replace it as a whole, durably."""
        staged = file.with_name(STAGED + file.name)
        try:
            with self._create(staged, mode) as stream:
                self._put(stream, data)
                self._flush(stream)
            self.rename(staged, file)
        except OSError:
            staged.unlink(missing_ok=True)
            raise

    def copy(self, source: IO[bytes], staged: Path, most_bytes: int) -> str:
        """Copy a stream into a new file, durably; gives its SHA-256 in hex. Raises InvalidInput where it is larger."""
        digest, size = hashlib.sha256(), 0
        with self._create(staged, _PUBLIC) as stream:
            while piece := source.read(_PIECE):
                size += len(piece)
                if size > most_bytes:
                    raise InvalidInput(f"expected at most {most_bytes:,} bytes, got more")
                digest.update(piece)
                self._put(stream, piece)
            self._flush(stream)
        return digest.hexdigest()

    def rename(self, staged: Path, file: Path) -> None:
        """Put a file into its place, durably, and whatever was there away."""
        os.replace(staged, file)  # noqa: PTH105  # one name for one step
        self.sync(file.parent)

    def sync(self, folder: Path) -> None:
        """Have what was done to a folder's entries outlast a loss of power."""
        sync_folder(folder)

    def remove(self, file: Path) -> None:
        """Delete a file that may be there."""
        file.unlink(missing_ok=True)

    def _create(self, file: Path, mode: int) -> BinaryIO:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        os.fchmod(descriptor, mode)
        return os.fdopen(descriptor, "wb")

    def _put(self, stream: BinaryIO, data: bytes) -> None:
        stream.write(data)

    def _flush(self, stream: BinaryIO) -> None:
        stream.flush()
        os.fsync(stream.fileno())


DISK: Final = Disk()
