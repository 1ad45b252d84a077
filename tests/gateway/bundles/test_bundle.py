"""Bundles of real models: what goes in, what a device can check itself by, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from adapters.errors import InferenceFailed, InvalidInput, ServingError
from gateway.bundles.bundle import Wanted, bundle
from gateway.bundles.contents import choose, weights_in
from gateway.bundles.manifest import TARGETS
from gateway.bundles.opening import OpenedBundle, extract, open_bundle
from gateway.errors import Conflict, ModelNotFound, NotAllowed
from tests.conftest import ROOT
from tests.e2e.models import add_model

X = np.arange(40, dtype=np.float32).reshape(20, 2)
WANTED = Wanted("m", 1, "browser")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A version whose model is y = x + 1, with 20 golden rows, labels and a licence."""
    folder = tmp_path / "m" / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(add_model(1))
    np.savez(folder / "golden.npz", **{"inputs/x": X, "outputs/y": X + 1})
    (folder / "labels.txt").write_text("zero\none\n")
    (folder.parent / "LICENSE").write_text("do as you like")
    (tmp_path / "out").mkdir()
    return folder


async def made(folder: Path, wanted: Wanted = WANTED) -> tuple[OpenedBundle, tuple[str, ...]]:
    written = await bundle(wanted, folder, folder.parents[1] / "out")
    return open_bundle(written.path), written.lacks


async def refused(kind: type[ServingError], folder: Path, **changes: Any) -> str:
    out = folder.parents[1] / "out"
    with pytest.raises(kind) as raised:
        await bundle(replace(WANTED, **changes), folder, out)
    assert not list(out.iterdir())
    return str(raised.value)


async def test_a_bundle_has_all_that_a_device_needs(folder: Path) -> None:
    opened, lacks = await made(folder, replace(WANTED, min_app="2.1"))
    manifest, golden = opened.manifest, opened.golden
    assert opened.path.name == "m-1-browser.zip"
    assert (manifest.runtime, manifest.precision, manifest.model_file) == ("onnxruntime", "fp32", "model.onnx")
    assert (manifest.labels, manifest.licence, manifest.min_app) == ("labels.txt", "LICENSE", "2.1")
    assert set(manifest.files) == {"model.onnx", "labels.txt", "LICENSE", "golden.json"}
    assert [(each.name, each.datatype, each.shape) for each in manifest.inputs] == [("x", "FP32", (-1, 2))]
    assert golden is not None
    assert manifest.tolerance is not None
    (x,), (y,) = golden.inputs, golden.outputs
    assert (x.shape, y.shape) == ((16, 2), (16, 2))
    assert np.allclose(np.array(y.data), np.array(x.data) + 1, atol=manifest.tolerance.max_abs)
    assert (x.data[0], x.data[-1]) == (0.0, 39.0), "rows are from all over the file"
    assert 0 < manifest.tolerance.max_abs < 0.1
    assert lacks == ("a certificate: it was not exported here",)


async def test_the_same_version_gives_the_same_bytes(folder: Path) -> None:
    first, _ = await made(folder)
    second, _ = await made(folder)
    assert first.digest == second.digest


async def test_weights_in_files_beside_an_onnx_model_come_along_and_other_files_do_not(folder: Path) -> None:
    model = onnx.load_model_from_string(add_model(1))
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones(2, np.float32), "k"))
    onnx.save_model(model, folder / "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    (folder / "README.md").write_text("words")
    opened, _ = await made(folder)
    assert set(opened.manifest.files) == {"model.onnx", "w.bin", "labels.txt", "LICENSE", "golden.json"}
    copied = folder.parents[1] / "copied"
    copied.mkdir()
    extract(opened, copied)
    assert (copied / "w.bin").read_bytes() == (folder / "w.bin").read_bytes()


async def test_a_model_whose_batch_is_fixed_has_as_many_golden_rows(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(fixed_model(3))
    opened, _ = await made(folder)
    assert opened.manifest.inputs[0].shape == (3, 2)
    assert opened.golden is not None
    assert opened.golden.inputs[0].shape == (3, 2)


def fixed_model(rows: int) -> bytes:
    """y = x + x; FP32 [rows, 2]."""
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, 2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "fixed", infos[:1], infos[1:])
    model: bytes = helper.make_model(
        graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)]
    ).SerializeToString()
    return model


async def test_without_golden_rows_it_says_what_to_do_and_can_do_without(folder: Path) -> None:
    (folder / "golden.npz").unlink()
    said = await refused(InvalidInput, folder)
    assert "m/1 has no golden.npz" in said
    assert "--golden FILE" in said
    assert "--without-golden" in said
    opened, lacks = await made(folder, replace(WANTED, without_golden=True))
    assert (opened.golden, opened.manifest.golden, opened.manifest.tolerance) == (None, None, None)
    assert opened.manifest.inputs[0].shape == (-1, 2)
    assert lacks[0] == "golden data: devices cannot check themselves"
    np.savez(folder.parent / "rows.npz", **{"inputs/x": X[:2]})
    opened, _ = await made(folder, replace(WANTED, golden=folder.parent / "rows.npz"))
    assert opened.golden is not None


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"inputs/x": X.reshape(10, 4)}, "'x'"),
        ({"inputs/x": X.astype(np.int64)}, "'x'"),
        ({"inputs/x": X, "inputs/z": X}, "inputs x, z"),
        ({"inputs/x": X[:0]}, "is empty"),
        ({"inputs/x": np.full((2, 2), np.nan, np.float32)}, "NaN"),
        ({"x": X}, "expected arrays inputs/<tensor>"),
    ],
    ids=["shape", "datatype", "one too many", "empty", "NaN", "names"],
)
async def test_golden_rows_that_do_not_fit_the_model_are_refused(
    folder: Path, arrays: dict[str, np.ndarray], says: str
) -> None:
    np.savez(folder / "golden.npz", **arrays)
    assert says in await refused(InvalidInput, folder)


async def test_a_model_that_answers_no_numbers_gives_no_bundle(folder: Path) -> None:
    np.savez(folder / "golden.npz", **{"inputs/x": np.full((2, 2), 3e38, np.float32)})
    (folder / "model.onnx").write_bytes(add_model(3e38))
    assert "'y': the golden rows give a NaN or an infinity" in await refused(InvalidInput, folder)


async def test_a_file_that_is_no_model_gives_no_bundle(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"rubbish")
    assert "it cannot be loaded" in await refused(InferenceFailed, folder)


async def test_labels_that_are_no_text_are_refused(folder: Path) -> None:
    (folder / "labels.txt").write_bytes(b"\xff\xfe")
    assert (await refused(InvalidInput, folder)).startswith("labels: expected one label a line")


async def test_what_cannot_be_written_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gateway.bundles.archive.os.fsync", full)
    assert "m-1-browser.zip cannot be written: No space left" in await refused(NotAllowed, folder)


async def test_a_certificate_of_other_bytes_is_refused(folder: Path, certified: Callable[[Path, str], None]) -> None:
    certified(folder, "onnxruntime")
    opened, lacks = await made(folder)
    assert "certificate.json" in opened.manifest.files
    assert not lacks
    opened.path.unlink()
    (folder / "model.onnx").write_bytes(add_model(2))
    assert "certificates/onnxruntime.json is of other bytes than model.onnx" in await refused(Conflict, folder)


def test_the_target_s_first_runtime_that_is_there_is_taken_in_full_precision(folder: Path) -> None:
    for name in ("model.int8.onnx", "model.tflite", "model.int8.tflite", "model.pte", "model.ort"):
        (folder / name).write_bytes(b"x")
    (folder / "tfjs").mkdir()
    (folder / "tfjs" / "model.json").write_text("{}")
    there = weights_in(folder)
    chosen = {target: choose(there, target, None, "m/1").backend for target in TARGETS}
    assert chosen == {**dict.fromkeys(TARGETS, "tflite"), "browser": "onnxruntime"}
    assert choose(there, "android", "tflite-int8", "m/1").form.precision == "int8"
    assert choose(there, "android", "onnxruntime-ort", "m/1").model_file == "model.ort"
    assert choose(there, "browser", "tfjs", "m/1").files == {"tfjs/model.json": folder / "tfjs" / "model.json"}
    (folder / "model.tflite").unlink()
    assert choose(weights_in(folder), "ios", None, "m/1").backend == "executorch"


def test_what_a_target_cannot_have_is_said_with_what_there_is(folder: Path) -> None:
    there = weights_in(folder)
    for target, backend, kind, says in (
        ("android", "tflite", ModelNotFound, "m/1 has no artifact of 'tflite'; there is: onnxruntime"),
        (
            "fridge",
            None,
            InvalidInput,
            "target: expected one of android, ios, browser, linux-arm64, linux-amd64, got 'fridge'",
        ),
    ):
        with pytest.raises(kind) as raised:
            choose(there, target, backend, "m/1")
        assert str(raised.value) == says
    with pytest.raises(
        ModelNotFound, match=r"there is: nothing that can be bundled; torii export m/1 --to tflite makes"
    ):
        choose({}, "android", None, "m/1")


async def test_the_sample_model_is_bundled_as_tflite(tmp_path: Path) -> None:
    folder = tmp_path / "digits" / "1"
    shutil.copytree(ROOT / "model_repo" / "digits" / "1", folder)
    made = await bundle(Wanted("digits", 1, "android"), folder, tmp_path)
    opened = open_bundle(made.path)
    assert (opened.manifest.runtime, opened.manifest.model_file) == ("tflite", "model.tflite")
    assert opened.golden is not None
    assert [(each.name, each.shape) for each in opened.golden.outputs] == [("probabilities", (16, 10))]


async def test_other_people_s_quantized_model_is_bundled_with_a_row_of_its_own(
    tmp_path: Path, test_data: Callable[[str], Path]
) -> None:
    (found,) = sorted(test_data("tflite").rglob("*.tflite"))[:1]
    folder = tmp_path / "mobilenet" / "1"
    folder.mkdir(parents=True)
    shutil.copy(found, folder)
    made = await bundle(Wanted("mobilenet", 1, "android", without_golden=True), folder, tmp_path)
    (image,) = made.manifest.inputs
    row = np.random.default_rng(0).integers(0, 255, image.shape, np.uint8)
    np.savez(tmp_path / "rows.npz", **{f"inputs/{image.name}": row})
    made = await bundle(Wanted("mobilenet", 1, "android", golden=tmp_path / "rows.npz"), folder, tmp_path)
    opened = open_bundle(made.path)
    assert opened.golden is not None
    assert opened.golden.inputs[0].shape == image.shape
