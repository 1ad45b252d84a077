"""What batching gains where weights are read once a batch: Torii and Triton, each with it and without.

The bound is onnxruntime's own curve, measured in the same run: rows/s in batches over rows/s one by one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial

from loadtests.bench import case, models, servers, v2
from loadtests.bench.case import Case
from loadtests.bench.comparisons import THROUGHPUT, Benchmark, Goal, Part, goals
from loadtests.bench.contenders import Contender
from loadtests.bench.in_process import InProcess
from loadtests.bench.processes import Place
from loadtests.bench.triton import Served, triton
from loadtests.bench.triton import missing as triton_missing

_BATCHES = (1, 2, 4, 8, 16, 32, 64)
_RAW = tuple(f"raw onnxruntime, batches of {rows}" for rows in _BATCHES)
_TORII, _TORII_SINGLE = "Torii, batching", "Torii, max_rows = 1"
_TRITON, _TRITON_SINGLE = "Triton, dynamic batching", "Triton, no batching"
_CONNECTIONS = (1, 8, 32)
_SINGLE = "cnn-single"


@contextlib.contextmanager
def _raw(place: Place, cnn: Case) -> Iterator[Sequence[InProcess]]:
    yield [
        InProcess(name, _RAW[0], cnn.model, place.core, cnn.x, rows) for name, rows in zip(_RAW, _BATCHES, strict=True)
    ]


@contextlib.contextmanager
def _torii(place: Place, cnn: Case) -> Iterator[Sequence[Contender]]:
    cnn.also(_SINGLE, "[batching]\nmax_rows = 1\n")
    with servers.torii(place, cnn.repository, [cnn.name, _SINGLE]) as server:
        yield [
            v2.binary(_TORII, _TORII_SINGLE, server, cnn),
            v2.binary(_TORII_SINGLE, _TORII_SINGLE, server, cnn, _SINGLE),
        ]


@contextlib.contextmanager
def _triton(place: Place, cnn: Case) -> Iterator[Sequence[Contender]]:
    with triton(place, [Served(cnn.name, cnn), Served(_SINGLE, cnn, batching=False)]) as server:
        yield [
            v2.binary(_TRITON, _TRITON_SINGLE, server, cnn),
            v2.binary(_TRITON_SINGLE, _TRITON_SINGLE, server, cnn, _SINGLE),
        ]


def _parts(place: Place) -> list[Part]:
    cnn = case.make(place, "cnn", models.write_cnn, (1, 1, 28, 28))
    return [
        Part("raw", partial(_raw, place, cnn)),
        Part("torii", partial(_torii, place, cnn)),
        Part("triton", partial(_triton, place, cnn), triton_missing),
    ]


BENCHMARK = Benchmark(
    "CNN 1×28×28, 7.4 million weights, one row a request, V2 binary; ratio: requests/s to the same without batching",
    _CONNECTIONS,
    THROUGHPUT,
    (
        *goals(_TORII, _TORII_SINGLE, (1, 8), None),
        Goal(_TORII, _TORII_SINGLE, 32, THROUGHPUT, at_least=True, bound=3.7, curve=_RAW),
        *goals(_TRITON, _TRITON_SINGLE, _CONNECTIONS, None),
        *goals(_TORII, _TRITON, _CONNECTIONS, 1.0),
    ),
    _parts,
)
