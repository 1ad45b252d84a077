from __future__ import annotations

from pathlib import Path

import pytest

from adapters.errors import InvalidInput
from adapters.export.formats import Form, Format, Precision, form_named, forms_in


@pytest.mark.parametrize(
    ("to", "quantize", "file", "backend"),
    [
        ("tflite", None, "model.tflite", "tflite"),
        ("tflite", "int8", "model.int8.tflite", "tflite-int8"),
        ("tflite", "fp16", "model.fp16.tflite", "tflite-fp16"),
        ("onnx", "dynamic", "model.dynamic.onnx", "onnxruntime-dynamic"),
        ("ort", "fp32", "model.ort", "onnxruntime-ort"),
        ("saved_model", None, "saved_model", "tfserving"),
        ("pte", None, "model.pte", None),
        ("tfjs", None, "tfjs", None),
    ],
)
def test_a_form_has_a_file_and_the_backend_that_serves_it(
    to: str, quantize: str | None, file: str, backend: str | None
) -> None:
    form = form_named(to, quantize)
    assert (form.file_name, form.backend) == (file, backend)


def test_an_unknown_form_is_refused_with_what_there_is() -> None:
    with pytest.raises(InvalidInput, match=r"to: expected one of keras, .*, got 'coreml'"):
        form_named("coreml")
    with pytest.raises(InvalidInput, match=r"quantize: onnx is written in fp32, dynamic, int8, got 'fp16'"):
        form_named("onnx", "fp16")


def test_sources_are_found_and_variants_are_none(tmp_path: Path) -> None:
    for name in ("model.onnx", "model.int8.onnx", "model.tflite", "other.pt", "golden.npz"):
        (tmp_path / name).touch()
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "saved_model" / "saved_model.pb").touch()
    (tmp_path / "model.pt2").symlink_to("/etc/passwd")
    assert forms_in(tmp_path) == {
        Form(Format.ONNX): tmp_path / "model.onnx",
        Form(Format.TFLITE): tmp_path / "model.tflite",
        Form(Format.TORCHSCRIPT): tmp_path / "other.pt",
        Form(Format.SAVED_MODEL): tmp_path / "saved_model",
    }


def test_of_several_files_the_one_called_model_is_the_source(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").touch()
    (tmp_path / "b.onnx").touch()
    assert forms_in(tmp_path) == {}
    (tmp_path / "model.onnx").touch()
    assert forms_in(tmp_path) == {Form(Format.ONNX): tmp_path / "model.onnx"}


def test_a_name_with_a_dot_that_is_no_variant_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "mobilenet_v2_1.0_224.onnx").touch()
    assert Form(Format.ONNX, Precision.FP32) in forms_in(tmp_path)
