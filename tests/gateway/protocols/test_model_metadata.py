"""What V2 tells of a model, in JSON's form."""

from __future__ import annotations

from adapters.base import Endpoint
from adapters.tensors import DataType, Signature, TensorSpec
from gateway.protocols.model_metadata import configure_model, describe_model

SIGNATURE = Signature(
    (TensorSpec("x", DataType.FP32, (None, 8, 8)),),
    (TensorSpec("a", DataType.BYTES, None), TensorSpec("b", DataType.BF16, ())),
)
BATCHED = Signature((TensorSpec("x", DataType.FP32, (None, 8, 8)),), (TensorSpec("y", DataType.BYTES, (None, None)),))


def endpoint(signature: Signature, **remote: str) -> Endpoint:
    return Endpoint("onnxruntime", "unix:/x", signature, "onnxruntime 1.32", 1, remote)


def test_a_model_is_described_with_minus_one_for_any_size() -> None:
    assert describe_model("digits", [1, 2], endpoint(SIGNATURE)) == {
        "name": "digits",
        "versions": ["1", "2"],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 8, 8]}],
        "outputs": [{"name": "a", "datatype": "BYTES", "shape": [-1]}, {"name": "b", "datatype": "BF16", "shape": []}],
        "parameters": {"backend": "onnxruntime", "runtime": "onnxruntime 1.32"},
    }


def test_the_configuration_of_what_is_batched_leaves_the_batch_axis_out() -> None:
    config = configure_model("digits", [2], endpoint(BATCHED, max_rows="32"))
    assert config["max_batch_size"] == 32
    assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [8, 8]}]
    assert config["output"] == [{"name": "y", "data_type": "TYPE_STRING", "dims": [-1]}]


def test_the_configuration_of_what_is_not_batched_has_whole_shapes() -> None:
    for unbatched in (endpoint(BATCHED, max_rows="1"), endpoint(BATCHED), endpoint(SIGNATURE, max_rows="32")):
        config = configure_model("digits", [2], unbatched)
        assert (config["max_batch_size"], config["input"][0]["dims"]) == (0, [-1, 8, 8])
