"""What is exported is in its version's folder as a whole, or not at all; and never in one that is going."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import ServingError
from adapters.export.formats import Form, Format, Precision
from gateway.errors import Conflict, NotAllowed
from gateway.exports.publishing import Standing, check_free, publish

INT8 = Form(Format.TFLITE, Precision.INT8)
TFJS = Form(Format.TFJS)
PAPERS = {".json": b"{}", ".html": b"<p>"}


class Version:
    """A version's folder with an ONNX model, and what the engine made beside it."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "m" / "1"
        self.folder.mkdir(parents=True)
        (self.folder / "model.onnx").write_bytes(b"weights")
        self.artifact = root / "made.tflite"
        self.artifact.write_bytes(b"quantized")
        self.standing = Standing.of("m/1", self.folder)
        self.papers = PAPERS

    def publish(self, form: Form = INT8, replace: bool = False) -> Path:
        return publish(self.artifact, form, self.papers, self.standing, replace=replace)

    def files(self) -> dict[str, bytes]:
        """All files below the model's folder but the lock."""
        root = self.folder.parent
        found = (each for each in root.rglob("*") if each.is_file() and each.name != ".exports.lock")
        return {each.relative_to(root).as_posix(): each.read_bytes() for each in found}

    def refused(self, kind: type[ServingError], **arguments: Any) -> str:
        before = self.files()
        with pytest.raises(kind) as raised:
            self.publish(**arguments)
        assert self.files() == before
        return str(raised.value)


@pytest.fixture
def version(tmp_path: Path) -> Version:
    return Version(tmp_path)


def test_an_artifact_comes_with_its_certificate(version: Version) -> None:
    assert version.publish() == version.folder / "model.int8.tflite"
    assert version.files() == {
        "1/model.onnx": b"weights",
        "1/model.int8.tflite": b"quantized",
        "1/certificates/tflite-int8.json": b"{}",
        "1/certificates/tflite-int8.html": b"<p>",
    }
    assert (version.folder / "model.int8.tflite").stat().st_mode & 0o777 == 0o644
    assert (version.folder / "certificates").stat().st_mode & 0o777 == 0o755


def test_an_artifact_that_is_a_folder_comes_whole(version: Version) -> None:
    version.artifact.unlink()
    (version.artifact / "deep").mkdir(parents=True)
    (version.artifact / "model.json").write_bytes(b"graph")
    (version.artifact / "deep" / "shard").write_bytes(b"weights")
    version.publish(TFJS)
    (version.artifact / "model.json").write_bytes(b"another graph")
    version.publish(TFJS, replace=True)
    found = version.files()
    assert (found["1/tfjs/model.json"], found["1/tfjs/deep/shard"]) == (b"another graph", b"weights")
    assert set(found) == {
        *("1/model.onnx", "1/tfjs/model.json", "1/tfjs/deep/shard"),
        *("1/certificates/tfjs.json", "1/certificates/tfjs.html"),
    }


def test_nothing_is_replaced_unless_that_is_asked_for(version: Version) -> None:
    version.publish()
    assert version.refused(Conflict) == "m/1 has a model.int8.tflite already; ask for it to be replaced (--replace)"
    version.artifact.write_bytes(b"better")
    version.publish(replace=True)
    assert version.files()["1/model.int8.tflite"] == b"better"


def test_an_artifact_of_another_name_for_the_same_backend_counts_as_there(version: Version) -> None:
    (version.folder / "net.tflite").write_bytes(b"theirs")
    version.standing = Standing.of("m/1", version.folder)
    assert "m/1 has a net.tflite already" in version.refused(Conflict, form=Form(Format.TFLITE))


def test_a_saved_model_that_is_the_folder_itself_has_its_exports_in_it_and_replaced(version: Version) -> None:
    (version.folder / "model.onnx").unlink()
    (version.folder / "saved_model.pb").write_bytes(b"graph")
    version.standing = Standing.of("m/1", version.folder)
    version.publish()
    version.standing = Standing.of("m/1", version.folder)
    version.artifact.write_bytes(b"better")
    version.papers = {".json": b"[1]", ".html": b"<h1>"}
    version.publish(replace=True)
    assert version.files() == {
        "1/saved_model.pb": b"graph",
        "1/model.int8.tflite": b"better",
        "1/certificates/tflite-int8.json": b"[1]",
        "1/certificates/tflite-int8.html": b"<h1>",
    }


def gone(version: Version) -> None:
    shutil.rmtree(version.folder)


def renamed(version: Version) -> None:
    version.folder.rename(version.folder.with_name(".1"))


def replaced(version: Version) -> None:
    version.folder.rename(version.folder.with_name(".1"))
    shutil.copytree(version.folder.with_name(".1"), version.folder)


def half_removed(version: Version) -> None:
    (version.folder / "model.onnx").unlink()


def rewritten(version: Version) -> None:
    (version.folder / "model.onnx").write_bytes(b"other weights")


@pytest.mark.parametrize(
    ("happening", "says"),
    [
        (gone, "m/1 is gone; nothing was published"),
        (renamed, "m/1 is gone; nothing was published"),
        (replaced, "m/1 is gone; nothing was published"),
        (half_removed, "m/1 is being removed: model.onnx is gone; nothing was published"),
        (rewritten, "model.onnx of m/1 was replaced meanwhile; nothing was published: export it again"),
    ],
)
def test_a_version_that_is_going_or_changed_gets_nothing(
    version: Version, happening: Callable[[Version], None], says: str
) -> None:
    happening(version)
    assert version.refused(Conflict) == says


def test_a_version_whose_removal_begins_while_its_export_is_put_there_is_left_as_it_was(
    version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.replace

    def removing(source: Path, target: Path) -> Path:
        if target.name == "model.int8.tflite":
            (version.folder / "model.onnx").unlink()
        return rename(source, target)

    monkeypatch.setattr(Path, "replace", removing)
    with pytest.raises(Conflict, match=r"m/1 is being removed"):
        version.publish()
    assert version.files() == {}
    assert not list(version.folder.iterdir())


@pytest.mark.parametrize("at", ["model.int8.tflite", "tflite-int8.json", "tflite-int8.html"])
def test_what_fails_half_way_is_taken_back(version: Version, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    version.publish()
    version.artifact.write_bytes(b"better")
    version.papers = {".json": b"[1]", ".html": b"<h1>"}
    rename = Path.replace

    def failing(source: Path, target: Path) -> Path:
        if target.name == at and source.name == at:
            raise OSError(errno.EIO, "Input/output error")
        return rename(source, target)

    monkeypatch.setattr(Path, "replace", failing)
    said = version.refused(NotAllowed, replace=True)
    assert said == "m/1 cannot be written to: Input/output error; nothing was published"


def test_a_full_disk_is_found_out_before_anything_is_written(version: Version, monkeypatch: pytest.MonkeyPatch) -> None:
    free = (1 << 20) + 5
    monkeypatch.setattr(
        "gateway.exports.publishing.shutil.disk_usage", lambda _: shutil._ntuple_diskusage(free, 0, free)
    )
    said = version.refused(NotAllowed)
    assert said == f"m/1: the disk is full: 14 bytes are needed, {free} are free; nothing was published"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_becomes_full_meanwhile_leaves_nothing_half_written(
    version: Version, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:4])
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("gateway.exports.publishing.shutil.copyfile", full)
    assert "m/1: the disk is full: 14 bytes are needed" in version.refused(NotAllowed)


def test_what_a_killed_one_left_behind_is_taken_away(version: Version) -> None:
    left = version.folder.parent / ".export-abc"
    left.mkdir()
    (left / "half").write_bytes(b"x")
    version.publish()
    assert not left.exists()


def test_certificates_behind_a_link_are_not_written(version: Version, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (version.folder / "certificates").symlink_to(tmp_path / "elsewhere")
    assert "certificates is a symbolic link" in version.refused(NotAllowed)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_version_behind_a_link_is_published_where_it_really_is(version: Version, tmp_path: Path) -> None:
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "1").symlink_to(version.folder)
    version.standing = Standing.of("m/1", tmp_path / "repository" / "1")
    version.publish()
    assert (version.folder / "model.int8.tflite").is_file()


def test_a_form_that_is_there_is_said_before_anything_is_converted(version: Version) -> None:
    check_free(version.standing, INT8, replace=False)
    version.publish()
    with pytest.raises(Conflict, match=r"has a model\.int8\.tflite already"):
        check_free(version.standing, INT8, replace=False)
    check_free(version.standing, INT8, replace=True)
