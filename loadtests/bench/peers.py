"""Other people's servers, each in an environment of its own, which `make bench-peers` makes.

Each is set up as its documentation has it for one core, with the settings that were fastest here; batching is on
wherever there is any.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loadtests.bench.case import Case
from loadtests.bench.processes import ROOT, Place, Server, answers, free_ports, listens, running
from loadtests.bench.servers import PROGRAMS

PEERS = ROOT / ".peers"
MAX_ROWS = 32
"""The largest batch that each is told to form."""

_MLSERVER_WAIT_S = 0.0001
_LITSERVE_WAIT_S = 0.001
_BENTOML_LATENCY_MS = 1000


def missing(name: str) -> str | None:
    """Why a peer cannot run, or None."""
    installed = PEERS / name / ".installed"
    return None if installed.exists() else "it is not installed (make bench-peers)"


def _bin(name: str) -> Path:
    return PEERS / name / "bin"


@contextlib.contextmanager
def mlserver(place: Place, case: Case) -> Iterator[Server]:
    """MLServer with its adaptive batching; one process, for parallel workers only cost where there is one core."""
    http, grpc = free_ports(2)
    folder = place.folder / "mlserver"
    folder.mkdir()
    settings: dict[str, Any] = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_endpoint": None}
    settings |= {"parallel_workers": 0, "debug": False}
    model: dict[str, Any] = {
        "name": case.name,
        "implementation": "mlserver_runtime.Onnx",
        "parameters": {"uri": str(case.model)},
    }
    model |= {"max_batch_size": MAX_ROWS, "max_batch_time": _MLSERVER_WAIT_S}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    argv = [str(_bin("mlserver") / "mlserver"), "start", str(folder)]
    path = {"PYTHONPATH": str(PROGRAMS)}
    with running("MLServer", argv, place, lambda: answers(http, f"/v2/models/{case.name}/ready"), path) as process:
        yield Server("MLServer", process, http, grpc)


@contextlib.contextmanager
def kserve(place: Place, case: Case) -> Iterator[Server]:
    """The KServe SDK's server over REST and gRPC; it has no batching of its own."""
    http, grpc = free_ports(2)
    argv = _program("kserve", "kserve_server", case.name, case.model, http, grpc)
    with running("KServe", argv, place, lambda: listens(http) and listens(grpc)) as process:
        yield Server("KServe", process, http, grpc)


@contextlib.contextmanager
def litserve(place: Place, case: Case) -> Iterator[Server]:
    """LitServe: one process that answers, one worker, batches."""
    (port,) = free_ports(1)
    argv = _program("litserve", "litserve_server", case.model, port, MAX_ROWS, _LITSERVE_WAIT_S)
    with running("LitServe", argv, place, lambda: answers(port, "/health")) as process:
        yield Server("LitServe", process, port)


@contextlib.contextmanager
def bentoml(place: Place, case: Case) -> Iterator[Server]:
    """BentoML with its adaptive batching; one worker."""
    (port,) = free_ports(1)
    home = place.folder / "bentoml"
    argv = [str(_bin("bentoml") / "bentoml"), "serve", "bentoml_service:Onnx", "--host", "127.0.0.1"]
    settings = {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "true", "PYTHONPATH": str(PROGRAMS)}
    settings |= {"BENCH_MODEL": str(case.model), "BENCH_ROWS": str(MAX_ROWS), "BENCH_MS": str(_BENTOML_LATENCY_MS)}
    with running("BentoML", [*argv, "--port", str(port)], place, lambda: answers(port, "/readyz"), settings) as process:
        yield Server("BentoML", process, port)


def _program(peer: str, program: str, *arguments: object) -> list[str]:
    python, path = _bin(peer) / "python", PROGRAMS / f"{program}.py"
    return [str(python), "-P", str(path), *map(str, arguments)]  # -P: programs must not find each other
