"""TorchServe's words: each error has a status and a type, and a model is told from a version that is not there."""

from __future__ import annotations

import json

import pytest

from adapters.base import Endpoint, RawAnswer
from adapters.errors import BackendDied, InferenceFailed, InvalidInput, ServingError
from adapters.tensors import Signature
from gateway.protocols.open_inference import STATUS as V2_STATUS
from gateway.protocols.torchserve import (
    ERRORS,
    Refusal,
    encode_error,
    encode_health,
    handler_error,
    is_healthy,
    missing,
    read_target,
    takes_bodies,
)
from gateway.types import Deployment, ModelTable, Standing, State, Target


def table(labels: dict[str, int] | None = None, **states: State) -> ModelTable:
    """A model m; `v1_tflite=READY`."""
    standings = {}
    for name, state in states.items():
        version, backend = name[1:].split("_")
        standings[Deployment("m", int(version), backend)] = Standing(state)
    return ModelTable("m", ("onnxruntime", "tflite"), labels or {}, standings)


def test_every_error_has_a_status_and_a_type() -> None:
    assert ERRORS.keys() == V2_STATUS.keys()
    for kind, (status, name) in ERRORS.items():
        if kind.__name__ != "Overloaded":
            body = json.loads(encode_error(kind("why")))
            assert body == {"code": status, "type": name, "message": "why"}
        assert 400 <= status < 600
        assert name.endswith("Exception")


def test_what_nobody_foresaw_is_an_internal_error() -> None:
    body = json.loads(encode_error(ServingError("id 7")))
    assert body == {"code": 500, "type": "InternalServerException", "message": "id 7"}


def test_bodies_are_printed_as_torchserve_prints_them() -> None:
    assert encode_health(True) == b'{\n  "status": "Healthy"\n}\n'
    assert encode_health(False) == b'{\n  "status": "Unhealthy"\n}\n'


@pytest.mark.parametrize(
    ("model", "version", "target"),
    [
        ("m", None, Target("m")),
        ("m@tflite", None, Target("m", None, None, "tflite")),
        ("m", "2", Target("m", 2)),
        ("m", "2.0", Target("m", 2)),
        ("m", "00000123", Target("m", 123)),
    ],
)
def test_versions_may_look_like_torchserves_own(model: str, version: str | None, target: Target) -> None:
    assert read_target(model, version, {}) == target


@pytest.mark.parametrize(
    ("model", "version", "kind"),
    [
        ("M", None, "ModelNotFoundException"),
        ("..", None, "ModelNotFoundException"),
        ("a@b@c", "1", "ModelNotFoundException"),
        ("x" * 5000, None, "ModelNotFoundException"),
        ("m", "0", "ModelVersionNotFoundException"),
        ("m", "0.0", "ModelVersionNotFoundException"),
        ("m", "1.1", "ModelVersionNotFoundException"),
        ("m", "-1", "ModelVersionNotFoundException"),
        ("m", "latest", "ModelVersionNotFoundException"),
        ("m", "9" * 5000, "ModelVersionNotFoundException"),
        ("other", "x", "ModelNotFoundException"),
    ],
)
def test_what_can_be_no_name_is_not_found(model: str, version: str | None, kind: str) -> None:
    with pytest.raises(Refusal) as refusal:
        read_target(model, version, {"m": table(v1_onnxruntime=State.READY)})
    assert (refusal.value.status, refusal.value.kind) == (404, kind)
    assert len(refusal.value.body()) < 600


R, U = State.READY, State.UNLOADED


@pytest.mark.parametrize(
    ("target", "there", "message"),
    [
        (Target("m"), None, "Model not found: m"),
        (Target("m"), table(), "Model not found: m"),
        (Target("m"), table(v1_onnxruntime=U), "Model not found: m"),
        (Target("m", 1), table(v1_onnxruntime=State.DRAINING), "Model not found: m"),
        (Target("m", 2), table(v1_onnxruntime=R), "Model version: 2 does not exist for model: m"),
        (Target("m", 2), table(v1_onnxruntime=R, v2_tflite=U), "Model version: 2 does not exist for model: m"),
        (Target("m"), table({"stable": 3}, v1_onnxruntime=R), "Model version: 3 does not exist for model: m"),
        (
            Target("m", None, None, "nope"),
            table(v1_onnxruntime=R, v1_tflite=R),
            "Model not found: m@nope; backends there are: onnxruntime, tflite",
        ),
        (
            Target("m", 2, None, "tflite"),
            table(v1_tflite=R, v2_onnxruntime=R),
            "Model not found: m@tflite; backends there are: onnxruntime",
        ),
    ],
)
def test_a_model_is_told_from_a_version_that_is_not_there(
    target: Target, there: ModelTable | None, message: str
) -> None:
    refusal = missing(target, there)
    assert refusal is not None
    assert (refusal.status, str(refusal)) == (404, message)
    assert refusal.kind == ("ModelVersionNotFoundException" if "version:" in message else "ModelNotFoundException")


def test_what_is_there_and_not_ready_is_there() -> None:
    assert missing(Target("m"), table(v1_onnxruntime=State.FAILED)) is None
    assert missing(Target("m", 1, None, "tflite"), table(v1_tflite=State.LOADING)) is None


def test_health_needs_a_model_that_can_answer_where_there_are_models() -> None:
    assert is_healthy(True, {})
    assert is_healthy(True, {"m": table(v1_onnxruntime=U)})
    assert is_healthy(True, {"m": table(v1_onnxruntime=State.FAILED), "n": table(v1_onnxruntime=R)})
    assert not is_healthy(True, {"m": table(v1_onnxruntime=State.FAILED, v2_tflite=U)})
    assert not is_healthy(False, {"m": table(v1_onnxruntime=R)})


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (503, b'{"code": 503, "message": "Prediction failed"}', InferenceFailed, "answered 503: Prediction failed"),
        (507, b'{"code": 507, "message": "Worker died."}', BackendDied, "being restarted"),
        (418, b"short", InvalidInput, "answered 418: short"),
        (500, b"[" * 5000, InferenceFailed, "answered 500: [["),
        (500, b"[1]", InferenceFailed, "answered 500: [1]"),
        (500, b"\xff", InferenceFailed, "answered 500"),
        (500, b"", InferenceFailed, "no reason given"),
    ],
)
def test_a_handlers_refusal_has_a_meaning(status: int, body: bytes, kind: type[ServingError], said: str) -> None:
    error = handler_error(RawAnswer(status, (), body))
    assert type(error) is kind
    assert said in str(error)


def test_only_handlers_of_their_own_take_bodies() -> None:
    def endpoint(**remote: str) -> Endpoint:
        return Endpoint("torchserve", "http://x", Signature((), ()), "", None, remote)

    assert takes_bodies(endpoint(kind="raw"))
    assert not takes_bodies(endpoint(kind="tensors"))
    assert not takes_bodies(endpoint())
