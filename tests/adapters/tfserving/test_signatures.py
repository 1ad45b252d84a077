from __future__ import annotations

import pytest

from adapters.errors import LoadFailed
from adapters.tensors import DataType, TensorSpec
from adapters.tfserving.protos import meta_graph_pb2, types_pb2
from adapters.tfserving.signatures import choose_signature

PREDICT = "tensorflow/serving/predict"


def signature(method: str = PREDICT, **dtypes: int) -> meta_graph_pb2.SignatureDef:
    made = meta_graph_pb2.SignatureDef(method_name=method)
    for name, dtype in dtypes.items():
        made.inputs[name].name = f"{name}:0"
        made.inputs[name].dtype = dtype
    return made


@pytest.mark.parametrize(
    ("there", "asked", "chosen"),
    [
        ({"serving_default": signature(), "predict": signature(), "a": signature()}, None, "serving_default"),
        ({"serving_default": signature(), "other": signature()}, "other", "other"),
        ({"predict": signature(), "a": signature()}, None, "predict"),
        ({"b": signature(), "a": signature("tensorflow/serving/classify"), "c": signature()}, None, "b"),
    ],
)
def test_the_signature_is_the_asked_one_or_the_usual_one(
    there: dict[str, meta_graph_pb2.SignatureDef], asked: str | None, chosen: str
) -> None:
    assert choose_signature(there, asked)[0] == chosen


def test_an_asked_signature_that_is_not_there_lists_those_that_are() -> None:
    with pytest.raises(LoadFailed, match="expected one of 'a', 'b', got 'c'"):
        choose_signature({"b": signature(), "a": signature()}, "c")


def test_a_model_without_a_predict_signature_says_how_to_mend_it() -> None:
    with pytest.raises(LoadFailed, match="signature_name"):
        choose_signature({"classify": signature("tensorflow/serving/classify")}, None)


def test_tensors_are_sorted_by_name_and_unknown_sizes_are_none() -> None:
    made = signature(z=types_pb2.DT_FLOAT, a=types_pb2.DT_STRING, m=types_pb2.DT_INT64)
    for size in (-1, 3):
        made.inputs["z"].tensor_shape.dim.add(size=size)
    made.inputs["a"].tensor_shape.unknown_rank = True
    assert choose_signature({"serving_default": made}, None)[1].inputs == (
        TensorSpec("a", DataType.BYTES, None),
        TensorSpec("m", DataType.INT64, ()),
        TensorSpec("z", DataType.FP32, (None, 3)),
    )


def test_tensors_that_no_protocol_carries_are_refused_by_name() -> None:
    with pytest.raises(LoadFailed, match=r"tensor 'x'.*DT_RESOURCE"):
        choose_signature({"serving_default": signature(x=types_pb2.DT_RESOURCE)}, None)


def test_sparse_tensors_are_refused() -> None:
    made = signature(x=types_pb2.DT_FLOAT)
    made.inputs["x"].coo_sparse.values_tensor_name = "values:0"
    with pytest.raises(LoadFailed, match="expected a dense tensor, got coo_sparse"):
        choose_signature({"serving_default": made}, None)
