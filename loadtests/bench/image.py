"""A tensor of an image's size, beside the least that a server can do with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

import numpy as np

from loadtests.bench import answers, payloads, servers
from loadtests.bench.answers import Answer
from loadtests.bench.comparisons import LATENCY, Benchmark, Goal, Part
from loadtests.bench.contenders import Contender
from loadtests.bench.models import write_image_model
from loadtests.bench.processes import Place

_ECHO = "echo"
_POOL, _IDENTITY = "Torii V2 binary, small output", "Torii V2 binary, output as big"
_X = np.random.default_rng(0).random((1, 3, 224, 224), np.float32)


def _parts(place: Place) -> list[Part]:
    return [Part("all", partial(_start, place))]


@contextlib.contextmanager
def _start(place: Place) -> Iterator[list[Contender]]:
    repository = place.folder / "repository"
    write_image_model(repository / "pool" / "1" / "model.onnx", "GlobalAveragePool", 1)
    write_image_model(repository / "identity" / "1" / "model.onnx", "Identity", 224)
    with servers.torii(place, repository, ["pool", "identity"]) as torii, servers.echo(place) as echo:
        binary, head = payloads.v2_binary("x", _X)
        json, message = payloads.v2_json("x", _X), payloads.v2_grpc("pool", "x", _X)
        pool, identity = "/v2/models/pool/infer", "/v2/models/identity/infer"
        method = "/inference.GRPCInferenceService/ModelInfer"
        mean = _X.mean((2, 3))
        small, big = Answer(answers.v2_binary, mean), Answer(answers.v2_binary, _X)
        by_grpc, by_json = Answer(answers.v2_grpc, mean), Answer(answers.v2_json, mean)
        yield [
            Contender(_ECHO, _ECHO, (echo,), "/", binary),
            Contender(_POOL, _ECHO, (torii,), pool, binary, head, answer=small),
            Contender(_IDENTITY, _ECHO, (torii,), identity, binary, head, answer=big),
            Contender("Torii V2 gRPC, small output", _ECHO, (torii,), method, message, grpc=True, answer=by_grpc),
            Contender("Torii V2 JSON, small output", _ECHO, (torii,), pool, json, payloads.JSON, answer=by_json),
        ]


BENCHMARK = Benchmark(
    "One FP32 tensor 1×3×224×224 (602 kB, 3 MB as JSON); ratio: p50 to the echo's",
    (1,),
    LATENCY,
    tuple(Goal(name, _ECHO, 1, LATENCY, at_least=False, bound=1.3) for name in (_POOL, _IDENTITY)),
    _parts,
)
