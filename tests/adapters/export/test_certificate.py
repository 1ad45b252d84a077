from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import InvalidInput
from adapters.export import certificate as module
from adapters.export.certificate import decode, encode, read, write
from tests.adapters.export.certificates import certificate


def changed(**values: Any) -> bytes:
    return json.dumps({**json.loads(encode(certificate())), **values}).encode()


def refused(data: bytes) -> str:
    with pytest.raises(InvalidInput) as caught:
        decode(data)
    return str(caught.value)


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    for each in (certificate(), certificate(difference=0.5)):
        write(each, tmp_path / "tflite.json")
        assert read(tmp_path / "tflite.json") == each
    assert [each.name for each in tmp_path.iterdir()] == ["tflite.json"]
    assert certificate().passed
    assert not certificate(difference=0.5).passed


def test_a_certificate_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(certificate(), tmp_path / "tflite.json")

    def no_room(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(OSError, match="No space"):
        write(certificate(difference=0.5), tmp_path / "tflite.json")
    assert read(tmp_path / "tflite.json") == certificate()
    assert [each.name for each in tmp_path.iterdir()] == ["tflite.json"]


def test_a_certificate_cut_off_anywhere_is_refused() -> None:
    whole = encode(certificate()).rstrip()
    for length in range(0, len(whole), 97):
        assert "cut off, or not one" in refused(whole[:length])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"[" * 1_000_000, "cut off, or not one"),
        (b"\xff\xfe", "cut off, or not one"),
        (b"{}", "cut off, or not one"),
        (changed(schema=2), "expected schema 1, got 2"),
        (changed(schema="1"), "expected schema 1, got '1'"),
        (changed(extra=1), "unknown field `extra`"),
        (changed(outputs=[]), "length >= 1"),
        (changed(subject="x" * 2001), "length <= 2000"),
        (changed(passed=False), "its verdict is not that of its own figures"),
        (changed(reasons=["because"]), "its verdict is not that of its own figures"),
    ],
)
def test_what_is_no_certificate_is_refused_with_the_reason(data: bytes, says: str) -> None:
    assert says in refused(data)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("largest", -1.0),
        ("largest", 1e999),
        ("equal", 1.5),
        ("elements", -3),
        ("elements", 2**70),
        ("nans_export", "none"),
        ("differences", {"zero": 0, "bins": []}),
    ],
)
def test_figures_that_cannot_be_are_refused(field: str, value: Any) -> None:
    output = {**json.loads(encode(certificate()))["outputs"][0], field: value}
    assert "certificate:" in refused(changed(outputs=[output]).replace(b"Infinity", b"1e999"))


def test_a_failed_certificate_that_says_it_passed_is_refused() -> None:
    told = json.loads(encode(certificate(difference=0.5)))
    text = refused(json.dumps({**told, "passed": True, "reasons": []}).encode())
    assert "its verdict is not that of its own figures (output 'scores': largest difference 0.5" in text


def test_only_a_file_of_reasonable_size_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(certificate(), tmp_path / "a.json")
    (tmp_path / "link.json").symlink_to(tmp_path / "a.json")
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(OSError, match="symbolic"):
        read(tmp_path / "link.json")
    with pytest.raises(InvalidInput, match="expected a file"):
        read(tmp_path / "pipe.json")
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    with pytest.raises(InvalidInput, match="at most 100 bytes"):
        read(tmp_path / "a.json")
