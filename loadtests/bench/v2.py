"""Contenders that are asked in the Open Inference Protocol, V2: as JSON, with binary tensors, over gRPC."""

from __future__ import annotations

from loadtests.bench import answers, payloads
from loadtests.bench.answers import Answer
from loadtests.bench.case import Case
from loadtests.bench.contenders import Contender
from loadtests.bench.processes import Server

_GRPC_INFER = "/inference.GRPCInferenceService/ModelInfer"


def json(name: str, beside: str, server: Server, case: Case, model: str | None = None) -> Contender:
    """One row as a list of numbers; `model` is its name there where it is another than the case's."""
    answer = Answer(answers.v2_json, case.expected)
    body = payloads.v2_json("x", case.x)
    return Contender(name, beside, (server,), _path(model or case.name), body, payloads.JSON, answer=answer)


def binary(name: str, beside: str, server: Server, case: Case, model: str | None = None) -> Contender:
    """One row as raw bytes, there and back."""
    answer = Answer(answers.v2_binary, case.expected)
    body, head = payloads.v2_binary("x", case.x)
    return Contender(name, beside, (server,), _path(model or case.name), body, head, answer=answer)


def grpc(name: str, beside: str, server: Server, case: Case, model: str | None = None) -> Contender:
    """One row in raw_input_contents."""
    answer = Answer(answers.v2_grpc, case.expected)
    message = payloads.v2_grpc(model or case.name, "x", case.x)
    return Contender(name, beside, (server,), _GRPC_INFER, message, grpc=True, answer=answer)


def _path(model: str) -> str:
    return f"/v2/models/{model}/infer"
