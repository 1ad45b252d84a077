"""A small model over every protocol, beside a plain FastAPI app and the KServe SDK's server."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import numpy as np

from loadtests.bench import payloads, servers
from loadtests.bench.comparisons import THROUGHPUT, Benchmark, Goal
from loadtests.bench.contenders import Contender
from loadtests.bench.models import write_mlp
from loadtests.bench.servers import Place

_JSON, _BINARY, _GRPC = "Torii V2 JSON", "Torii V2 binary", "Torii V2 gRPC"
_TF_SERVING = "Torii TF Serving JSON"
_PLAIN, _KSERVE = "plain FastAPI", "KServe V2 gRPC"
_INFER = "/v2/models/mlp/infer"
_PREDICT = "/v1/models/mlp:predict"
_GRPC_INFER = "/inference.GRPCInferenceService/ModelInfer"
_X = (np.arange(64) / 64).astype(np.float32).reshape(1, 64)


@contextlib.contextmanager
def _start(place: Place) -> Iterator[list[Contender]]:
    repository = place.folder / "repository"
    model = repository / "mlp" / "1" / "model.onnx"
    write_mlp(model)
    with contextlib.ExitStack() as running:
        torii = (running.enter_context(servers.torii(place, repository, ["mlp"])),)
        plain = (running.enter_context(servers.plain_fastapi(place, model)),)
        json, message = payloads.v2_json("x", _X), payloads.v2_grpc("mlp", "x", _X)
        binary, head = payloads.v2_binary("x", _X)
        contenders = [
            Contender(_JSON, _PLAIN, torii, _INFER, json, payloads.JSON),
            Contender(_BINARY, _PLAIN, torii, _INFER, binary, head),
            Contender(_GRPC, _PLAIN, torii, _GRPC_INFER, message, grpc=True),
            Contender(_TF_SERVING, _PLAIN, torii, _PREDICT, payloads.tf_serving_json(_X), payloads.JSON),
            Contender(_PLAIN, _PLAIN, plain, _INFER, json, payloads.JSON),
        ]
        if servers.has_kserve():
            kserve = (running.enter_context(servers.kserve(place, model)),)
            contenders.append(Contender(_KSERVE, _PLAIN, kserve, _GRPC_INFER, message, grpc=True))
        else:
            print("KServe is left out: its interpreter is missing (make bench-peers)", file=sys.stderr)
        yield contenders


BENCHMARK = Benchmark(
    "MLP 64→32→10 in ONNX, one row a request; ratio: requests/s to plain FastAPI's",
    (1, 8, 32),
    THROUGHPUT,
    (
        Goal(_BINARY, _JSON, 32, THROUGHPUT, at_least=True, bound=1.0),
        Goal(_GRPC, _KSERVE, 32, THROUGHPUT, at_least=True, bound=2.0),
    ),
    _start,
)
