"""What TF Serving's clients may ask of a connection besides tensors for the served signature."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio

from adapters.base import Endpoint
from adapters.errors import BackendUnavailable, DeadlineExceeded, InferenceFailed, InvalidInput, ServingError
from adapters.tensors import DataType, Signature, Tensors, TensorSpec
from adapters.tfserving.client import TfServingClient
from adapters.tfserving.examples import write_examples
from adapters.tfserving.protos import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    input_pb2,
    predict_pb2,
    regression_pb2,
    types_pb2,
)
from adapters.tfserving.tensor_proto import encode_values

TYPES = {
    "Predict": predict_pb2.PredictRequest,
    "Classify": classification_pb2.ClassificationRequest,
    "Regress": regression_pb2.RegressionRequest,
    "MultiInference": inference_pb2.MultiInferenceRequest,
    "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
}
SERVED = {"model": "half.1", "version": "123", "signature_name": "served"}


class Server:
    """A PredictionService that answers what the test says, and remembers what it was asked."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.seen: list[tuple[str, Any]] = []
        self.answers: dict[str, Callable[[Any, Any], Awaitable[Any]]] = {"GetModelMetadata": self._metadata}
        self.signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, dtype in (("served", types_pb2.DT_FLOAT), ("other", types_pb2.DT_INT32), ("odd", 8)):
            signature = self.signatures.signature_def[name]
            signature.method_name = "tensorflow/serving/predict"
            for side, key in ((signature.inputs, "x"), (signature.outputs, "y")):
                side[key].name = f"{key}:0"
                side[key].dtype = dtype
                side[key].tensor_shape.dim.add(size=-1)

    async def _metadata(self, _request: Any, _context: Any) -> Any:
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(self.signatures)
        return response

    def method(self, name: str, request_type: Any) -> Any:
        async def answer(request: Any, context: Any) -> Any:
            self.seen.append((name, request))
            return await self.answers[name](request, context)

        return grpc.unary_unary_rpc_method_handler(
            answer, request_type.FromString, lambda each: each.SerializeToString()
        )

    def asked(self, method: str) -> list[Any]:
        return [request for name, request in self.seen if name == method]


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    made = Server(f"unix:{tmp_path}/server")
    running = grpc.aio.server()
    methods = {name: made.method(name, request_type) for name, request_type in TYPES.items()}
    service = "tensorflow.serving.PredictionService"
    running.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    running.add_insecure_port(made.address)
    await running.start()
    yield made
    await running.stop(None)


@pytest_asyncio.fixture
async def client(server: Server) -> AsyncIterator[TfServingClient]:
    made = await TfServingClient.connect(Endpoint("tfserving", server.address, Signature((), ()), "fake", None, SERVED))
    yield made
    await made.aclose()


def names(message: Any) -> tuple[str, int, str]:
    spec = message.model_spec
    return spec.name, spec.version.value, spec.signature_name


async def doubled(request: Any, _context: Any) -> Any:
    response = predict_pb2.PredictResponse()
    encode_values(np.array([2, 4], np.int32), response.outputs["y"])
    return response


def refusing(code: grpc.StatusCode, text: str) -> Callable[[Any, Any], Awaitable[Any]]:
    async def answer(_request: Any, context: Any) -> Any:
        await context.abort(code, text)

    return answer


async def test_any_signature_is_read_and_run(server: Server, client: TfServingClient) -> None:
    given: list[Signature] = []

    def read(signature: Signature) -> Tensors:
        given.append(signature)
        return {"x": np.array([1, 2], np.int32)}

    server.answers["Predict"] = doubled
    outputs = await client.infer_by("other", read)
    assert outputs["y"].tolist() == [2, 4]
    assert given == [
        Signature((TensorSpec("x", DataType.INT32, (None,)),), (TensorSpec("y", DataType.INT32, (None,)),))
    ]
    (request,) = server.asked("Predict")
    assert names(request) == ("half.1", 123, "other")
    assert request.inputs["x"].dtype == types_pb2.DT_INT32


async def test_signatures_are_asked_for_once(server: Server, client: TfServingClient) -> None:
    server.answers["Predict"] = doubled
    for _ in range(3):
        await client.infer_by("other", lambda _: {"x": np.array([1], np.int32)})
        assert set(await client.describe_signatures()) == {"served", "other", "odd"}
    (request,) = server.asked("GetModelMetadata")
    assert names(request) == ("half.1", 123, "")
    assert list(request.metadata_field) == ["signature_def"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nix", 'Serving signature name: "nix" not found in signature def; there are: odd, other, served'),
        ("odd", "signature 'odd', tensor 'x': TensorFlow's datatype DT_COMPLEX64 has no datatype in the protocol"),
    ],
)
async def test_a_signature_that_tensors_cannot_go_to_is_refused(client: TfServingClient, name: str, says: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        await client.infer_by(name, lambda _: {})
    assert str(raised.value) == says


@pytest.mark.parametrize(("asked", "meant"), [("", "served"), ("served", "served"), ("other", "other"), ("x", "x")])
async def test_a_name_means_itself_and_no_name_the_served_signature(
    server: Server, client: TfServingClient, asked: str, meant: str
) -> None:
    assert await client.signature_name(asked) == meant
    assert server.seen == []


async def test_a_default_that_the_model_does_not_have_is_the_served_signature(
    server: Server, client: TfServingClient
) -> None:
    assert await client.signature_name("serving_default") == "served"
    server.signatures.signature_def["serving_default"].method_name = "here it is"
    again = await TfServingClient.connect(
        Endpoint("tfserving", server.address, Signature((), ()), "fake", None, SERVED)
    )
    assert await again.signature_name("serving_default") == "serving_default"
    await again.aclose()


async def test_signatures_are_described_as_json(client: TfServingClient) -> None:
    described = (await client.describe_signatures())["served"]
    assert described["inputs"]["x"] == {
        "name": "x:0",
        "dtype": "DT_FLOAT",
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
    }


async def test_metadata_without_signatures_are_the_server_s_fault(server: Server, client: TfServingClient) -> None:
    async def nothing(_request: Any, _context: Any) -> Any:
        return get_model_metadata_pb2.GetModelMetadataResponse()

    server.answers["GetModelMetadata"] = nothing
    with pytest.raises(InferenceFailed, match="without a SignatureDefMap"):
        await client.describe_signatures()


async def test_examples_are_classified_and_regressed_on(server: Server, client: TfServingClient) -> None:
    async def classify(_request: Any, _context: Any) -> Any:
        response = classification_pb2.ClassificationResponse()
        for label in ("a", "b"):
            response.result.classifications.add().classes.add(label=label, score=0.5)
        return response

    async def regress(_request: Any, _context: Any) -> Any:
        response = regression_pb2.RegressionResponse()
        response.result.regressions.add(value=0.25)
        return response

    server.answers |= {"Classify": classify, "Regress": regress}
    assert await client.classify("other", [{"x": [1]}, {}], None) == [[("a", 0.5)], [("b", 0.5)]]
    assert await client.regress("", [{"x": [1]}], {"c": [b"d"]}) == [0.25]
    (classified,), (regressed,) = server.asked("Classify"), server.asked("Regress")
    assert names(classified) == ("half.1", 123, "other")
    assert names(regressed) == ("half.1", 123, "served")
    assert len(classified.input.example_list.examples) == 2
    shared = regressed.input.example_list_with_context.context.features.feature["c"]
    assert list(shared.bytes_list.value) == [b"d"]


def test_features_are_written_by_the_kind_of_their_values() -> None:
    written = input_pb2.Input()
    write_examples([{"i": [1, -2], "f": [0.5], "s": [b"\xff"], "e": []}], None, written)
    features = written.example_list.examples[0].features.feature
    assert list(features["i"].int64_list.value) == [1, -2]
    assert list(features["f"].float_list.value) == [0.5]
    assert list(features["s"].bytes_list.value) == [b"\xff"]
    assert features["e"].WhichOneof("kind") is None
    assert set(features) == {"i", "f", "s", "e"}


async def test_another_s_request_is_relayed_under_the_server_s_names(server: Server, client: TfServingClient) -> None:
    server.answers["Predict"] = doubled
    request = predict_pb2.PredictRequest(output_filter=["y"])
    request.model_spec.name = "half@tfserving"
    request.model_spec.version_label = "stable"
    encode_values(np.ones(1, np.float32), request.inputs["x"])
    response = await client.relay("Predict", request)
    (seen,) = server.asked("Predict")
    assert names(seen) == ("half.1", 123, "served")
    assert seen.model_spec.WhichOneof("version_choice") == "version"
    assert (seen.inputs, list(seen.output_filter)) == (request.inputs, ["y"])
    assert list(response.outputs["y"].int_val) == [2, 4]


async def test_all_tasks_of_a_request_are_relayed_under_the_server_s_names(
    server: Server, client: TfServingClient
) -> None:
    async def nothing(_request: Any, _context: Any) -> Any:
        return inference_pb2.MultiInferenceResponse()

    server.answers["MultiInference"] = nothing
    request = inference_pb2.MultiInferenceRequest()
    for signature in ("other", ""):
        request.tasks.add().model_spec.signature_name = signature
    await client.relay("MultiInference", request)
    (seen,) = server.asked("MultiInference")
    assert [names(task) for task in seen.tasks] == [("half.1", 123, "other"), ("half.1", 123, "served")]


@pytest.mark.parametrize(
    ("code", "error", "says"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidInput, "two\nlines"),
        (grpc.StatusCode.FAILED_PRECONDITION, InvalidInput, "two\nlines"),
        (grpc.StatusCode.INTERNAL, InferenceFailed, "TF Serving: two (INTERNAL)"),
        (grpc.StatusCode.NOT_FOUND, BackendUnavailable, "TF Serving: two (NOT_FOUND)"),
    ],
)
async def test_a_caller_s_mistake_is_told_in_tf_serving_s_words_and_nothing_else_is(
    server: Server, client: TfServingClient, code: grpc.StatusCode, error: type[ServingError], says: str
) -> None:
    server.answers |= dict.fromkeys(("Predict", "Classify", "Regress"), refusing(code, "two\nlines"))
    asked = predict_pb2.PredictRequest()
    for call in (
        client.relay("Predict", asked),
        client.infer_by("other", lambda _: {}),
        client.classify("", [{}], None),
        client.regress("", [{}], None),
    ):
        with pytest.raises(error) as raised:
            await call
        assert (type(raised.value), str(raised.value)) == (error, says)


async def test_a_deadline_goes_on_with_what_is_relayed(server: Server, client: TfServingClient) -> None:
    left: list[float] = []

    async def answer(_request: Any, context: Any) -> Any:
        left.append(context.time_remaining())
        await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "late")

    server.answers["Predict"] = answer
    with pytest.raises(DeadlineExceeded):
        await client.relay("Predict", predict_pb2.PredictRequest(), 30.0)
    assert 20 < left[0] < 40
