"""A bundle opened with care: it may be hostile in each of its bytes, and yet write nothing but its own files."""

from __future__ import annotations

import errno
import hashlib
import stat
import struct
from pathlib import Path
from typing import Final
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from torii_edge.durable import sync_folder, write, written
from torii_edge.errors import Refused
from torii_edge.manifest import FILE_NAME, MANIFEST, Manifest

_MOST_FILES: Final = 256
_MANIFEST_BYTES: Final = 1 << 20
_CHUNK_BYTES: Final = 1 << 20
_DIRECTORY_BYTES: Final = _MOST_FILES << 10
_END: Final = struct.Struct("<4s8xII2x")
"""The end of an archive: its mark, and at bytes 12 and 16 the size and the place of its directory."""
_LOCATOR_BYTES: Final = 20


def unpack(bundle: Path, folder: Path) -> Manifest:
    """Unpack a bundle into an empty folder, to stay.

    Raises:
        Refused: names, kinds, sizes or digests of its files are not as they must be.
        OSError: the folder cannot be written.
    """
    length = bundle.stat().st_size
    try:
        _bound_directory(bundle, length)
        with ZipFile(bundle) as archive:
            entries = _entries(archive, length)
            text = archive.read(entries[MANIFEST])
            manifest = Manifest.parse(text)
            _compare(manifest, entries)
            for name, (sha256, _) in manifest.files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                _extract(archive, entries[name], folder / name, sha256)
            with written(folder / MANIFEST) as descriptor:
                write(descriptor, text)
    except (BadZipFile, NotImplementedError, EOFError, ValueError, RuntimeError) as error:
        raise Refused(f"the bundle is no archive that can be opened: {error}") from error
    except OSError as error:
        if error.errno == errno.EINVAL:  # an archive that points before its own beginning
            raise Refused(f"the bundle is no archive that can be opened: {error}") from error
        raise
    for each in (*(inner for inner in folder.rglob("*") if inner.is_dir()), folder):
        sync_folder(each)
    return manifest


def intact(folder: Path, manifest: Manifest) -> bool:
    """Whether an unpacked bundle's files are what its manifest says."""
    try:
        return all(
            (folder / name).stat().st_size == length and file_digest(folder / name) == sha256
            for name, (sha256, length) in manifest.files.items()
        )
    except OSError:
        return False


def file_digest(path: Path) -> str:
    """A file's SHA-256, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _bound_directory(bundle: Path, length: int) -> None:
    """Refuse an archive whose directory alone would fill the memory, unread."""
    if length < _END.size:
        raise Refused("the bundle is no archive")
    with bundle.open("rb") as file:
        file.seek(max(0, length - _END.size - _LOCATOR_BYTES))
        tail = file.read()
    mark, size, _ = _END.unpack(tail[-_END.size :])
    if mark != b"PK\5\6" or tail.startswith(b"PK\6\7"):
        raise Refused("the bundle does not end as a plain archive without a comment does")
    if size > _DIRECTORY_BYTES:
        raise Refused(f"the bundle's directory has {size} bytes; at most {_DIRECTORY_BYTES} are read")


def _entries(archive: ZipFile, length: int) -> dict[str, ZipInfo]:
    """The archive's entries by name: few, plain, stored as they are, each once, and no larger than the archive."""
    entries: dict[str, ZipInfo] = {}
    if len(archive.infolist()) > _MOST_FILES:
        raise Refused(f"the bundle has more than {_MOST_FILES} files")
    folded: set[str] = set()
    for each in archive.infolist():
        name = each.orig_filename
        kind = stat.S_IFMT(each.external_attr >> 16)
        if not FILE_NAME.fullmatch(name):
            raise Refused(f"the bundle has a file named {name!r:.80}")
        if name.lower() in folded:
            raise Refused(f"the bundle has {name} more than once")
        if kind not in {0, stat.S_IFREG}:
            raise Refused(f"{name} in the bundle is no plain file")
        if each.compress_type != ZIP_STORED or each.compress_size != each.file_size or each.flag_bits & 1:
            raise Refused(f"{name} in the bundle is compressed or encrypted")
        folded.add(name.lower())
        entries[name] = each
    if sum(each.file_size for each in entries.values()) > length:
        raise Refused("the bundle's files have more bytes than it has itself")
    if MANIFEST not in entries or entries[MANIFEST].file_size > _MANIFEST_BYTES:
        raise Refused(f"the bundle has no {MANIFEST}, or one of more than {_MANIFEST_BYTES} bytes")
    return entries


def _compare(manifest: Manifest, entries: dict[str, ZipInfo]) -> None:
    listed, there = set(manifest.files), set(entries) - {MANIFEST}
    if listed != there:
        odd = ", ".join(sorted(listed ^ there))
        raise Refused(f"the bundle's files are not those of its {MANIFEST}: {odd:.200}")
    for name, (_, length) in manifest.files.items():
        if entries[name].file_size != length:
            raise Refused(f"{name} in the bundle: expected {length} bytes, got {entries[name].file_size}")


def _extract(archive: ZipFile, entry: ZipInfo, path: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    with archive.open(entry) as file, written(path) as descriptor:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            write(descriptor, chunk)
    if digest.hexdigest() != sha256:
        raise Refused(f"{path.name} in the bundle is not what its {MANIFEST} says: its SHA-256 is another")
