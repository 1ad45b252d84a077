"""A bundle may be hostile in each of its bytes."""

from __future__ import annotations

import stat
import struct
import tempfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.edge_client.repository import make_bundle
from torii_edge import Refused
from torii_edge.bundle import intact, unpack

GOOD = make_bundle(1, b"1.5")


def _unpack(data: bytes, folder: Path) -> Any:
    bundle = folder / "bundle.zip"
    bundle.write_bytes(data)
    into = folder / "into"
    into.mkdir()
    return unpack(bundle, into)


def _with(name: str, data: bytes = b"x", kind: int = 0, compression: int = ZIP_STORED) -> bytes:
    def write(archive: ZipFile) -> None:
        entry = ZipInfo(name)
        entry.external_attr = kind << 16
        entry.compress_type = compression
        archive.writestr(entry, data)

    return make_bundle(1, b"1.5", write=write)


def _raw_name(name: bytes) -> bytes:
    """A name that zipfile would not write."""
    return _with("a" * len(name)).replace(b"a" * len(name), name)


def _encrypted() -> bytes:
    data = bytearray(GOOD)
    directory = data.index(b"PK\1\2")
    data[directory + 8] |= 1
    return bytes(data)


def _huge_directory() -> bytes:
    stream = BytesIO()
    with ZipFile(stream, "w") as archive:
        for number in range(6000):
            archive.writestr(ZipInfo(f"file-{number}-{'n' * 40}"), b"")
    return stream.getvalue()


def _overlapping() -> bytes:
    """Every entry of the directory is the same megabyte of the archive."""
    content = b"m" * (1 << 20)
    head = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 33, zlib.crc32(content), len(content), len(content), 1, 0)
    body = head + b"a" + content
    directory = b"".join(
        struct.pack(
            *("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 33, zlib.crc32(content), len(content), len(content)),
            *(len(name), 0, 0, 0, 0, 0, 0),
        )
        + name
        for name in (b"manifest.json", *(b"f%d" % number for number in range(200)))
    )
    return body + directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 201, 201, len(directory), len(body), 0)


def _changed(change: Callable[[dict[str, Any]], Any]) -> bytes:
    return make_bundle(1, b"1.5", change=lambda manifest: change(manifest) and None)


def _set(*path: str | int, to: Any) -> bytes:
    def change(manifest: Any) -> None:
        for each in path[:-1]:
            manifest = manifest[each]
        manifest[path[-1]] = to

    return _changed(change)


HOSTILE: dict[str, tuple[bytes, str]] = {
    "a name that climbs out": (_with("../outside"), "a file named"),
    "a name that climbs out below": (_with("a/../../outside"), "a file named"),
    "an absolute name": (_with("/tmp/outside"), "a file named"),
    "a drive's name": (_with("C:outside"), "a file named"),
    "a backslash": (_raw_name(b"..\\outside"), "a file named|no archive"),
    "a name with a NUL": (_raw_name(b"model\0.txt"), "a file named|no archive"),
    "a hidden name": (_with(".profile"), "a file named"),
    "a folder": (_with("folder/"), "a file named"),
    "a symbolic link": (_with("link", b"/etc/passwd", stat.S_IFLNK | 0o777), "no plain file"),
    "a device": (_with("null", b"", stat.S_IFCHR | 0o666), "no plain file"),
    "the same name twice": (_raw_name(b"model.txt"), "more than once"),
    "the same name but for its case": (_with("MODEL.txt"), "more than once"),
    "a bomb": (_with("zeros", b"\0" * 10_000_000, compression=ZIP_DEFLATED), "compressed"),
    "an encrypted file": (_encrypted(), "compressed or encrypted"),
    "a file that is not listed": (_with("more.txt"), "not those of its manifest"),
    "a huge directory": (_huge_directory(), "directory has"),
    "files that share their bytes": (_overlapping(), "more bytes than it has itself"),
    "a comment": (GOOD[:-2] + b"\1\0!", "does not end as"),
    "nothing": (b"", "no archive"),
    "no archive": (b"x" * 1000, "does not end as"),
    "half an archive": (GOOD[: len(GOOD) // 2], "does not end as"),
    "only an end": (GOOD[-22:], "no archive|no manifest|more bytes"),
    "a wrong digest": (_set("files", "model.txt", "sha256", to="0" * 64), "its SHA-256 is another"),
    "a wrong size": (_set("files", "model.txt", "bytes", to=4), "expected 4 bytes, got 3"),
    "a file less": (_changed(lambda manifest: manifest["files"].pop("padding.bin")), "padding.bin"),
    "a file that is not there": (_set("files", "x", to={"sha256": "0" * 64, "bytes": 1}), "manifest.json: x"),
    "a listed name that climbs out": (_set("files", "../x", to={"sha256": "0" * 64, "bytes": 1}), "no name that"),
    "no digest": (_set("files", "model.txt", to={}), "expected its sha256 and bytes"),
    "another schema": (_set("schema", to=2), "schema: expected 1, got 2"),
    "a version that is a text": (_set("version", to="1"), "version: expected int"),
    "a model file that is not listed": (_set("model_file", to="/etc/passwd"), "model_file: '/etc/passwd'"),
    "a datatype that there is not": (_set("inputs", 0, "datatype", to="FP1"), "datatype 'FP1'"),
    "a shape that is none": (_set("inputs", 0, "shape", to=[True]), "expected sizes"),
    "a tolerance below zero": (_set("tolerance", to={"max_abs": -1}), "a number of 0 or more"),
    "a tolerance that no float can be": (_set("tolerance", to={"max_abs": 10**400}), "a number of 0 or more"),
    "a tolerance without an end": (_set("tolerance", to={"max_abs": float("inf")}), "a number of 0 or more"),
    "inputs that are none": (_set("inputs", to=[1]), "expected name, datatype and shape"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_bundle_is_refused_and_writes_nothing_elsewhere(tmp_path: Path, case: str) -> None:
    data, reason = HOSTILE[case]
    with pytest.raises(Refused, match=reason):
        _unpack(data, tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {"bundle.zip", "into"}
    assert not [each for each in tmp_path.rglob("*") if each.is_symlink()]


def test_a_good_bundle_is_unpacked_as_it_is(tmp_path: Path) -> None:
    manifest = _unpack(GOOD, tmp_path)
    assert (manifest.model, manifest.version, manifest.runtime) == ("digits", 1, "numbers")
    assert (tmp_path / "into/model.txt").read_bytes() == b"1.5"
    assert intact(tmp_path / "into", manifest)
    (tmp_path / "into/model.txt").write_bytes(b"1.6")
    assert not intact(tmp_path / "into", manifest)


def test_a_bundle_may_have_folders(tmp_path: Path) -> None:
    manifest = _unpack(make_bundle(1, b"1.5", model_file="weights/first/model.txt"), tmp_path)
    assert (tmp_path / "into" / manifest.model_file).read_bytes() == b"1.5"


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_is_changed_in_a_bundle_it_is_refused_or_its_files_are_the_same(data: st.DataObject) -> None:
    changed = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(GOOD) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        try:
            manifest = _unpack(bytes(changed), Path(folder))
        except Refused:
            pass
        else:
            assert intact(Path(folder) / "into", manifest)
        assert {each.name for each in Path(folder).iterdir()} == {"bundle.zip", "into"}
