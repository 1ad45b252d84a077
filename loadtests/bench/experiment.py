"""What an experiment costs: the same gateway, model and requests, with one and without."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from loadtests.bench import case, models, servers, v2
from loadtests.bench.case import Case
from loadtests.bench.comparisons import THROUGHPUT, Benchmark, Goal, Part
from loadtests.bench.contenders import Contender
from loadtests.bench.processes import Place, Server

_CONNECTIONS = (1, 8, 32)
_UNIT = "torii-unit: user-{n}"
_WITHOUT, _WITH, _AWAITING = "without", "with an experiment", "with one that awaits outcomes"
_KINDS = ("JSON", "JSON, 4096 units", "binary", "binary, 4096 units")

# All requests go to one version, and so to one worker: two would batch otherwise than one.
_EXPERIMENT = """
state = "running"
[variants.a]
target = "mlp/2@onnxruntime"
weight = 100
[variants.b]
target = "mlp/1@onnxruntime"
weight = 0
"""
_OUTCOMES = '[metrics.correct]\nkind = "binary"\nbetter = "higher"\nmargin = 0.01\n'


def _repository(place: Place, mlp: Case, name: str, experiment: str) -> Path:
    folder = place.folder / name
    shutil.copytree(mlp.repository, folder)
    shutil.copytree(folder / mlp.name / "1", folder / mlp.name / "2")
    if experiment:
        file = folder / mlp.name / "experiments" / "cost.toml"
        file.parent.mkdir()
        file.write_text(experiment)
    return folder


@contextlib.contextmanager
def _torii(place: Place, mlp: Case, which: str, experiment: str) -> Iterator[Sequence[Contender]]:
    name = which.replace(" ", "-")
    repository = _repository(place, mlp, name, experiment)
    with servers.torii(place, repository, [mlp.name], STORE=f"sqlite:///{place.folder / name}.db") as server:
        yield [_contender(kind, which, server, mlp) for kind in _KINDS]


def _contender(kind: str, which: str, server: Server, mlp: Case) -> Contender:
    make = v2.json if kind.startswith("JSON") else v2.binary
    plain = make(_name(kind, which), _name(kind, _WITHOUT), server, mlp)
    headers = (*plain.headers, _UNIT) if kind.endswith("units") else plain.headers
    return Contender(plain.name, plain.beside, plain.servers, plain.path, plain.body, headers, answer=plain.answer)


def _name(kind: str, which: str) -> str:
    return f"{kind}, {which}"


def _parts(place: Place) -> list[Part]:
    mlp = case.make(place, "mlp", models.write_mlp, (1, 64))
    return [
        Part("without", partial(_torii, place, mlp, _WITHOUT, "")),
        Part("experiment", partial(_torii, place, mlp, _WITH, _EXPERIMENT)),
        Part("outcomes", partial(_torii, place, mlp, _AWAITING, _EXPERIMENT + _OUTCOMES)),
    ]


BENCHMARK = Benchmark(
    "MLP 64→32→10 with and without an experiment; ratio: requests/s to the same without",
    _CONNECTIONS,
    THROUGHPUT,
    tuple(
        Goal(_name(kind, which), _name(kind, _WITHOUT), count, THROUGHPUT, at_least=True, bound=0.97)
        for which in (_WITH, _AWAITING)
        for kind in _KINDS
        for count in _CONNECTIONS
    ),
    _parts,
)
