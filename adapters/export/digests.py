"""What a file or a folder of files is known by."""

from __future__ import annotations

import hashlib
from pathlib import Path

_CHUNK_BYTES = 1 << 20
_SAVED_MODEL = ("saved_model.pb", "variables", "assets", "assets.extra", "fingerprint.pb", "keras_metadata.pb")


def artifact_digest(path: Path) -> str:
    """SHA-256 as hex. Blocking: disk. Raises OSError.

    Of a file, as `sha256sum` has it. Of a folder, over the name, a zero byte and the digest of each file in it, in the
    order of their names (`variables/variables.index`).
    """
    if not path.is_dir():
        return _of_file(path).hexdigest()
    whole = hashlib.sha256()
    for name, file in sorted((file.relative_to(path).as_posix(), file) for file in _files(path)):
        whole.update(name.encode() + b"\0" + _of_file(file).digest())
    return whole.hexdigest()


def artifact_bytes(path: Path) -> int:
    """The size of a file, or of all files of a folder. Blocking: disk. Raises OSError."""
    return sum(file.stat().st_size for file in _files(path)) if path.is_dir() else path.stat().st_size


def _files(folder: Path) -> list[Path]:
    # A SavedModel may lie in a version's folder itself, among other artifacts.
    parts = _SAVED_MODEL if (folder / _SAVED_MODEL[0]).is_file() else ("*",)
    found = [file for part in parts for top in folder.glob(part) for file in (top, *top.rglob("*"))]
    return [file for file in found if file.is_file() and not file.is_symlink()]


def _of_file(path: Path) -> hashlib._Hash:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest
