"""Uploads on disk: whole, private, and ready at once."""

from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath

from gateway.plans import Planner
from gateway.repository import Snapshot
from gateway.uploads import Uploads
from gateway.versions import Wish

MODEL, DATA = PurePosixPath("1/model.onnx"), PurePosixPath("1/deep/down/weights.bin")


def test_an_upload_is_a_model_with_its_files(tmp_path: Path) -> None:
    upload = Uploads(tmp_path / "uploads").write("m", {MODEL: b"graph", DATA: b"weights"})
    assert (upload.name, list(upload.versions)) == ("m", [1])
    assert [each.name for each in upload.versions[1].artifacts["onnxruntime"].files] == [
        "deep/down/weights.bin",
        "model.onnx",
    ]
    assert (upload.path / DATA).read_bytes() == b"weights"
    assert stat.S_IMODE((tmp_path / "uploads").stat().st_mode) == 0o700


def test_nobody_waits_for_it_to_settle(tmp_path: Path) -> None:
    upload = Uploads(tmp_path).write("m", {MODEL: b"graph"})
    (plan,) = Planner(("onnxruntime",), settle_s=1000).plan(Snapshot({"m": upload}), monotonic_s=0).values()
    assert plan.wanted.wish is Wish.SERVE


def test_two_uploads_of_one_model_are_apart_and_go_one_by_one(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    first, second = (uploads.write("m", {MODEL: content}) for content in (b"a", b"b"))
    uploads.remove(first)
    assert [each.read_bytes() for each in tmp_path.rglob("model.onnx")] == [b"b"]
    uploads.remove(second)
    uploads.remove(second)
    assert list(tmp_path.iterdir()) == []
