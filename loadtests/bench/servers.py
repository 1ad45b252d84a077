"""The servers that are compared, each started on one core and stopped for sure."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

_START_S = 60.0


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    name: str
    port: int
    path: str
    process: psutil.Process

    def cpu_s(self) -> float:
        """CPU seconds that it and its children have used."""
        return sum(sum(each.cpu_times()[:2]) for each in self._tree())

    def rss_bytes(self) -> tuple[int, int]:
        """Resident memory of the process itself, and of its children together."""
        own, *children = [each.memory_info().rss for each in self._tree()]
        return own, sum(children)

    def _tree(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


@contextlib.contextmanager
def running(name: str, argv: list[str], port: int, path: str, ready: Callable[[], bool], core: int) -> Iterator[Server]:
    """A server on one core, from ready to stopped."""
    with subprocess.Popen(
        argv,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509  # children inherit the core
    ) as process:
        try:
            give_up_s = time.monotonic() + _START_S
            while not ready():
                if process.poll() is not None or time.monotonic() > give_up_s:
                    raise SystemExit(f"{name} did not start: {' '.join(argv)}")
                time.sleep(0.1)
            yield Server(name, port, path, psutil.Process(process.pid))
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def torii(repository: Path, core: int) -> contextlib.AbstractContextManager[Server]:
    """`torii serve` over a repository, gateway and workers together on one core."""
    port, control = _free_port(), _free_port()
    executable = str(Path(sys.executable).parent / "torii")
    argv = [executable, "serve", str(repository), "--http-port", str(port), "--control-port", str(control)]
    return running("torii", argv, port, "/v2/models/mlp/infer", lambda: _answers(port, "/v2/health/ready"), core)


def plain_fastapi(model: Path, core: int) -> contextlib.AbstractContextManager[Server]:
    """The plain FastAPI app, model in its own process, on one core."""
    port = _free_port()
    argv = [sys.executable, "-m", "loadtests.bench.plain_fastapi", str(model), str(port)]
    return running("plain FastAPI", argv, port, "/v2/models/mlp/infer", lambda: _answers(port, "/docs"), core)


def _answers(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
