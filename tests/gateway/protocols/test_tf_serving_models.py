"""What TF Serving's clients are told of models: states, signatures, and what is not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

import adapters.errors
import gateway.errors
from adapters.errors import InvalidInput, ServingError
from adapters.tensors import DataType, Signature, TensorSpec
from gateway.errors import ModelNotFound
from gateway.protocols.tf_serving import STATUS, check_signature_name, encode_error, in_their_words
from gateway.protocols.tf_serving_models import describe_metadata, describe_signature, describe_status
from gateway.types import Deployment, ModelTable, Standing, State, Target


def test_every_error_has_a_status() -> None:
    modules = (adapters.errors, gateway.errors)
    errors = {each for module in modules for each in vars(module).values() if isinstance(each, type)}
    assert {each for each in errors if issubclass(each, ServingError)} - {ServingError} == set(STATUS)


def test_an_error_s_body_is_its_text() -> None:
    assert json.loads(encode_error(InvalidInput('say "x"\n'))) == {"error": 'say "x"\n'}


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (Target("m"), "Servable not found for request: Latest(m); ours"),
        (Target("m", 7), "Servable not found for request: Specific(m, 7); ours"),
        (Target("m", 7, backend="tflite"), "Servable not found for request: Specific(m@tflite, 7); ours"),
    ],
)
def test_what_is_not_there_is_said_in_tf_serving_s_words_and_then_ours(target: Target, says: str) -> None:
    told = in_their_words(target, ModelNotFound("ours"))
    assert (type(told), str(told)) == (ModelNotFound, says)


def test_a_label_that_is_not_there_is_the_caller_s_mistake() -> None:
    told = in_their_words(Target("m", label="x"), ModelNotFound("ours"))
    assert (type(told), str(told)) == (InvalidInput, "Unrecognized servable version label: x; ours")


def test_one_signature_is_everywhere_and_no_other() -> None:
    check_signature_name("")
    check_signature_name("serving_default")
    with pytest.raises(InvalidInput, match=r'^Serving signature name: "x" not found in signature def'):
        check_signature_name("x")


def table(labels: dict[str, int] | None = None, **states: State) -> dict[str, ModelTable]:
    """The model m; deployments as v1_tflite=State.READY."""
    standings = {}
    for key, state in states.items():
        version, backend = key.removeprefix("v").split("_")
        standings[Deployment("m", int(version), backend)] = Standing(state, "why" if state is State.FAILED else "")
    return {"m": ModelTable("m", (), labels or {}, standings)}


def states(target: Target, tables: dict[str, ModelTable]) -> list[tuple[str, str, str, str]]:
    return [
        (each["version"], each["state"], each["status"]["error_code"], each["status"]["error_message"])
        for each in describe_status(target, tables)["model_version_status"]
    ]


def test_versions_are_told_newest_first_with_their_states() -> None:
    tables = table(
        v1_a=State.DRAINING,
        v2_a=State.READY,
        v3_a=State.LOADING,
        v4_a=State.FOUND,
        v5_a=State.FAILED,
        v10_a=State.READY,
    )
    assert states(Target("m"), tables) == [
        ("10", "AVAILABLE", "OK", ""),
        ("5", "END", "UNKNOWN", "why"),
        ("4", "START", "OK", ""),
        ("3", "LOADING", "OK", ""),
        ("2", "AVAILABLE", "OK", ""),
        ("1", "UNLOADING", "OK", ""),
    ]


def test_a_version_is_available_if_any_of_its_deployments_is() -> None:
    tables = table(v1_a=State.FAILED, v1_b=State.READY, v2_a=State.FAILED, v2_b=State.LOADING)
    assert [state for _, state, _, _ in states(Target("m"), tables)] == ["LOADING", "AVAILABLE"]
    assert states(Target("m", backend="a"), tables)[1] == ("1", "END", "UNKNOWN", "why")


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_word(state: State) -> None:
    (told,) = describe_status(Target("m"), table(v1_a=state))["model_version_status"]
    assert told["state"] in ("START", "LOADING", "AVAILABLE", "UNLOADING", "END")


def test_a_version_or_a_label_leaves_the_others_out() -> None:
    tables = table({"canary": 2}, v1_a=State.READY, v2_a=State.READY)
    assert [version for version, *_ in states(Target("m", 1), tables)] == ["1"]
    assert [version for version, *_ in states(Target("m", label="canary"), tables)] == ["2"]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (Target("n"), "Could not find any versions of model n; it is not in the repository"),
        (Target("n", label="x"), "Could not find any versions of model n; it is not in the repository"),
        (Target("m", 7), "Could not find version 7 of model m; there are: 1"),
        (Target("m", backend="b"), "Could not find any versions of model m@b; there are: 1"),
        (Target("m", label="x"), "Could not find label x of model m; there are: canary"),
    ],
)
def test_what_has_no_state_is_not_found(target: Target, says: str) -> None:
    with pytest.raises(ModelNotFound) as raised:
        describe_status(target, table({"canary": 1}, v1_a=State.READY))
    assert str(raised.value) == says


def test_a_signature_is_told_as_tf_serving_tells_its_own(test_data: Callable[[str], Path]) -> None:
    real = json.loads(test_data("tf/serving/half_plus_two_model_metadata.json").read_text())
    half = Signature((TensorSpec("x", DataType.FP32, (None, 1)),), (TensorSpec("y", DataType.FP32, (None, 1)),))
    ours = describe_metadata("default", 123, describe_signature(half))
    theirs = real["metadata"]["signature_def"]["signature_def"]
    assert ours["model_spec"] == real["model_spec"]
    for side in ("inputs", "outputs"):
        for name, tensor in theirs["serving_default"][side].items():
            tensor["name"] = name  # what their graph calls it, ours has no graph to say
    assert ours["metadata"]["signature_def"]["signature_def"] == {"serving_default": theirs["serving_default"]}


def test_any_rank_is_told_as_unknown() -> None:
    told = describe_signature(Signature((TensorSpec("x", DataType.BYTES, None),), ()))["serving_default"]["inputs"]["x"]
    assert told["tensor_shape"] == {"dim": [], "unknown_rank": True}


@pytest.mark.skipif(find_spec("tensorflow") is None, reason="tensorflow is not installed")
@pytest.mark.parametrize("datatype", DataType)
def test_datatypes_have_tensorflow_s_names(datatype: DataType) -> None:
    from adapters.tfserving.protos import types_pb2
    from adapters.tfserving.tensor_proto import number_of

    told = describe_signature(Signature((TensorSpec("x", datatype, ()),), ()))["serving_default"]["inputs"]["x"]
    assert told["dtype"] == types_pb2.DataType.Name(number_of(datatype))
