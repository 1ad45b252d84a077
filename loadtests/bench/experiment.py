"""What an experiment costs: the same gateway, model and requests, with one and without."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from functools import partial

from loadtests.bench import case, models, servers, v2
from loadtests.bench.case import Case
from loadtests.bench.comparisons import THROUGHPUT, Benchmark, Goal, Part
from loadtests.bench.contenders import Contender
from loadtests.bench.processes import Place, Server

_CONNECTIONS = (1, 8, 32)
_UNIT = "torii-unit: user-{n}"
_KINDS = ("JSON", "JSON, 4096 units", "binary", "binary, 4096 units")

# All requests go to one version, and so to one worker: two would batch otherwise than one.
_EXPERIMENT = """
state = "running"
[variants.a]
target = "{model}/2@onnxruntime"
weight = 100
[variants.b]
target = "{model}/1@onnxruntime"
weight = 0
"""
_OUTCOMES = '[metrics.correct]\nkind = "binary"\nbetter = "higher"\nmargin = 0.01\n'

# One gateway has the same model three times: two gateways differ by more than an experiment costs.
_WITHOUT, _WITH, _AWAITING = "without", "with an experiment", "with one that awaits outcomes"
_MODELS = {_WITHOUT: "plain", _WITH: "assigned", _AWAITING: "awaiting"}
_EXPERIMENTS = {_WITH: _EXPERIMENT, _AWAITING: _EXPERIMENT + _OUTCOMES}


def _prepare(mlp: Case) -> None:
    for which, model in _MODELS.items():
        mlp.also(model, "")
        folder = mlp.repository / model
        shutil.copytree(folder / "1", folder / "2")
        if which in _EXPERIMENTS:
            file = folder / "experiments" / "cost.toml"
            file.parent.mkdir()
            file.write_text(_EXPERIMENTS[which].format(model=model))
    shutil.rmtree(mlp.repository / mlp.name)


@contextlib.contextmanager
def _torii(place: Place, mlp: Case) -> Iterator[Sequence[Contender]]:
    _prepare(mlp)
    store = f"sqlite:///{place.folder}/store.db"
    with servers.torii(place, mlp.repository, list(_MODELS.values()), STORE=store) as server:
        yield [_contender(kind, which, server, mlp) for kind in _KINDS for which in _MODELS]


def _contender(kind: str, which: str, server: Server, mlp: Case) -> Contender:
    make = v2.json if kind.startswith("JSON") else v2.binary
    plain = make(_name(kind, which), _name(kind, _WITHOUT), server, mlp, _MODELS[which])
    headers = (*plain.headers, _UNIT) if kind.endswith("units") else plain.headers
    return Contender(plain.name, plain.beside, plain.servers, plain.path, plain.body, headers, answer=plain.answer)


def _name(kind: str, which: str) -> str:
    return f"{kind}, {which}"


def _parts(place: Place) -> list[Part]:
    mlp = case.make(place, "mlp", models.write_mlp, (1, 64))
    return [Part("torii", partial(_torii, place, mlp))]


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
