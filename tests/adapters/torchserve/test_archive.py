import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from adapters.errors import LoadFailed
from adapters.torchserve import archive
from adapters.torchserve.plan import Plan

PLAN = Plan("weights.pt", None, 1, 2**20)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"weights")
    return path


def test_weights_are_linked_and_outlive_their_first_name(tmp_path: Path, weights: Path) -> None:
    inode = weights.stat().st_ino
    archive.pack(weights, PLAN, tmp_path / "packed")
    weights.unlink()
    assert (tmp_path / "packed" / "model.pt").stat().st_ino == inode


def test_weights_on_another_file_system_are_copied(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: object, target: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    archive.pack(weights, PLAN, tmp_path / "packed")
    assert (tmp_path / "packed" / "model.pt").read_bytes() == b"weights"


def test_an_archive_brings_all_of_ours_that_its_handler_imports(tmp_path: Path, weights: Path) -> None:
    pytest.importorskip("torch")
    packed = tmp_path / "packed"
    archive.pack(weights, PLAN, packed)
    name = json.loads((packed / "MAR-INF" / "MANIFEST.json").read_text())["model"]["handler"]
    loaded = subprocess.run(
        [sys.executable, "-c", f"import {name} as handler; print(handler.__file__)"],
        cwd=packed,
        env={**os.environ, "PYTHONPATH": str(packed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout.strip() == str(packed / "adapters" / "torchserve" / "handler.py")


def test_a_mar_file_becomes_a_folder_of_the_same_content(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "own.mar", "w") as mar:
        mar.writestr("MAR-INF/MANIFEST.json", "{}")
        mar.writestr("../../outside.py", "")
    archive.unpack(tmp_path / "own.mar", tmp_path / "unpacked")
    assert (tmp_path / "unpacked" / "MAR-INF" / "MANIFEST.json").read_text() == "{}"
    assert not (tmp_path.parent / "outside.py").exists()


def test_a_mar_file_that_is_no_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "junk.mar").write_bytes(b"junk")
    with pytest.raises(LoadFailed, match=r"junk\.mar is no model archive: File is not a zip file"):
        archive.unpack(tmp_path / "junk.mar", tmp_path / "unpacked")


def test_what_is_gone_already_is_discarded_without_complaint(tmp_path: Path, weights: Path) -> None:
    archive.pack(weights, PLAN, tmp_path / "packed")
    archive.discard(tmp_path / "packed")
    archive.discard(tmp_path / "packed")
    assert not (tmp_path / "packed").exists()
    assert weights.exists()
