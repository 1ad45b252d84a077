"""A gateway made up: its HTTP is real, its deployments are formulas, and load on it is reckoned."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from loadtests.dialects import DIALECTS, Reply
from loadtests.engine.plan import Plan, Request, Target
from loadtests.gateways import Gateway
from loadtests.generator import GeneratorFailed
from loadtests.results.schema import Run
from loadtests.verdict.bench import Effort
from loadtests.verdict.judging import Options, Tools
from tests.loadtests.invented import made_machine
from tests.loadtests.run.made import QUIET, part

X = np.arange(24, dtype=np.float32).reshape(8, 3) / 24
SOFT = np.exp(X) / np.exp(X).sum(axis=1, keepdims=True)
SHORT = Effort(rounds=3, seconds=1.0, warm_up_s=0.0, search_s=1.0, precision=0.1)


@dataclass
class Backend:
    """`base_us` alone, more the nearer the rate comes to `capacity`; answers are a softmax, `shift`ed."""

    base_us: float = 500.0
    capacity: float = 2000.0
    shift: float = 0.0
    state: str = "READY"
    reason: str = ""
    dies_in: str = ""
    """The phase from which on nothing is answered."""

    failing: int = 0
    """Of each slice."""

    generator_fails: bool = False


@dataclass
class World:
    """What a test says of it, and what it sees: `stretches` are (deployment, phase) in order."""

    backends: dict[str, Backend]
    golden: bytes | None = None
    cores: int = 2
    stretches: list[tuple[str, str]] = field(default_factory=list)
    kept: list[Any] = field(default_factory=list)
    url: str = ""

    @property
    def gateway(self) -> Gateway:
        port = int(self.url.rpartition(":")[2])
        return Gateway("127.0.0.1", port, 1, self.url, None)

    def status(self) -> dict[str, Any]:
        told = [
            {
                "deployment": f"m/1@{name}", "model": "m", "version": 1, "backend": name, "state": each.state,
                "reason": each.reason, "runtime": f"{name} 1", "digest": "ab" * 32, "rss_bytes": 50_000_000,
                "server_rss_bytes": None, "sharing": 1, "load_s": 0.5, "artifact_bytes": 1000,
            }
            for name, each in self.backends.items()
        ]  # fmt: skip
        return {"ready": True, "cores": self.cores, "deployments": told}

    def tools(self, dialect: str = "v2-json") -> Tools:
        return Tools(self.measure, DIALECTS[dialect], self.ask, made_machine, lambda text: None)

    def ask(self, target: Target, request: Request) -> Reply:
        name = request.path.split("/")[3].partition("@")[2]
        rows = np.array(json.loads(request.body)["inputs"][0]["data"]).reshape(-1, 3)
        scores = np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True)
        scores[:, 0] += self.backends[name].shift
        output = {"name": "p", "datatype": "FP64", "shape": list(scores.shape), "data": scores.ravel().tolist()}
        return Reply(200, {}, json.dumps({"outputs": [output]}).encode(), f"m/1@{name}")

    def measure(self, plan: Plan, level: float, seconds: float, **more: Any) -> Run:
        phase, number = more["phase"], more["round"]
        backend = self.backends[plan.served_by.partition("@")[2]]
        self.stretches.append((plan.served_by, phase))
        if backend.generator_fails:
            raise GeneratorFailed("no core left")
        if backend.dies_in and phase.startswith(backend.dies_in):
            backend.state, backend.reason = "FAILED", "quarantined after 5 deaths"
        latency = backend.base_us
        if plan.arrival != "closed":
            latency = latency / (1 - level / backend.capacity) if level < backend.capacity else 1e7
        chance = np.random.default_rng(number)
        slices = []
        for place in range(1, 9):
            answers = [] if backend.state != "READY" else (latency / 1000 * chance.normal(1, 0.02, 50)).tolist()
            failures = {"status 503": 50 if backend.state != "READY" else backend.failing}
            slices.append(part(place * 0.25, {plan.served_by: answers}, failures, level=level))
        return Run("2026-01-01T00:00:00Z", phase, number, plan.arrival, 1, 0.0, tuple(slices), QUIET)


def golden_data(**arrays: Any) -> bytes:
    """The right answers to X; `arrays` besides."""
    file = io.BytesIO()
    np.savez(file, **{"inputs/x": X, "outputs/p": SOFT, **arrays})
    return file.getvalue()


@contextmanager
def served(world: World) -> Iterator[World]:
    """Its control and inference ports, which are one."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(world))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    world.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield world
    finally:
        server.shutdown()
        thread.join(20)
        server.server_close()


def options(**changed: Any) -> Options:
    """Short ones."""
    return Options(**{"effort": SHORT, **changed})


def _handler(world: World) -> type[BaseHTTPRequestHandler]:
    routes: Mapping[str, Callable[[], Any]] = {
        "/v1/status": world.status,
        "/v2/health/ready": lambda: {"ready": True},
        "/v1/models/m/versions/1/golden": lambda: world.golden,
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            metadata = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]}
            found = routes[self.path]() if self.path in routes else metadata if "/v2/models/" in self.path else None
            self._answer(found)

        def do_PUT(self) -> None:
            world.kept.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self._answer({})

        def _answer(self, found: Any) -> None:
            body = found if isinstance(found, bytes) else json.dumps(found or {"error": "there is none"}).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    return Handler
