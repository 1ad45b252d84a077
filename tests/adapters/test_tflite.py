"""TensorFlow Lite gives the right answers, for one row or many, by either of its packages."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert
from PIL import Image

from adapters import tflite
from adapters.errors import LoadFailed
from adapters.tensors import DataType, TensorSpec
from adapters.tflite import TfliteRuntime, TfliteSession

DIGITS = Path(__file__).resolve().parents[2] / "model_repo/digits/1"


@pytest.fixture
def digits() -> TfliteSession:
    return TfliteRuntime().load(DIGITS / "model.tflite", {"threads": 1})


@pytest.fixture
def golden() -> dict[str, Any]:
    with np.load(DIGITS / "golden.npz") as arrays:
        return {name.split("/")[0]: arrays[name] for name in arrays.files}


def test_a_photograph_of_a_cat_is_an_egyptian_cat(test_data: Callable[[str], Path]) -> None:
    session = TfliteRuntime().load(test_data("tflite/coral/mobilenet_v2_1.0_224_quant.tflite"), {})
    (spec,) = session.signature.inputs
    assert (spec.datatype, spec.shape) == (DataType.UINT8, (1, 224, 224, 3))
    image = Image.open(test_data("inputs/cat.bmp")).convert("RGB").resize((224, 224), Image.Resampling.LANCZOS)
    (scores,) = session.run({spec.name: np.asarray(image)[np.newaxis]}).values()
    labels = test_data("tflite/coral/imagenet_labels.txt").read_text().splitlines()
    assert "Egyptian cat" in labels[scores[0].argmax()]
    assert scores.max() / 256 == pytest.approx(0.746, abs=0.01)


def test_tensors_have_the_names_of_the_model_s_signature(digits: TfliteSession) -> None:
    assert digits.signature.inputs == (TensorSpec("image", DataType.FP32, (None, 8, 8)),)
    assert digits.signature.outputs == (TensorSpec("probabilities", DataType.FP32, (None, 10)),)


def test_batches_of_changing_sizes_get_each_row_s_own_answer(digits: TfliteSession, golden: dict[str, Any]) -> None:
    images, right = golden["inputs"], golden["outputs"]
    start = 0
    for rows in (1, 5, 5, 2, 1, 3, 5):
        some = np.arange(start, start + rows) % len(images)
        (scores,) = digits.run({"image": images[some]}).values()
        np.testing.assert_allclose(scores, right[some], atol=1e-4)
        start += rows


def test_more_shapes_than_are_kept_are_answered_all_the_same(digits: TfliteSession, golden: dict[str, Any]) -> None:
    images, right = golden["inputs"], golden["outputs"]
    some = np.arange(20) % len(images)
    for rows in (*range(1, 21), 1):
        (scores,) = digits.run({"image": images[some[:rows]]}).values()
        np.testing.assert_allclose(scores, right[some[:rows]], atol=1e-4)


def test_an_answer_is_not_overwritten_by_the_next(digits: TfliteSession, golden: dict[str, Any]) -> None:
    first = digits.run({"image": golden["inputs"][:1]})["probabilities"]
    before = first.copy()
    digits.run({"image": golden["inputs"][1:2]})
    assert first.tolist() == before.tolist()


@pytest.mark.parametrize("becomes", ["another model", "gone", "garbage"])
def test_a_loaded_model_does_not_change_with_its_file(tmp_path: Path, golden: dict[str, Any], becomes: str) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes((DIGITS / "model.tflite").read_bytes())
    session = TfliteRuntime().load(path, {})
    path.unlink()
    if becomes != "gone":
        path.write_bytes(b"TFL3" * 9)
    (scores,) = session.run({"image": golden["inputs"][:7]}).values()
    np.testing.assert_allclose(scores, golden["outputs"][:7], atol=1e-4)


def test_a_wrong_shape_is_an_error_and_the_next_right_one_is_answered(
    digits: TfliteSession, golden: dict[str, Any]
) -> None:
    with pytest.raises((RuntimeError, ValueError)):
        digits.run({"image": np.zeros((1, 3), np.float32)})
    (scores,) = digits.run({"image": golden["inputs"][:2]}).values()
    np.testing.assert_allclose(scores, golden["outputs"][:2], atol=1e-4)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").touch()
    with pytest.raises(LoadFailed, match=r"^model\.tflite is empty$"):
        TfliteRuntime().load(tmp_path / "model.tflite", {})


def test_the_runtime_names_itself_with_its_version() -> None:
    assert TfliteRuntime().describe() == f"LiteRT {importlib.metadata.version('ai-edge-litert')}"


class Fixed:
    """An interpreter of a model without a signature, with one tensor of a datatype that no protocol has."""

    def __init__(self, **_: Any) -> None:
        self.kind: Any = np.complex64

    def get_signature_list(self) -> dict[str, Any]:
        return {}

    def get_input_details(self) -> list[dict[str, Any]]:
        return [{"name": "x:0", "index": 0, "dtype": self.kind, "shape": np.array([1, 2])}]

    get_output_details = get_input_details


def test_a_tensor_that_no_protocol_can_carry_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(b"any")
    monkeypatch.setattr(tflite, "Interpreter", Fixed)
    with pytest.raises(LoadFailed, match="'x:0' is of type complex64, which no protocol can carry"):
        TfliteRuntime().load(tmp_path / "model.tflite", {})


@pytest.mark.parametrize(("options", "delegated"), [({}, True), ({"xnnpack": True}, True), ({"xnnpack": False}, False)])
def test_xnnpack_can_be_left_out_and_the_answers_stay(
    golden: dict[str, Any], options: dict[str, Any], delegated: bool
) -> None:
    session = TfliteRuntime().load(DIGITS / "model.tflite", {"threads": 1, **options}).share()
    (scores,) = session.run({"image": golden["inputs"][:5]}).values()
    np.testing.assert_allclose(scores, golden["outputs"][:5], atol=1e-4)
    (interpreter,) = session._interpreters.values()
    assert ("DELEGATE" in {each["op_name"] for each in interpreter._get_ops_details()}) is delegated


@pytest.fixture
def only_tflite_runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module as it is where not LiteRT but its predecessor is installed."""
    predecessor = ModuleType("tflite_runtime.interpreter")
    predecessor.Interpreter = litert.Interpreter  # type: ignore[attr-defined]
    predecessor.OpResolverType = litert.OpResolverType  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setitem(sys.modules, "tflite_runtime", ModuleType("tflite_runtime"))
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", predecessor)
    monkeypatch.setattr(importlib.metadata, "version", {"tflite-runtime": "2.14.0"}.__getitem__)
    yield importlib.reload(tflite)
    monkeypatch.undo()
    importlib.reload(tflite)


def test_tflite_runtime_does_where_litert_is_not_installed(only_tflite_runtime: Any, golden: dict[str, Any]) -> None:
    runtime = only_tflite_runtime.TfliteRuntime()
    assert runtime.describe() == "tflite-runtime 2.14.0"
    (scores,) = runtime.load(DIGITS / "model.tflite", {}).run({"image": golden["inputs"][:2]}).values()
    np.testing.assert_allclose(scores, golden["outputs"][:2], atol=1e-4)
