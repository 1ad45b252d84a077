"""A model that costs next to nothing, so that servers are what is measured: Torii beside all others."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from functools import partial

from loadtests.bench import answers, archives, case, models, payloads, peers, servers, v2
from loadtests.bench.answers import Answer
from loadtests.bench.case import Case
from loadtests.bench.comparisons import ADDED, Benchmark, Goal, Part, goals
from loadtests.bench.comparisons import THROUGHPUT as RATE
from loadtests.bench.contenders import Contender
from loadtests.bench.in_process import InProcess
from loadtests.bench.processes import Place, Server
from loadtests.bench.torchserve import torchserve
from loadtests.bench.triton import Served, triton
from loadtests.bench.triton import missing as triton_missing

_RAW = "raw onnxruntime"
_JSON, _BINARY, _GRPC = "Torii V2 JSON", "Torii V2 binary", "Torii V2 gRPC"
_TF_SERVING = "Torii TF Serving JSON"
_ASGI, _PLAIN = "bare ASGI app", "plain FastAPI"
_TRITON_JSON, _TRITON_BINARY, _TRITON_GRPC = "Triton V2 JSON", "Triton V2 binary", "Triton V2 gRPC"
_MLSERVER, _KSERVE, _KSERVE_GRPC = "MLServer V2 JSON", "KServe V2 JSON", "KServe V2 gRPC"
_LITSERVE, _BENTOML, _TORCHSERVE = "LitServe JSON", "BentoML JSON", "TorchServe JSON"
_CONNECTIONS = (1, 8, 32)


@contextlib.contextmanager
def _raw(place: Place, mlp: Case) -> Iterator[Sequence[InProcess]]:
    yield [InProcess(_RAW, _PLAIN, mlp.model, place.core, mlp.x)]


@contextlib.contextmanager
def _torii(place: Place, mlp: Case) -> Iterator[Sequence[Contender]]:
    with servers.torii(place, mlp.repository, [mlp.name]) as server:
        body, answer = payloads.tf_serving_json(mlp.x), Answer(answers.json_values("predictions"), mlp.expected)
        path = f"/v1/models/{mlp.name}:predict"
        yield [
            v2.json(_JSON, _PLAIN, server, mlp),
            v2.binary(_BINARY, _PLAIN, server, mlp),
            v2.grpc(_GRPC, _PLAIN, server, mlp),
            Contender(_TF_SERVING, _PLAIN, (server,), path, body, payloads.JSON, answer=answer),
        ]


@contextlib.contextmanager
def _asgi(place: Place, mlp: Case) -> Iterator[Sequence[Contender]]:
    with servers.bare_asgi(place, mlp.model) as server:
        yield [v2.json(_ASGI, _PLAIN, server, mlp)]


@contextlib.contextmanager
def _plain(place: Place, mlp: Case) -> Iterator[Sequence[Contender]]:
    with servers.plain_fastapi(place, mlp.model) as server:
        yield [v2.json(_PLAIN, _PLAIN, server, mlp)]


@contextlib.contextmanager
def _triton(place: Place, mlp: Case) -> Iterator[Sequence[Contender]]:
    with triton(place, [Served(mlp.name, mlp)]) as server:
        yield [
            v2.json(_TRITON_JSON, _PLAIN, server, mlp),
            v2.binary(_TRITON_BINARY, _PLAIN, server, mlp),
            v2.grpc(_TRITON_GRPC, _PLAIN, server, mlp),
        ]


@contextlib.contextmanager
def _mlserver(place: Place, mlp: Case) -> Iterator[Sequence[Contender]]:
    with peers.mlserver(place, mlp) as server:
        yield [v2.json(_MLSERVER, _PLAIN, server, mlp)]


@contextlib.contextmanager
def _kserve(place: Place, mlp: Case) -> Iterator[Sequence[Contender]]:
    with peers.kserve(place, mlp) as server:
        yield [v2.json(_KSERVE, _PLAIN, server, mlp), v2.grpc(_KSERVE_GRPC, _PLAIN, server, mlp)]


@contextlib.contextmanager
def _litserve(place: Place, mlp: Case) -> Iterator[Sequence[Contender]]:
    with peers.litserve(place, mlp) as server:
        yield [_own(_LITSERVE, server, "/predict", mlp.x[0].tolist(), mlp, "y")]


@contextlib.contextmanager
def _bentoml(place: Place, mlp: Case) -> Iterator[Sequence[Contender]]:
    with peers.bentoml(place, mlp) as server:
        yield [_own(_BENTOML, server, "/predict", mlp.x.tolist(), mlp)]


@contextlib.contextmanager
def _torchserve(place: Place, mlp: Case) -> Iterator[Sequence[Contender]]:
    archive = place.folder / "batched" / "mlp.mar"
    archives.write_torchscript(archive, mlp.name, mlp.model)
    with torchserve(place, mlp.name, archive) as (server, _):
        yield [_own(_TORCHSERVE, server, f"/predictions/{mlp.name}", mlp.x[0].tolist(), mlp, "y")]


def _own(name: str, server: Server, path: str, x: object, mlp: Case, key: str | None = None) -> Contender:
    """A server whose users choose the JSON themselves."""
    answer = Answer(answers.json_values(key), mlp.expected)
    return Contender(name, _PLAIN, (server,), path, json.dumps({"x": x}).encode(), payloads.JSON, answer=answer)


def _parts(place: Place) -> list[Part]:
    mlp = case.make(place, "mlp", models.write_mlp, (1, 64))
    starts = {"mlserver": _mlserver, "kserve": _kserve, "litserve": _litserve, "bentoml": _bentoml}
    return [
        Part("raw", partial(_raw, place, mlp)),
        Part("torii", partial(_torii, place, mlp)),
        Part("asgi", partial(_asgi, place, mlp)),
        Part("fastapi", partial(_plain, place, mlp)),
        Part("triton", partial(_triton, place, mlp), triton_missing),
        *(Part(name, partial(start, place, mlp), partial(peers.missing, name)) for name, start in starts.items()),
        Part("torchserve", partial(_torchserve, place, mlp)),
    ]


BENCHMARK = Benchmark(
    "MLP 64→32→10 in ONNX, one row a request; ratio: requests/s to plain FastAPI's",
    _CONNECTIONS,
    RATE,
    (
        Goal(_JSON, _ASGI, 1, ADDED, at_least=False, bound=0.15),  # the model in the server's own process
        *goals(_BINARY, _TRITON_BINARY, _CONNECTIONS, 1.0),
        *goals(_JSON, _TRITON_JSON, _CONNECTIONS, 1.3),
        *goals(_GRPC, _TRITON_GRPC, _CONNECTIONS, 1.0),
        *goals(_JSON, _PLAIN, _CONNECTIONS, 3.0),
        *goals(_JSON, _MLSERVER, _CONNECTIONS, 5.0),
        *goals(_JSON, _KSERVE, _CONNECTIONS, 8.0),
        *goals(_GRPC, _KSERVE_GRPC, _CONNECTIONS, 8.0),
        *goals(_JSON, _LITSERVE, _CONNECTIONS, 8.0),
        *goals(_JSON, _BENTOML, _CONNECTIONS, 8.0),
        *goals(_JSON, _TORCHSERVE, _CONNECTIONS, None),
        *goals(_JSON, _ASGI, _CONNECTIONS, None),
        *goals(_BINARY, _JSON, _CONNECTIONS, 1.0),
    ),
    _parts,
)
