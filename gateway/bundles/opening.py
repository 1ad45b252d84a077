"""Reads bundles of anybody: what is not exactly as a bundle is written is refused, before it takes memory or disk."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO, Final

from adapters.errors import InvalidInput
from gateway.bundles.archive import MOST_BYTES
from gateway.bundles.manifest import (
    MANIFEST,
    MOST_ENTRIES,
    MOST_GOLDEN_BYTES,
    MOST_MANIFEST_BYTES,
    Golden,
    Manifest,
    check_name,
    decode_golden,
    decode_manifest,
)

_END: Final = struct.Struct("<4s4H2LH")
_LOCAL_BYTES: Final = 30
_MOST_DIRECTORY_BYTES: Final = MOST_ENTRIES * 1024
_CHUNK_BYTES: Final = 1 << 20
_UTF8: Final = 0x800


@dataclass(frozen=True, slots=True)
class OpenedBundle:
    """A bundle whose every byte is as its manifest says. `digest` is the SHA-256 of the whole archive.

    `manifest_digest` is that of its manifest.json.
    """

    path: Path
    size_bytes: int
    digest: str
    manifest: Manifest
    manifest_digest: str
    golden: Golden | None


def open_bundle(path: Path, most_bytes: int = MOST_BYTES) -> OpenedBundle:
    """Check a bundle through and through. Blocking: disk; reads it twice, and holds little of it in memory.

    Raises:
        InvalidInput: it is no bundle, is larger than `most_bytes`, or has been changed; says what is wrong.
        OSError: it cannot be read.
    """
    with opened(path, most_bytes) as stream:
        size = os.fstat(stream.fileno()).st_size
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        with _archive(stream, path.name) as archive:
            entries = _checked(archive)
            data = _small(archive, entries, MANIFEST, MOST_MANIFEST_BYTES)
            manifest = decode_manifest(data)
            _check_files(archive, entries, manifest)
            golden = _golden(archive, entries, manifest)
        return OpenedBundle(path, size, digest, manifest, hashlib.sha256(data).hexdigest(), golden)


def extract(bundle: OpenedBundle, folder: Path) -> None:
    """Write a bundle's files below a folder that is there and empty. Blocking: disk.

    Raises:
        InvalidInput: the archive is not any more what was opened.
        OSError: it cannot be read or written; what was written so far is left.
    """
    with opened(bundle.path, bundle.size_bytes) as stream, _archive(stream, bundle.path.name) as archive:
        for name, entry in _checked(archive).items():
            wanted = bundle.manifest_digest if name == MANIFEST else bundle.manifest.files[name].sha256
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, target.open("xb") as written:
                if _digest_of(source, written) != wanted:
                    raise InvalidInput(f"{name} was changed while it was read")


@contextmanager
def opened(path: Path, most_bytes: int) -> Iterator[BufferedReader]:
    """A file for reading; raises InvalidInput where it is none or too large, and OSError."""
    # Without waiting: whoever opens a pipe would wait for its other end.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
        found = os.fstat(stream.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise InvalidInput(f"{path.name}: expected a file")
        if found.st_size > most_bytes:
            raise InvalidInput(f"{path.name}: expected at most {most_bytes} bytes, got {found.st_size}")
        yield stream


@contextmanager
def _archive(stream: IO[bytes], name: str) -> Iterator[zipfile.ZipFile]:
    try:
        _check_end(stream)
        with zipfile.ZipFile(stream) as archive:
            yield archive
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error}") from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, struct.error) as error:
        raise InvalidInput(f"{name}: it is no whole bundle: {error!s:.200}") from error


def _check_end(stream: IO[bytes]) -> None:
    """Refuse what a reader of zip would first take into memory: a directory of any size, found anywhere."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - _END.size))
    tail = stream.read()
    if len(tail) < _END.size or not tail.startswith(b"PK\5\6"):
        raise InvalidInput("expected a zip archive without a comment, as torii bundle writes it")
    _, disk, first, here, entries, directory_bytes, begin, _ = _END.unpack(tail)
    if disk or first or here != entries:
        raise InvalidInput("it is a part of an archive over several disks")
    if entries > MOST_ENTRIES or directory_bytes > _MOST_DIRECTORY_BYTES:
        raise InvalidInput(f"expected at most {MOST_ENTRIES} files, got {entries}")
    if begin + directory_bytes + _END.size != size:
        raise InvalidInput("its directory is not where it says")


def _checked(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The entries by name, once all are plain files, one behind the other, with nothing between them."""
    entries: dict[str, zipfile.ZipInfo] = {}
    at, folded = 0, set[str]()
    for entry in sorted(archive.infolist(), key=lambda each: each.header_offset):
        check_name(entry.filename)
        if entry.filename.lower() in folded:
            raise InvalidInput(f"{entry.filename} is there twice; the case of letters does not count")
        _check_entry(entry)
        if entry.header_offset != at:
            raise InvalidInput(f"{entry.filename} is not where the file before it ends")
        at += _LOCAL_BYTES + len(entry.filename) + entry.file_size
        folded.add(entry.filename.lower())
        entries[entry.filename] = entry
    if at != archive.start_dir:
        raise InvalidInput("it has bytes that belong to no file")
    for name in entries:
        if folder := next((str(each) for each in Path(name).parents if str(each) in entries), None):
            raise InvalidInput(f"{folder}: expected a file or a folder, got both")
    return entries


def _check_entry(entry: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if entry.flag_bits & ~_UTF8:
        raise InvalidInput(f"{entry.filename} is encrypted, or its length comes behind it; expected neither")
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        raise InvalidInput(f"{entry.filename} is compressed; expected it stored")
    if kind not in (0, stat.S_IFREG):
        raise InvalidInput(f"{entry.filename} is a symbolic link, or something else that is no file")
    if entry.extra or entry.comment:
        raise InvalidInput(f"{entry.filename} has more fields than a bundle's file has")


def _small(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], name: str, most_bytes: int) -> bytes:
    if name not in entries:
        raise InvalidInput(f"it has no {name}")
    if entries[name].file_size > most_bytes:
        raise InvalidInput(f"{name}: expected at most {most_bytes} bytes, got {entries[name].file_size}")
    return archive.read(entries[name])


def _check_files(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], manifest: Manifest) -> None:
    there, named = entries.keys() - {MANIFEST}, manifest.files.keys()
    if there != named:
        name = min(there ^ named)
        what = "is not in the archive" if name in named else "is not in the manifest"
        raise InvalidInput(f"{name} {what}")
    for name, promised in manifest.files.items():
        with archive.open(entries[name]) as source:
            found = _digest_of(source)
        if entries[name].file_size != promised.bytes or found != promised.sha256:
            raise InvalidInput(f"{name} is not what the manifest says: its SHA-256 is {found}")


def _golden(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], manifest: Manifest) -> Golden | None:
    if manifest.golden is None:
        return None
    return decode_golden(_small(archive, entries, manifest.golden, MOST_GOLDEN_BYTES))


def _digest_of(source: IO[bytes], target: IO[bytes] | None = None) -> str:
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK_BYTES):
        digest.update(chunk)
        if target is not None:
            target.write(chunk)
    return digest.hexdigest()
