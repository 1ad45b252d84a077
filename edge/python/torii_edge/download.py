"""A bundle fetched: whole and resumed, or by the difference to the one that is here."""

from __future__ import annotations

import bz2
import re
import shutil
import struct
from pathlib import Path
from typing import Final

import bsdiff4

from torii_edge.bundle import file_digest
from torii_edge.durable import write, written
from torii_edge.errors import NoSpace, Offline, Refused, is_full
from torii_edge.limits import Limits
from torii_edge.store import BUNDLE, Release, Store
from torii_edge.transport import CHUNK_BYTES, Server
from torii_edge.trust import Target

_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/(?:[0-9]{1,18}|\*)")
_HEAD: Final = struct.Struct("<8sqqq")
"""A bsdiff patch's mark, the bytes of its control and difference blocks, and those of what it makes."""
_SPARE_BYTES: Final = 1 << 20


class Downloads:
    """Fetches targets into a store's incoming files, verified."""

    def __init__(self, store: Store, server: Server, limits: Limits) -> None:
        self._store = store
        self._server = server
        self._limits = limits

    def whole(self, target: Target) -> Path:
        """Fetch a target, going on where an earlier download stopped.

        Raises:
            Offline: it broke off; what has come stays for the next time.
            Refused: what came is not what was signed.
            NoSpace: there is no room for it, packed and unpacked.
        """
        path = self._store.partial(target.sha256)
        self._make_room(target.length, path)
        if _length(path) != target.length or file_digest(path) != target.sha256:
            resumed = 0 < _length(path) < target.length
            self._fetch(target, path)
            if resumed and file_digest(path) != target.sha256:
                path.unlink()  # what was here was spoiled, perhaps: once more, from its beginning
                self._fetch(target, path)
        if file_digest(path) != target.sha256:
            path.unlink()
            raise Refused(f"{target.path}: what the server sent is not what was signed: its SHA-256 is another")
        return path

    def delta(self, delta: Target, current: Release, target: Target) -> Path:
        """Make a target out of the bundle in use and a difference; raises Offline, Refused, NoSpace, OSError."""
        base = current.folder / BUNDLE
        if delta.custom.get("from_sha256") != current.sha256 or delta.custom.get("to") != target.path:
            raise Refused(f"{delta.path} is not signed as a difference between {current.target} and {target.path}")
        if delta.length >= target.length or _length(base) < 0 or file_digest(base) != current.sha256:
            raise Refused(f"{delta.path} is of no use: the bundle in use is not there as it was")
        patch = self.whole(delta)
        path = self._store.partial(target.sha256)
        path.unlink(missing_ok=True)
        made = _patched(base.read_bytes(), patch.read_bytes(), target.length)
        patch.unlink()
        with written(path) as descriptor:
            write(descriptor, made)
        if file_digest(path) != target.sha256:
            path.unlink()
            raise Refused(f"{delta.path} does not lead to {target.path}")
        return path

    def _make_room(self, length: int, path: Path) -> None:
        needed = 2 * length - max(0, _length(path)) + _SPARE_BYTES
        if shutil.disk_usage(self._store.folder).free < needed:
            raise NoSpace(f"the disk has no room for {needed} bytes more")

    def _fetch(self, target: Target, path: Path) -> None:
        """Add to a partial file what is missing."""
        there = _length(path)
        if not 0 < there < target.length:
            path.unlink(missing_ok=True)
            there = 0
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={there}-"} if there else {})}
        within_s = self._limits.download_s(target.length - there)
        with self._server.ask("GET", target.url_path, within_s, headers) as answer:
            if answer.status == 206 and there:
                began = _RANGE.fullmatch(answer.header("Content-Range"))
                if began is None or int(began[1]) != there:
                    raise Offline(f"{target.path}: asked for bytes from {there} on, got others")
            elif answer.status == 200:
                path.unlink(missing_ok=True)
                there = 0
            elif answer.status == 416:
                path.unlink(missing_ok=True)
                raise Offline(f"{target.path}: the server has less of it than is here; once more, from its beginning")
            else:
                raise Offline(f"{target.path}: answered {answer.status}")
            if answer.header("Content-Encoding") not in {"", "identity"}:
                raise Offline(f"{target.path}: answered in an encoding that was not asked for")
            with written(path, append=True) as descriptor:
                for chunk in answer.chunks():
                    there += len(chunk)
                    if there > target.length:
                        break
                    write(descriptor, chunk)
        if there > target.length:
            path.unlink()
            raise Refused(f"{target.path}: the server sends more than the {target.length} bytes that were signed")
        if there < target.length:
            raise Offline(f"{target.path}: broke off after {there} of {target.length} bytes")


def _patched(base: bytes, patch: bytes, length: int) -> bytes:
    """Apply a bsdiff patch that must make so many bytes; raises Refused."""
    try:
        mark, control, difference, made = _HEAD.unpack_from(patch)
        ends = _HEAD.size + control, _HEAD.size + control + difference
        if mark != b"BSDIFF40" or made != length or control < 0 or difference < 0 or ends[1] > len(patch):
            raise Refused(f"the difference makes {made} bytes, and not the {length} that were signed")
        for block, most in (
            (patch[_HEAD.size : ends[0]], 24 * length),
            (patch[ends[0] : ends[1]], length),
            (patch[ends[1] :], length),
        ):
            _bound(block, most)
        return bytes(bsdiff4.patch(base, patch))
    except (ValueError, struct.error, OSError, EOFError, MemoryError) as error:
        if is_full(error):
            raise
        raise Refused(f"the difference cannot be applied: {error or type(error).__name__}") from error


def _bound(block: bytes, most: int) -> None:
    """Refuse what unpacks to more than it may, before it is unpacked as a whole."""
    unpacking, seen = bz2.BZ2Decompressor(), 0
    while not unpacking.eof:
        seen += len(unpacking.decompress(block, CHUNK_BYTES))
        block = b""
        if seen > most:
            raise Refused(f"the difference unpacks to more than {most} bytes")
        if unpacking.needs_input and not unpacking.eof:
            raise Refused("the difference breaks off")
    if unpacking.unused_data:
        raise Refused("the difference has more in it than it needs")


def _length(path: Path) -> int:
    """A file's bytes; -1 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return -1
