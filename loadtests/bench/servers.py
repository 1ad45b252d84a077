"""Torii, and the servers of Torii's own environment that it is measured beside."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from loadtests.bench.processes import Place, Server, answers, free_ports, listens, running

PROGRAMS = Path(__file__).with_name("programs")


@contextlib.contextmanager
def torii(place: Place, repository: Path, models: Sequence[str], **settings: str) -> Iterator[Server]:
    """`torii serve` over a repository until all of `models` are ready; `settings` are TORII_… variables."""
    http, control, grpc = free_ports(3)
    executable = Path(sys.executable).parent / "torii"
    argv = [
        *(str(executable), "serve", str(repository)),
        *("--http-port", str(http), "--control-port", str(control), "--grpc-port", str(grpc)),
    ]
    told = {"TORII_SETTLE_S": "0", **{f"TORII_{name}": value for name, value in settings.items()}}
    with running("Torii", argv, place, lambda: _all_ready(http, models), told) as process:
        yield Server("Torii", process, http, grpc)


def _all_ready(port: int, models: Sequence[str]) -> bool:
    return all(answers(port, f"/v2/models/{model}/ready") for model in models)


@contextlib.contextmanager
def plain_fastapi(place: Place, model: Path) -> Iterator[Server]:
    """The plain FastAPI app, model in its own process."""
    (port,) = free_ports(1)
    argv = [sys.executable, "-m", "loadtests.bench.programs.plain_fastapi", str(model), str(port)]
    with running("plain FastAPI", argv, place, lambda: answers(port, "/docs")) as process:
        yield Server("plain FastAPI", process, port)


@contextlib.contextmanager
def bare_asgi(place: Place, model: Path) -> Iterator[Server]:
    """The bare ASGI app, model in its own event loop."""
    (port,) = free_ports(1)
    argv = [sys.executable, "-m", "loadtests.bench.programs.bare_asgi", str(model), str(port)]
    with running("bare ASGI", argv, place, lambda: listens(port)) as process:
        yield Server("bare ASGI", process, port)


@contextlib.contextmanager
def echo(place: Place) -> Iterator[Server]:
    """The endpoint that sends bodies back."""
    (port,) = free_ports(1)
    argv = [sys.executable, "-m", "loadtests.bench.programs.echo", str(port)]
    with running("echo", argv, place, lambda: answers(port, "/")) as process:
        yield Server("echo", process, port)


@contextlib.contextmanager
def embedded_tf_serving(place: Place, model: str, base_path: Path) -> Iterator[Server]:
    """Torii's embedded TF Serving as a program of its own, with one model."""
    (port,) = free_ports(1)
    argv = [
        *(sys.executable, "-m", "adapters.tfserving.embedded", "--port", str(port)),
        *("--model_name", model, "--model_base_path", str(base_path)),
    ]
    with running("embedded TF Serving", argv, place, lambda: listens(port)) as process:
        yield Server("embedded TF Serving", process, grpc_port=port)
