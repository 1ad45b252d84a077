from __future__ import annotations

import pytest

from adapters.export.formats import PRECISIONS, Form, Format, Precision
from adapters.export.paths import STEPS, NoRoute, route, routes

KERAS, SAVED_MODEL, TORCHSCRIPT = Form(Format.KERAS), Form(Format.SAVED_MODEL), Form(Format.TORCHSCRIPT)
EXPORTED, ONNX, TFLITE = Form(Format.EXPORTED), Form(Format.ONNX), Form(Format.TFLITE)


def names(have: set[Form], want: Form, *, fixed: bool = False) -> list[str]:
    return [step.name for step in route(have, want, fixed=fixed)]


@pytest.mark.parametrize(
    ("have", "want", "expected"),
    [
        ({KERAS}, TFLITE, ["keras_to_saved_model", "saved_model_to_tflite"]),
        ({SAVED_MODEL, ONNX}, TFLITE, ["saved_model_to_tflite"]),
        ({TORCHSCRIPT}, TFLITE, ["torchscript_to_onnx", "onnx_to_saved_model", "saved_model_to_tflite"]),
        ({TORCHSCRIPT, ONNX}, TFLITE, ["onnx_to_saved_model", "saved_model_to_tflite"]),
        ({ONNX}, Form(Format.TFLITE, Precision.INT8), ["onnx_to_saved_model", "saved_model_to_tflite"]),
        ({SAVED_MODEL}, Form(Format.ORT), ["saved_model_to_onnx", "onnx_to_ort"]),
        ({TORCHSCRIPT}, Form(Format.PTE), ["torchscript_to_exported", "exported_to_executorch"]),
        ({SAVED_MODEL}, Form(Format.ONNX, Precision.INT8), ["saved_model_to_onnx", "onnx_quantized"]),
        ({ONNX}, Form(Format.TFJS), ["onnx_to_saved_model", "saved_model_to_tfjs"]),
    ],
)
def test_the_first_route_is_the_cheapest_that_keeps_free_axes(have: set[Form], want: Form, expected: list[str]) -> None:
    assert names(have, want) == expected


def test_with_fixed_shapes_the_cheapest_route_comes_first_whatever_it_fixes() -> None:
    assert names({EXPORTED}, TFLITE, fixed=True) == ["exported_to_tflite"]
    assert names({EXPORTED}, TFLITE) == ["exported_to_onnx", "onnx_to_saved_model", "saved_model_to_tflite"]


def test_other_routes_follow_for_when_the_first_does_not_work() -> None:
    ways = [[step.name for step in way] for way in routes({TORCHSCRIPT}, TFLITE)]
    assert ["torchscript_to_exported", "exported_to_tflite"] in ways[1:]
    assert all(len(set(way)) == len(way) for way in ways)


def test_no_route_leads_through_what_is_there_already() -> None:
    for way in routes({TORCHSCRIPT, ONNX, SAVED_MODEL}, TFLITE):
        assert not {step.target for step in way[:-1]} & {TORCHSCRIPT, ONNX, SAVED_MODEL}


def test_what_is_there_may_be_made_anew_from_another_source() -> None:
    assert names({SAVED_MODEL, TFLITE}, TFLITE) == ["saved_model_to_tflite"]


def test_no_route_says_what_is_there_and_what_would_do() -> None:
    with pytest.raises(NoRoute, match=r"no way to pte from what the version has \(saved_model\).*: pt2, torchscript"):
        routes({SAVED_MODEL}, Form(Format.PTE))
    with pytest.raises(NoRoute, match=r"nothing that could be converted"):
        routes(set(), TFLITE)
    with pytest.raises(NoRoute, match=r"nothing is converted to keras; expected one of onnx, onnx-dynamic"):
        routes({SAVED_MODEL}, KERAS)


def test_each_step_makes_a_form_that_its_format_can_have() -> None:
    for step in STEPS:
        assert step.target.precision in PRECISIONS[step.target.format]
        assert step.source.precision is Precision.FP32  # what is quantized is no source: its errors would add up
