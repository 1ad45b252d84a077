"""The embedded server as a process, spoken to with TF Serving's own stubs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import ml_dtypes
import numpy as np
import pytest
from google.protobuf import json_format

from adapters.process import free_port
from adapters.tensors import DataType
from adapters.tfserving.embedded import version_folders
from adapters.tfserving.protos import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_server_config_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
    tensorflow_as_folder,
)
from adapters.tfserving.tensor_proto import decode, encode, number_of
from tests.adapters.tfserving.children import run_python, start_embedded

with tensorflow_as_folder():
    from tensorflow.core.example import example_pb2

LIMIT_S = 30.0
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"


class Server:
    def __init__(self, address: str) -> None:
        channel = grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)])
        grpc.channel_ready_future(channel).result(LIMIT_S)
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(channel)

    def configure(self, **base_paths: Path) -> None:
        request = model_management_pb2.ReloadConfigRequest()
        request.config.model_config_list.SetInParent()
        for name, base_path in base_paths.items():
            request.config.model_config_list.config.add(name=name, base_path=str(base_path))
        self.models.HandleReloadConfigRequest(request)

    def states(self, name: str) -> dict[int, tuple[str, str]]:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        state_name = get_model_status_pb2.ModelVersionStatus.State.Name
        return {
            each.version: (state_name(each.state), each.status.error_message)
            for each in self.models.GetModelStatus(request).model_version_status
        }

    def reaches(self, name: str, version: int, *states: str) -> str:
        """Ask until the version is in one of the states; its error."""
        while True:
            state, error = self.states(name)[version]
            if state in states:
                return error

    def predict(self, name: str, inputs: dict[str, Any], **options: Any) -> dict[str, Any]:
        request = predict_pb2.PredictRequest(output_filter=options.get("outputs", ()))
        request.model_spec.name = name
        request.model_spec.signature_name = options.get("signature", "")
        if version := options.get("version"):
            request.model_spec.version.value = version
        for key, value in inputs.items():
            encode(value, request.inputs[key])
        outputs = self.predictions.Predict(request).outputs
        return {key: decode(value) for key, value in outputs.items()}


@pytest.fixture(scope="module")
def folders(
    tmp_path_factory: pytest.TempPathFactory, half_plus_two: Path, save_identity: Callable[..., Path]
) -> SimpleNamespace:
    root = tmp_path_factory.mktemp("models")
    (root / "half").mkdir()
    (root / "half" / "00000123").symlink_to(half_plus_two)
    save_identity(root / "identity" / "1", {datatype.lower(): number_of(datatype) for datatype in DataType})
    (root / "corrupt" / "1").mkdir(parents=True)
    (root / "corrupt" / "1" / "saved_model.pb").write_bytes(b"\xff" * 200)
    return SimpleNamespace(half=root / "half", identity=root / "identity", corrupt=root / "corrupt", root=root)


@pytest.fixture(scope="module")
def server(folders: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    socket = tmp_path_factory.mktemp("s") / "s"
    config = folders.root / "models.config"
    models = "".join(
        f'config {{ name: "{name}" base_path: "{getattr(folders, name)}" }}\n' for name in ("half", "identity")
    )
    config.write_text(f"model_config_list {{ {models} }}")
    flags = ["--port=0", f"--grpc_socket_path={socket}", f"--model_config_file={config}"]
    process = start_embedded(*flags)
    try:
        made = Server(f"unix:{socket}")
        for name, version in (("half", 123), ("identity", 1)):
            made.reaches(name, version, "AVAILABLE")
        yield made
    finally:
        process.terminate()
        assert process.wait(LIMIT_S) == 0


def code_and_text(act: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        act()
    return caught.value.code().name, caught.value.details()


X = np.array([[1], [2], [5]], np.float32)


def test_half_plus_two_is_half_plus_two(server: Server) -> None:
    for options in ({}, {"version": 123}, {"signature": "serving_default"}, {"outputs": ["y"]}):
        assert server.predict("half", {"x": X}, **options)["y"].tolist() == [[2.5], [3.0], [4.5]]


def test_the_answer_names_the_version_and_signature_that_gave_it(server: Server) -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "half"
    encode(X, request.inputs["x"])
    spec = server.predictions.Predict(request).model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("half", 123, "serving_default")


def test_tensors_of_every_datatype_come_back_as_they_were(server: Server) -> None:
    inputs = {
        datatype.lower(): np.array([b"a\0", b""], np.object_)
        if datatype is DataType.BYTES
        else np.array([[1], [0]]).astype(datatype.dtype)
        for datatype in DataType
    }
    outputs = server.predict("identity", inputs)
    assert outputs.keys() == inputs.keys()
    for name, tensor in inputs.items():
        assert outputs[name].dtype == tensor.dtype
        assert outputs[name].tolist() == tensor.tolist()


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1, 1, 1, 1)])
def test_scalars_and_empty_tensors_come_back_as_they_were(server: Server, shape: tuple[int, ...]) -> None:
    inputs = {datatype.lower(): np.zeros(shape, datatype.dtype) for datatype in DataType}
    inputs["bytes"] = np.full(shape, b"x" * 40, np.object_)
    outputs = server.predict("identity", inputs)
    assert {name: tensor.shape for name, tensor in outputs.items()} == dict.fromkeys(inputs, shape)
    assert outputs["bytes"].tolist() == inputs["bytes"].tolist()
    assert outputs["bf16"].dtype == ml_dtypes.bfloat16


def test_a_model_of_tensorflow_2_with_a_table_from_an_asset_is_served(
    server: Server, folders: SimpleNamespace, tensorflow_said: Any
) -> None:
    server.configure(half=folders.half, identity=folders.identity, words=tensorflow_said.saved_model.parent)
    server.reaches("words", 1, "AVAILABLE")
    words = np.array([b"two", b"three", b"zero"], np.object_)
    outputs = server.predict("words", {"words": words, "x": np.array(1.5, np.float32)})
    assert outputs["ids"].tolist() == [2, -1, 0]
    assert outputs["upper"].tolist() == [b"TWO", b"THREE", b"ZERO"]
    assert outputs["scaled"].tolist() == 3.0


def test_metadata_is_what_tf_serving_answers(server: Server, test_data: Callable[[str], Path]) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "half"
    response = server.predictions.GetModelMetadata(request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    real = json.loads(test_data("tf/serving/half_plus_two_model_metadata.json").read_text())
    expected = json_format.ParseDict(
        real["metadata"]["signature_def"], get_model_metadata_pb2.SignatureDefMap(), ignore_unknown_fields=True
    )
    assert signatures == expected
    assert str(response.model_spec.version.value) == real["model_spec"]["version"]


def filled(request: Any, signature: str, xs: list[float], context: bool = False) -> Any:
    request.model_spec.name = "half"
    request.model_spec.signature_name = signature
    fill_input(request.input, xs, context)
    return request


def fill_input(into: Any, xs: list[float], context: bool = False) -> None:
    for x in xs:
        example = example_pb2.Example()
        if context:
            into.example_list_with_context.examples.append(example)
            into.example_list_with_context.context.features.feature["x"].float_list.value[:] = [x]
        else:
            example.features.feature["x"].float_list.value.append(x)
            into.example_list.examples.append(example)


def test_classify_gives_a_score_for_each_example(server: Server) -> None:
    request = filled(classification_pb2.ClassificationRequest(), "classify_x_to_y", [1, 2, 5])
    response = server.predictions.Classify(request)
    assert [[each.score for each in row.classes] for row in response.result.classifications] == [[2.5], [3.0], [4.5]]
    assert response.model_spec.version.value == 123


@pytest.mark.parametrize(("signature", "expected"), [("regress_x_to_y", [2.5, 3.0]), ("regress_x_to_y2", [3.5, 4.0])])
def test_regress_gives_a_value_for_each_example(server: Server, signature: str, expected: list[float]) -> None:
    response = server.predictions.Regress(filled(regression_pb2.RegressionRequest(), signature, [1, 2]))
    assert [each.value for each in response.result.regressions] == expected


def test_the_features_of_a_context_belong_to_every_example(server: Server) -> None:
    response = server.predictions.Regress(
        filled(regression_pb2.RegressionRequest(), "regress_x_to_y", [4, 4], context=True)
    )
    assert [each.value for each in response.result.regressions] == [4.0, 4.0]


def multi_inference(*tasks: tuple[str, str], xs: tuple[float, ...] = (1, 2)) -> Any:
    request = inference_pb2.MultiInferenceRequest()
    for signature, method in tasks:
        task = request.tasks.add(method_name=method)
        task.model_spec.name = "half"
        task.model_spec.signature_name = signature
    fill_input(request.input, list(xs))
    return request


def test_multi_inference_runs_several_signatures_on_one_input(server: Server) -> None:
    request = multi_inference(("classify_x_to_y", CLASSIFY), ("regress_x_to_y", REGRESS), ("regress_x_to_y2", REGRESS))
    classes, values, others = server.predictions.MultiInference(request).results
    assert [row.classes[0].score for row in classes.classification_result.classifications] == [2.5, 3.0]
    assert [each.value for each in values.regression_result.regressions] == [2.5, 3.0]
    assert [each.value for each in others.regression_result.regressions] == [3.5, 4.0]
    assert classes.model_spec.signature_name == "classify_x_to_y"


PREDICT_REFUSALS = [
    ("half", {}, {}, "INVALID_ARGUMENT", "input size does not match signature: 0!=1 len({}) != len({x})"),
    ("half", {"x": X, "z": X}, {}, "INVALID_ARGUMENT", "Sent extra: {z}. Missing but required: {}."),
    ("half", {"z": X}, {}, "INVALID_ARGUMENT", "input tensor alias not found in signature: z. Inputs expected"),
    ("half", {"x": X.astype(np.int32)}, {}, "INVALID_ARGUMENT", "input x: expected DT_FLOAT, got DT_INT32"),
    ("half", {"x": X[0]}, {}, "INVALID_ARGUMENT", "input x: expected shape [-1, 1], got [1]"),
    ("half", {"x": X}, {"outputs": ["w"]}, "INVALID_ARGUMENT", "output tensor alias not found in signature: w"),
    ("half", {"x": X}, {"outputs": ["y", "y"]}, "INVALID_ARGUMENT", "duplicate output tensor alias: y"),
    ("half", {"x": X}, {"signature": "zip"}, "FAILED_PRECONDITION", 'Serving signature key "zip" not found.'),
    ("half", {"x": X}, {"version": 7}, "NOT_FOUND", "Servable not found for request: Specific(half, 7)"),
    ("nobody", {"x": X}, {}, "NOT_FOUND", "Servable not found for request: Latest(nobody)"),
]


@pytest.mark.parametrize(("name", "inputs", "options", "code", "text"), PREDICT_REFUSALS)
def test_a_wrong_predict_is_refused_in_tf_servings_words(
    server: Server, name: str, inputs: dict[str, Any], options: dict[str, Any], code: str, text: str
) -> None:
    got = code_and_text(lambda: server.predict(name, inputs, **options))
    assert got[0] == code
    assert text in got[1]


def test_a_tensor_that_contradicts_itself_is_refused(server: Server) -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "half"
    encode(X, request.inputs["x"])
    request.inputs["x"].tensor_shape.dim[0].size = 1 << 60
    assert code_and_text(lambda: server.predictions.Predict(request))[0] == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("method", "request_message", "code", "text"),
    [
        ("Predict", predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (
            "Classify",
            filled(classification_pb2.ClassificationRequest(), "nope", [1]),
            "INVALID_ARGUMENT",
            "No signature",
        ),
        ("Classify", filled(classification_pb2.ClassificationRequest(), "", [1]), "INVALID_ARGUMENT", "method_name"),
        ("Regress", filled(regression_pb2.RegressionRequest(), "classify_x_to_y", [1]), "INVALID_ARGUMENT", REGRESS),
        ("Regress", filled(regression_pb2.RegressionRequest(), "regress_x_to_y", []), "INVALID_ARGUMENT", "empty"),
        ("MultiInference", multi_inference(), "INVALID_ARGUMENT", "at least one task"),
        ("MultiInference", multi_inference(("regress_x_to_y", "zip")), "UNIMPLEMENTED", "zip"),
        (
            "MultiInference",
            multi_inference(("regress_x_to_y", REGRESS), ("regress_x_to_y", REGRESS)),
            *("INVALID_ARGUMENT", "Duplicate evaluation of signature: regress_x_to_y"),
        ),
        (
            "MultiInference",
            multi_inference(("regress_x_to_y", REGRESS), ("regress_x2_to_y3", REGRESS)),
            *("INVALID_ARGUMENT", "Input tensor must be the same for all Signatures."),
        ),
        ("GetModelMetadata", get_model_metadata_pb2.GetModelMetadataRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
    ],
)
def test_a_wrong_request_is_refused_in_tf_servings_words(
    server: Server, method: str, request_message: Any, code: str, text: str
) -> None:
    got = code_and_text(lambda: getattr(server.predictions, method)(request_message))
    assert got[0] == code
    assert text in got[1]


def test_what_tensorflow_says_of_an_input_reaches_the_client(server: Server) -> None:
    request = filled(regression_pb2.RegressionRequest(), "regress_x_to_y", [])
    example = request.input.example_list.examples.add()
    example.features.feature["x"].bytes_list.value.append(b"not a float")
    assert code_and_text(lambda: server.predictions.Regress(request))[0] == "INVALID_ARGUMENT"


def test_an_unknown_model_has_no_status(server: Server) -> None:
    got = code_and_text(lambda: server.states("nobody"))
    assert got == ("NOT_FOUND", "Could not find any versions of model nobody")


def test_a_configuration_replaces_the_last_one_and_a_corrupt_model_fails_alone(
    server: Server, folders: SimpleNamespace
) -> None:
    keep = {"half": folders.half, "identity": folders.identity}
    server.configure(**keep, second=folders.half, corrupt=folders.corrupt)
    server.reaches("second", 123, "AVAILABLE")
    assert "saved_model.pb" in server.reaches("corrupt", 1, "END")
    assert server.predict("second", {"x": X})["y"].tolist() == [[2.5], [3.0], [4.5]]
    server.configure(**keep)
    server.reaches("second", 123, "END")
    assert code_and_text(lambda: server.predict("second", {"x": X}))[0] == "NOT_FOUND"
    assert server.predict("half", {"x": X})["y"].tolist() == [[2.5], [3.0], [4.5]]


def test_others_are_served_while_a_model_loads(server: Server, folders: SimpleNamespace) -> None:
    keep = {"half": folders.half, "identity": folders.identity}
    (folders.root / "slow" / "1").mkdir(parents=True)
    pipe = folders.root / "slow" / "1" / "saved_model.pb"
    os.mkfifo(pipe)  # opening it blocks the loader until someone opens the other end
    server.configure(**keep, slow=folders.root / "slow")
    server.reaches("slow", 1, "LOADING")
    assert server.predict("half", {"x": X})["y"].tolist() == [[2.5], [3.0], [4.5]]
    assert server.states("slow")[1][0] == "LOADING"
    with pipe.open("wb"):
        assert server.reaches("slow", 1, "END")
    server.configure(**keep)


def test_a_configuration_that_lists_a_model_twice_is_refused(server: Server) -> None:
    request = model_management_pb2.ReloadConfigRequest()
    for _ in range(2):
        request.config.model_config_list.config.add(name="m", base_path="/nowhere")
    got = code_and_text(lambda: server.models.HandleReloadConfigRequest(request))
    assert got == ("INVALID_ARGUMENT", "Illegal to list model m multiple times in config list")


def test_a_configuration_of_another_kind_is_refused(server: Server) -> None:
    request = model_management_pb2.ReloadConfigRequest()
    request.config.custom_model_config.SetInParent()
    assert code_and_text(lambda: server.models.HandleReloadConfigRequest(request))[0] == "INVALID_ARGUMENT"


def policy(**choice: Any) -> Any:
    config = model_server_config_pb2.ModelConfig()
    made = config.model_version_policy
    if "specific" in choice:
        made.specific.versions.extend(choice["specific"])
    elif "latest" in choice:
        made.latest.num_versions = choice["latest"]
    elif choice.get("all"):
        made.all.SetInParent()
    return made


@pytest.mark.parametrize(
    ("chosen", "versions"),
    [
        (policy(), {10}),
        (policy(latest=2), {9, 10}),
        (policy(all=True), {1, 9, 10}),
        (policy(specific=[1, 7]), {1}),
    ],
)
def test_the_version_policy_chooses_among_the_numeric_folders(tmp_path: Path, chosen: Any, versions: set[int]) -> None:
    for name in ("0001", "9", "10", "tmp", "2a", "٣"):
        (tmp_path / name).mkdir()
    assert set(version_folders(tmp_path, chosen)) == versions


def test_a_base_path_that_is_not_there_has_no_versions(tmp_path: Path) -> None:
    assert version_folders(tmp_path / "nowhere", policy(all=True)) == {}


def test_a_tcp_port_is_bound_to_loopback_only(half_plus_two: Path, folders: SimpleNamespace) -> None:
    port = free_port()
    flags = [f"--port={port}", "--model_name=half", f"--model_base_path={folders.half}"]
    process = start_embedded(*flags)
    try:
        Server(f"127.0.0.1:{port}").reaches("half", 123, "AVAILABLE")
        tables = (Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6"))
        listening = [line.split()[1] for table in tables for line in table if line.split()[3] == "0A"]
        on_port = [
            address for address, _, number in (each.partition(":") for each in listening) if number == f"{port:04X}"
        ]
        assert [address[-8:] for address in on_port] == ["0100007F"]  # 127.0.0.1, as itself or mapped into IPv6
    finally:
        process.terminate()
        process.wait(LIMIT_S)


def test_its_version_is_not_the_real_servers() -> None:
    printed = run_python("-m", "adapters.tfserving.embedded", "--version")
    assert printed.startswith("embedded TF Serving (TensorFlow ")
    assert "ModelServer" not in printed
