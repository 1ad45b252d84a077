"""Bundles of anybody: what was changed, or is made to harm, is refused before it takes memory or leaves its folder."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.errors import InvalidInput
from gateway.bundles.manifest import decode_golden, decode_manifest, encode
from gateway.bundles.opening import extract, open_bundle
from tests.gateway.bundles import made
from tests.gateway.bundles.made import entry, right_and, written

SMALL = 1 << 20


def refusal(file: Path, most_bytes: int = SMALL) -> str:
    with pytest.raises(InvalidInput) as raised:
        open_bundle(file, most_bytes)
    return str(raised.value)


def test_a_right_bundle_is_opened_and_its_files_come_out_as_they_were(tmp_path: Path) -> None:
    bundle = open_bundle(made.right(tmp_path))
    assert (bundle.manifest, bundle.golden) == (made.manifest(made.files()), made.GOLDEN)
    assert bundle.size_bytes == (tmp_path / "digits-2-android.zip").stat().st_size
    folder = tmp_path / "out"
    folder.mkdir()
    extract(bundle, folder)
    assert {each.name: each.read_bytes() for each in folder.iterdir()} == made.contents()


def test_an_archive_of_any_other_tool_is_one_too_where_it_is_as_plain(tmp_path: Path) -> None:
    assert open_bundle(right_and(tmp_path)).manifest.model == "digits"


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/passwd",
        "a/../../evil",
        "a\\..\\evil",
        "C:evil",
        "./evil",
        "a//b",
        ".hidden",
        "-rf",
        "a/b/c/d/e",
        "x" * 101,
        "naïve.txt",
        "a\nb",
        "folder/",
        " ",
    ],
)
def test_a_name_that_could_lead_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    assert "expected a name of letters, digits" in refusal(right_and(tmp_path, (entry(name), b"evil")))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFCHR])
def test_a_link_and_what_else_is_no_file_is_refused(tmp_path: Path, kind: int) -> None:
    said = refusal(right_and(tmp_path, (entry("vocabulary.txt", kind), b"/etc/passwd")))
    assert "vocabulary.txt is a symbolic link, or something else that is no file" in said


def test_two_files_of_one_name_are_refused_whatever_the_case_of_its_letters(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        file = right_and(tmp_path, (entry("golden.json"), b"{}"))
    assert "golden.json is there twice" in refusal(file)
    assert "Golden.JSON is there twice" in refusal(right_and(tmp_path, (entry("Golden.JSON"), b"{}")))


def test_a_name_that_is_a_file_and_a_folder_is_refused(tmp_path: Path) -> None:
    said = refusal(right_and(tmp_path, (entry("a"), b"1"), (entry("a/b"), b"2")))
    assert "a: expected a file or a folder, got both" in said


def test_what_is_compressed_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = right_and(tmp_path, (entry("zeros", compress=zipfile.ZIP_DEFLATED), bytes(100 << 20)))
    assert bomb.stat().st_size < SMALL
    assert "zeros is compressed; expected it stored" in refusal(bomb)


def test_entries_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """The directory names one content many times: a bomb without compression."""
    file = written(tmp_path, (entry("aa"), bytes(1000)), (entry("bb"), bytes(1000)))
    data = bytearray(file.read_bytes())
    second = data.rindex(b"PK\1\2")
    struct.pack_into("<L", data, second + 42, 0)
    file.write_bytes(data)
    said = refusal(file)
    assert "bb is not where the file before it ends" in said or "no whole bundle" in said


def test_a_file_that_says_it_is_larger_than_the_archive_is_refused(tmp_path: Path) -> None:
    file = made.right(tmp_path)
    data = bytearray(file.read_bytes())
    central = data.index(b"PK\1\2")
    struct.pack_into("<LL", data, central + 20, 0xF0000000, 0xF0000000)
    file.write_bytes(data)
    said = refusal(file)
    assert "is not where the file before it ends" in said or "bytes that belong to no file" in said


def test_an_encrypted_file_is_refused(tmp_path: Path) -> None:
    file = made.right(tmp_path)
    data = bytearray(file.read_bytes())
    central = data.index(b"PK\1\2")
    for at in (6, central + 8):
        struct.pack_into("<H", data, at, 1)
    file.write_bytes(data)
    assert "golden.json is encrypted" in refusal(file)


def test_a_directory_of_any_size_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "hostile.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(300):
            archive.writestr(entry(f"f{number}"), b"")
    assert "expected at most 256 files, got 300" in refusal(file)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: b"#!/bin/sh\n" + data, "its directory is not where it says"),
        (lambda data: data + b"more", "expected a zip archive without a comment"),
        (lambda data: data[:-1], "expected a zip archive without a comment"),
        (lambda data: data[: len(data) // 2], "expected a zip archive without a comment"),
        (lambda data: b"", "expected a zip archive without a comment"),
        (lambda data: data[-22:], "its directory is not where it says"),
    ],
    ids=["something in front", "something behind", "cut off", "half", "empty", "nothing but the end"],
)
def test_what_is_not_a_bundle_alone_and_whole_is_refused(
    tmp_path: Path, change: Callable[[bytes], bytes], says: str
) -> None:
    file = made.right(tmp_path)
    file.write_bytes(change(file.read_bytes()))
    assert says in refusal(file)


def test_bytes_between_the_files_and_the_directory_are_refused(tmp_path: Path) -> None:
    file = made.right(tmp_path)
    data = bytearray(file.read_bytes())
    directory = data.index(b"PK\1\2")
    struct.pack_into("<L", data, len(data) - 6, directory + 4)
    file.write_bytes(data[:directory] + b"more" + data[directory:])
    assert "it has bytes that belong to no file" in refusal(file)


def test_a_larger_file_than_is_taken_is_not_read(tmp_path: Path) -> None:
    assert refusal(made.right(tmp_path), most_bytes=100).startswith("digits-2-android.zip: expected at most 100 bytes")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe") == "pipe: expected a file"


def test_weights_that_were_changed_are_named(tmp_path: Path) -> None:
    file = made.right(tmp_path)
    data = file.read_bytes()
    file.write_bytes(data.replace(made.WEIGHTS, made.WEIGHTS[::-1]))
    said = refusal(file)
    assert "model.int8.tflite" in said


def test_weights_whose_checksum_was_changed_with_them_are_named_by_their_digest(tmp_path: Path) -> None:
    changed = {**made.contents(), "model.int8.tflite": made.WEIGHTS[::-1]}
    file = written(tmp_path, *((entry(name), data) for name, data in sorted(changed.items())))
    assert "model.int8.tflite is not what the manifest says: its SHA-256 is" in refusal(file)


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"model.int8.tflite": b"x"}, "it has no manifest.json"),
        ({**made.contents(), "extra.txt": b"x"}, "extra.txt is not in the manifest"),
        (
            {name: data for name, data in made.contents().items() if "golden" not in name},
            "golden.json is not in the arch",
        ),
        ({"manifest.json": b"{" * 3000}, "manifest.json: "),
        ({"manifest.json": b"[" * 100_000}, "manifest.json: "),
        ({"manifest.json": bytes(2 << 20)}, "manifest.json: expected at most 1048576 bytes"),
        ({**made.contents(model="../x")}, "manifest.json: model: expected a name"),
        ({**made.contents(version=0)}, "manifest.json: version: expected a positive integer"),
        ({**made.contents(target="fridge")}, "manifest.json: target: expected one of android"),
        ({**made.contents(model_file="other")}, "manifest.json: model_file: expected one of files, got 'other'"),
        ({**made.contents(golden=None)}, "expected golden and tolerance together"),
        ({**made.contents(min_app="the newest")}, "min_app: expected a version"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_manifest_that_is_not_of_its_archive_is_refused(tmp_path: Path, entries: dict[str, bytes], says: str) -> None:
    assert says in refusal(written(tmp_path, *((entry(name), data) for name, data in sorted(entries.items()))), 4 << 20)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"inputs":[{"name":"x","datatype":"FP32","shape":[1000000,1000000],"data":[]}],"outputs":[]}', "got 0"),
        ('{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,-1],"data":[1]}],"outputs":[]}', "got 1"),
        ('{"inputs":[{"name":"x","datatype":"FP99","shape":[1],"data":[1]}],"outputs":[]}', "a datatype of the V2"),
        ('{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":["1"]}],"outputs":[]}', "golden.json: Expected"),
        ('{"inputs":[]}', "golden.json: Object missing required field `outputs`"),
    ],
)
def test_golden_data_that_are_not_as_they_say_are_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        decode_golden(text.encode())
    assert says in str(raised.value)


def test_what_was_opened_and_then_exchanged_is_not_extracted(tmp_path: Path) -> None:
    file = made.right(tmp_path)
    bundle = open_bundle(file)
    changed = {**made.contents(), "model.int8.tflite": made.WEIGHTS[::-1]}
    written(tmp_path, *((entry(name), data) for name, data in sorted(changed.items()))).replace(file)
    (tmp_path / "out").mkdir()
    with pytest.raises(InvalidInput, match=r"model.int8.tflite was changed while it was read"):
        extract(bundle, tmp_path / "out")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_bundle_with_any_byte_changed_is_refused_or_says_the_same(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    file = made.right(tmp_path_factory.mktemp("bundle"))
    whole = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    file.write_bytes(whole)
    try:
        bundle = open_bundle(file, SMALL)
    except InvalidInput:
        return
    assert (bundle.manifest, bundle.golden) == (made.manifest(made.files()), made.GOLDEN)


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=300))
def test_anything_at_all_in_the_place_of_a_bundle_is_refused(
    tmp_path_factory: pytest.TempPathFactory, rubbish: bytes
) -> None:
    file = tmp_path_factory.mktemp("bundle") / "x.zip"
    file.write_bytes(rubbish)
    refusal(file)


def test_a_manifest_is_read_as_it_was_written() -> None:
    manifest = made.manifest(made.files(), labels="golden.json", min_app="2.1.0")
    assert decode_manifest(encode(manifest)) == manifest
