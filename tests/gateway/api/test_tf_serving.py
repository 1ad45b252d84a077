"""TF Serving's REST routes: whom a path means, what each backend can do, and what is refused in which words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI

from adapters.base import Endpoint
from adapters.errors import InvalidInput, ServingError
from adapters.tensors import DataType, Signature, Tensors, TensorSpec
from adapters.tfserving.examples import Features
from gateway.api import tf_serving_routes
from gateway.api.dialect import Answer, HttpRequest, refusal
from gateway.api.tf_serving import RawPredictions, TfServingHttp
from gateway.dataplane import DataPlane, Way
from gateway.errors import ModelNotFound, Unsupported, VersionNotReady
from gateway.registry import Registry
from gateway.types import Deployment, ModelTable, Serving, Standing, State
from tests.gateway.fakes import SIGNATURE, QuickServable

REMOTES: Mapping[str, Mapping[str, str]] = {
    "torchserve": {"kind": "raw"},
    "tfserving": {"model": "m.1", "version": "1", "signature_name": "served"},
}
OTHER = Signature((TensorSpec("i", DataType.INT32, (None, 1)),), (TensorSpec("o", DataType.INT32, (None, 1)),))


class FakeTfServing(QuickServable):
    """A TfServingClient without a server: a signature "other" beside the served one, and labels and values."""

    async def infer_by(self, signature_name: str, read: Callable[[Signature], Tensors]) -> Tensors:
        if signature_name != "other":
            raise InvalidInput(f'Serving signature name: "{signature_name}" not found in signature def')
        return {"o": read(OTHER)["i"] * 2}

    async def classify(
        self, signature_name: str, examples: Sequence[Features], context: Features | None
    ) -> list[list[tuple[str, float]]]:
        return [[(f"{signature_name} {example} {context}", 0.5)] for example in examples]

    async def regress(self, signature_name: str, examples: Sequence[Features], context: Features | None) -> list[float]:
        return [float(example["x"][0]) for example in examples]

    async def describe_signatures(self) -> dict[str, Any]:
        return {"served": {"method_name": "real"}}


class Gateway:
    """The dialect over the model m: version 1 (labelled canary) on three backends, version 2 on one, 3 loading."""

    def __init__(self, raw_predictions: RawPredictions | None = None) -> None:
        self.servables: dict[str, QuickServable] = {}
        self.registry = Registry(self._connect, drain_timeout_s=60)
        self.dialect = TfServingHttp(DataPlane(self.registry), raw_predictions)

    async def _connect(self, endpoint: Endpoint) -> QuickServable:
        made = FakeTfServing() if endpoint.backend == "tfserving" else QuickServable()
        self.servables[endpoint.address] = made
        return made

    async def ready(self) -> Gateway:
        standings = {Deployment("m", 3, "onnxruntime"): Standing(State.LOADING)}
        for version, backend in ((1, "onnxruntime"), (1, "torchserve"), (1, "tfserving"), (2, "onnxruntime")):
            deployment = Deployment("m", version, backend)
            endpoint = Endpoint(backend, str(deployment), SIGNATURE, "fake", remote=REMOTES.get(backend, {}))
            await self.registry.publish(deployment, endpoint, Serving())
            standings[deployment] = Standing(State.READY)
        backends = ("onnxruntime", "tfserving", "torchserve")
        self.registry.show({"m": ModelTable("m", backends, {"canary": 1}, standings)})
        return self

    async def ask(self, path: str, body: Any = None, method: str = "") -> Answer:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        method = method or ("GET" if body is None else "POST")
        request = HttpRequest(method, path.encode(), b"", {}, b"" if body is None else sent)
        assert self.dialect.claims(method, request.path)
        return await self.dialect.answer(request)

    async def json(self, path: str, body: Any = None) -> Any:
        return json.loads(b"".join(bytes(part) for part in (await self.ask(path, body)).parts))


@pytest.fixture
async def gateway() -> Gateway:
    return await Gateway().ready()


ROWS = {"instances": [1, 2]}


@pytest.mark.parametrize(
    ("path", "deployment"),
    [
        ("/v1/models/m:predict", "m/2@onnxruntime"),
        ("/V1/Models/m:Predict", "m/2@onnxruntime"),
        ("/v1/models/m%3Apredict", "m/2@onnxruntime"),
        ("/v1/models/%6d:predict", "m/2@onnxruntime"),
        ("/v1/models/m/versions/1:predict", "m/1@onnxruntime"),
        ("/v1/models/m/versions/00001:predict", "m/1@onnxruntime"),
        ("/v1/models/m/Labels/canary:predict", "m/1@onnxruntime"),
        ("/v1/models/m@tfserving:predict", "m/1@tfserving"),
        ("/v1/models/m@tfserving/versions/1:predict", "m/1@tfserving"),
        ("/v1/models/m@onnxruntime/labels/canary:predict", "m/1@onnxruntime"),
    ],
)
async def test_a_path_says_which_deployment_answers(gateway: Gateway, path: str, deployment: str) -> None:
    answer = await gateway.ask(path, ROWS)
    assert str(answer.served_by) == deployment
    assert answer.status == 200
    assert len(gateway.servables[deployment].seen) == 1


async def test_rows_give_predictions_and_columns_outputs(gateway: Gateway) -> None:
    assert await gateway.json("/v1/models/m:predict", ROWS) == {"predictions": [{"x": 1, "y": 2}, {"x": 2, "y": 4}]}
    assert await gateway.json("/v1/models/m:predict", {"inputs": [1]}) == {"outputs": {"x": [1], "y": [2]}}


@pytest.mark.parametrize(
    ("path", "error", "says"),
    [
        (
            "/v1/models/n:predict",
            ModelNotFound,
            "Servable not found for request: Latest(n); model 'n' is not in the re",
        ),
        ("/v1/models/m/versions/7:predict", ModelNotFound, "Servable not found for request: Specific(m, 7); model 'm'"),
        (
            "/v1/models/m@tflite:predict",
            ModelNotFound,
            "Servable not found for request: Latest(m@tflite); m has no dep",
        ),
        ("/v1/models/m/labels/x:predict", InvalidInput, "Unrecognized servable version label: x; model 'm' has no lab"),
        ("/v1/models/m/versions/3:predict", VersionNotReady, "m/3@onnxruntime is LOADING"),
        ("/v1/models/m/versions/0:predict", InvalidInput, "version '0': expected a positive integer"),
        (
            "/v1/models/m/versions/99999999999999999999:predict",
            InvalidInput,
            "version '99999999999999999999': expected",
        ),
        ("/v1/models/M:predict", InvalidInput, "model 'M': expected a name of a-z"),
        ("/v1/models/a%2Fb:predict", InvalidInput, "path: segment 'a/b:predict': expected no slash"),
        ("/v1/models/%252e%252e:predict", InvalidInput, "model '%2e%2e': expected a name of a-z"),
        ("/v1/models/m%00:predict", InvalidInput, "path: segment 'm\\x00:predict': expected no slash and no control"),
        ("/v1/models/%ff:predict", InvalidInput, "path: expected UTF-8"),
    ],
)
@pytest.mark.parametrize("verb", ["predict", "classify", "regress"])
async def test_a_target_that_is_not_there_is_refused(
    gateway: Gateway, path: str, error: type[ServingError], says: str, verb: str
) -> None:
    with pytest.raises(error) as raised:
        await gateway.ask(path.replace("predict", verb), ROWS)
    assert str(raised.value).startswith(says.replace("predict", verb))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/"),
        ("POST", "/v1/foo"),
        ("POST", "/v1/models"),
        ("POST", "/v1/models:predict"),
        ("POST", "/v1/models/m"),
        ("POST", "/v1/models/m:explain"),
        ("POST", "/v1/models/:predict"),
        ("POST", "/v1/models/m/:predict"),
        ("POST", "/v1/models/m:predict/"),
        ("POST", "/v1/models//m:predict"),
        ("POST", "/v1/models/m:predict:predict"),
        ("POST", "/v1/models/m/versions:predict"),
        ("POST", "/v1/models/m/revisions/1:predict"),
        ("POST", "/v1/models/m/versions/1/labels/x:predict"),
        ("PUT", "/v1/models/m:predict"),
        ("DELETE", "/v1/models/m"),
        ("GET", "/v1/models/"),
        ("GET", "/v1/models/m/"),
        ("GET", "/v1/models/m:predict"),
        ("GET", "/v1/models/m/metadata/metadata"),
        ("GET", "/v1/models/m/versions"),
        ("GET", "/v1/foo"),
    ],
)
async def test_every_other_path_is_a_malformed_request(gateway: Gateway, method: str, path: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        await gateway.ask(path, ROWS, method)
    assert str(raised.value) == f"Malformed request: {method} {path}"
    refused = refusal(gateway.dialect, raised.value)
    assert (refused.status, json.loads(refused.parts[0])) == (400, {"error": str(raised.value)})


async def test_a_long_path_does_not_come_back_whole(gateway: Gateway) -> None:
    with pytest.raises(InvalidInput) as raised:
        await gateway.ask("/v1/" + "x" * 60_000, ROWS)
    assert len(str(raised.value)) < 300


async def test_no_model_s_name_is_said_to_be_missing(gateway: Gateway) -> None:
    with pytest.raises(InvalidInput, match=r"^Missing model name in request\.$"):
        await gateway.ask("/v1/models")


@pytest.mark.parametrize("path", ["/v2/models/m/infer", "/v1", "/v11/models/m", "/", "/docs"])
def test_paths_of_others_are_left_to_them(path: str) -> None:
    assert not Gateway().dialect.claims("POST", path.encode())


@pytest.mark.parametrize("name", ["serving_default", "", None])
@pytest.mark.parametrize("model", ["m", "m@onnxruntime"])
async def test_the_default_signature_is_everywhere(gateway: Gateway, name: str | None, model: str) -> None:
    named = {} if name is None else {"signature_name": name}
    assert (await gateway.json(f"/v1/models/{model}:predict", {**ROWS, **named}))["predictions"][0]["y"] == 2


async def test_another_signature_is_tf_serving_s_alone(gateway: Gateway) -> None:
    asked = {"signature_name": "other", "instances": [[1], [2]]}
    assert await gateway.json("/v1/models/m@tfserving:predict", asked) == {"predictions": [[2], [4]]}
    asked = {"signature_name": "other", "instances": [1, 2]}
    assert await gateway.json("/v1/models/m@tfserving:predict", asked) == {"predictions": [2, 4]}
    with pytest.raises(InvalidInput, match='Serving signature name: "other" not found in signature def'):
        await gateway.ask("/v1/models/m:predict", asked)
    with pytest.raises(InvalidInput, match='Serving signature name: "x" not found in signature def'):
        await gateway.ask("/v1/models/m@tfserving:predict", {**ROWS, "signature_name": "x"})


async def test_another_signature_s_own_shapes_are_checked(gateway: Gateway) -> None:
    asked = {"signature_name": "other", "instances": [[1, 2]]}
    with pytest.raises(InvalidInput, match=r"input 'i': expected shape \[-1, 1\], got \[1, 2\]"):
        await gateway.ask("/v1/models/m@tfserving:predict", asked)


async def test_the_signature_that_is_served_needs_no_second_look(gateway: Gateway) -> None:
    await gateway.ask("/v1/models/m@tfserving:predict", {**ROWS, "signature_name": "served"})
    (seen,) = gateway.servables["m/1@tfserving"].seen
    np.testing.assert_array_equal(seen["x"], np.array([1, 2], np.float32))


async def test_examples_go_to_tf_serving(gateway: Gateway) -> None:
    asked = {"signature_name": "s", "context": {"c": "a"}, "examples": [{"x": 1}, {"x": 2}]}
    assert await gateway.json("/v1/models/m@tfserving:classify", asked) == {
        "results": [[["s {'x': [1]} {'c': [b'a']}", 0.5]], [["s {'x': [2]} {'c': [b'a']}", 0.5]]]
    }
    assert await gateway.json("/v1/models/m@tfserving:regress", asked) == {"results": [1, 2]}
    assert str((await gateway.ask("/v1/models/m@tfserving:regress", asked)).served_by) == "m/1@tfserving"


@pytest.mark.parametrize("verb", ["classify", "regress"])
async def test_other_backends_take_no_examples_and_say_who_does(gateway: Gateway, verb: str) -> None:
    with pytest.raises(Unsupported) as raised:
        await gateway.ask(f"/v1/models/m:{verb}", {"examples": [{}]})
    assert str(raised.value).startswith(f"m/2@onnxruntime cannot {verb} tf.Examples: only deployments on tfserving can")
    assert refusal(gateway.dialect, raised.value).status == 501


async def test_what_takes_no_tensors_gets_the_body_as_it_is() -> None:
    async def raw(request: HttpRequest, way: Way) -> Answer:
        return Answer((request.body, str(way.deployment).encode()))

    gateway = await Gateway(raw).ready()
    answer = await gateway.ask("/v1/models/m@torchserve:predict", b"\xff no json")
    assert answer.parts == (b"\xff no json", b"m/1@torchserve")


async def test_what_takes_no_tensors_is_said_to_be_so_where_nobody_sends_bodies(gateway: Gateway) -> None:
    with pytest.raises(Unsupported, match="m/1@torchserve takes no tensors"):
        await gateway.ask("/v1/models/m@torchserve:predict", b"\xff no json")


async def test_states_are_told_of_all_versions_or_of_those_asked_for(gateway: Gateway) -> None:
    async def told(path: str) -> list[str]:
        found = await gateway.json(path)
        return [f"{each['version']} {each['state']}" for each in found["model_version_status"]]

    assert await told("/v1/models/m") == ["3 LOADING", "2 AVAILABLE", "1 AVAILABLE"]
    assert await told("/v1/models/m@tfserving") == ["1 AVAILABLE"]
    assert await told("/v1/models/m/versions/3") == ["3 LOADING"]
    assert await told("/v1/models/m/labels/canary") == ["1 AVAILABLE"]
    with pytest.raises(ModelNotFound, match="Could not find any versions of model metadata"):
        await told("/v1/models/metadata")


async def test_metadata_are_the_deployment_s_own_signatures_or_one_made_of_its_tensors(gateway: Gateway) -> None:
    real = await gateway.json("/v1/models/m@tfserving/metadata")
    assert real["model_spec"] == {"name": "m@tfserving", "signature_name": "", "version": "1"}
    assert real["metadata"]["signature_def"]["signature_def"] == {"served": {"method_name": "real"}}
    made = await gateway.json("/v1/models/m/labels/canary/metadata")
    assert made["model_spec"] == {"name": "m", "signature_name": "", "version": "1"}
    assert list(made["metadata"]["signature_def"]["signature_def"]) == ["serving_default"]
    with pytest.raises(ModelNotFound, match=r"Servable not found for request: Specific\(m, 9\)"):
        await gateway.json("/v1/models/m/versions/9/metadata")


async def test_metadata_are_not_counted_as_inference(gateway: Gateway) -> None:
    statistics = gateway.registry.statistics
    before = statistics()
    await gateway.json("/v1/models/m@tfserving/metadata")
    assert statistics() == before
    await gateway.json("/v1/models/m@tfserving:predict", ROWS)
    assert statistics() != before


def test_every_route_is_described_with_its_parameters() -> None:
    app = FastAPI()
    tf_serving_routes.add(app)
    paths = app.openapi()["paths"]
    assert len(paths) == 3 * 5
    for path, methods in paths.items():
        (operation,) = methods.values()
        named = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
        assert named == {part.split("}")[0] for part in path.split("{")[1:]}, path
    predict = app.openapi()["components"]["schemas"]["PredictRequest"]
    assert predict["properties"]["instances"]["type"] == "array"
