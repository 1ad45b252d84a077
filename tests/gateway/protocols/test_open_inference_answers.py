"""Answers of the Open Inference Protocol V2, and the one table from errors to its statuses."""

from __future__ import annotations

import json
import re
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import adapters
import gateway
from adapters.errors import InvalidInput, ServingError
from adapters.tensors import DataType, Tensor
from gateway.protocols.grpc_status import GRPC_STATUS
from gateway.protocols.open_inference import STATUS, Form, decode_infer, encode_error, encode_infer
from gateway.types import Deployment, InferResponse, Target
from tests.strategies import tensors, widened


def answer(non_finite: bool = False, **outputs: Tensor) -> dict[str, Any]:
    """An answer as the client reads it."""
    response = InferResponse("7", Deployment("digits", 2, "tflite"), "LiteRT 2.1", outputs)
    (head,), length = encode_infer(response, Form(non_finite))
    assert length is None
    body: dict[str, Any] = json.loads(head)
    return body


def test_an_answer_says_who_gave_it_and_is_flat_and_row_major() -> None:
    y = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert answer(y=y, label=np.array([b"seven"], object)) == {
        "model_name": "digits",
        "model_version": "2",
        "id": "7",
        "parameters": {"backend": "tflite", "runtime": "LiteRT 2.1"},
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [3, 2], "data": [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]},
            {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["seven"]},
        ],
    }


def test_an_answer_to_a_request_without_an_id_has_none() -> None:
    response = InferResponse(None, Deployment("m", 1, "tflite"), "r", {})
    assert "id" not in json.loads(encode_infer(response)[0][0])


@given(tensors([each for each in DataType if each is not DataType.BF16], elements=st.text(max_size=5).map(str.encode)))
def test_what_is_answered_can_be_sent_as_a_request_again(tensor: Tensor) -> None:
    (output,) = answer(non_finite=True, y=tensor)["outputs"]
    body = orjson.dumps({"inputs": [output], "parameters": {"non_finite": "string"}})
    back = decode_infer(Target("digits"), body)[0].inputs["y"]
    assert (back.dtype, back.shape) == (tensor.dtype, tensor.shape)
    if tensor.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            assert np.array_equal(widened(back), widened(tensor), equal_nan=True)
    else:
        assert back.tolist() == tensor.tolist()


def test_numbers_that_json_lacks_are_an_error_unless_asked_for_as_strings() -> None:
    y = np.array([1.0, np.nan, -np.inf], np.float32)
    with pytest.raises(InvalidInput, match=r'output \'y\' holds NaN.*"non_finite": "string"'):
        answer(y=y)
    assert answer(non_finite=True, y=y)["outputs"][0]["data"] == [1.0, "NaN", "-Infinity"]


def all_errors(kind: type[ServingError] = ServingError) -> set[type[ServingError]]:
    return {kind}.union(*(all_errors(each) for each in kind.__subclasses__()))


def test_every_error_has_its_status() -> None:
    for package in (adapters, gateway):
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            if re.fullmatch(r"adapters\.errors|gateway\.\w+|gateway\.(protocols|control)\.\w+", module.name):
                import_module(module.name)
    ours = {each for each in all_errors() if each.__module__.startswith(("adapters", "gateway"))}
    ours = {each for each in ours if not each.__module__.startswith("adapters.export.")}  # ends of jobs, no answers
    assert ours - {ServingError} == set(STATUS) == set(GRPC_STATUS)
    assert all(400 <= status < 600 for status in STATUS.values())


def test_an_error_is_one_line_of_json() -> None:
    assert encode_error(InvalidInput('it is\n"so"')) == b'{"error":"it is\\n\\"so\\""}'
