"""A model that costs much, beside which a server is to cost nothing: ResNet-18's shape on one image a request."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial

from loadtests.bench import case, models, servers, v2
from loadtests.bench.case import Case
from loadtests.bench.comparisons import THROUGHPUT, Benchmark, Part, goals
from loadtests.bench.contenders import Contender
from loadtests.bench.in_process import InProcess
from loadtests.bench.processes import Place
from loadtests.bench.triton import Served, triton
from loadtests.bench.triton import missing as triton_missing

_BATCHES = (1, 8)
_RAW = tuple(f"raw onnxruntime, batches of {rows}" for rows in _BATCHES)
_TORII, _TRITON = "Torii V2 binary", "Triton V2 binary"
_CONNECTIONS = (1, 8)


@contextlib.contextmanager
def _raw(place: Place, resnet: Case) -> Iterator[Sequence[InProcess]]:
    yield [
        InProcess(name, _RAW[0], resnet.model, place.core, resnet.x, rows)
        for name, rows in zip(_RAW, _BATCHES, strict=True)
    ]


@contextlib.contextmanager
def _torii(place: Place, resnet: Case) -> Iterator[Sequence[Contender]]:
    with servers.torii(place, resnet.repository, [resnet.name]) as server:
        yield [v2.binary(_TORII, _RAW[0], server, resnet)]


@contextlib.contextmanager
def _triton(place: Place, resnet: Case) -> Iterator[Sequence[Contender]]:
    with triton(place, [Served(resnet.name, resnet)]) as server:
        yield [v2.binary(_TRITON, _RAW[0], server, resnet)]


def _parts(place: Place) -> list[Part]:
    resnet = case.make(place, "resnet", models.write_resnet, (1, 3, 224, 224))
    return [
        Part("raw", partial(_raw, place, resnet)),
        Part("torii", partial(_torii, place, resnet)),
        Part("triton", partial(_triton, place, resnet), triton_missing),
    ]


BENCHMARK = Benchmark(
    "ResNet-18's shape on 1×3×224×224, one image a request; ratio: images/s to onnxruntime's alone, one by one",
    _CONNECTIONS,
    THROUGHPUT,
    (*goals(_TORII, _RAW[0], _CONNECTIONS, 0.97), *goals(_TORII, _TRITON, _CONNECTIONS, 1.0)),
    _parts,
)
