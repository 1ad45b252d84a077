"""Servers to measure: each runs on one core, and is stopped for sure with all its children."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
KSERVE_PYTHON = ROOT / ".clients" / "kserve" / "bin" / "python"

_START_S = 120.0
_STOP_S = 20.0
_CHILDREN_S = 3.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class Place:
    """Where servers run: a temporary folder for their files, and the core that they share."""

    folder: Path
    core: int


@dataclass(frozen=True, slots=True)
class Server:
    """A running server; a port is 0 where it has none."""

    name: str
    process: psutil.Process
    http_port: int = 0
    grpc_port: int = 0

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
def running(
    name: str,
    argv: Sequence[str],
    place: Place,
    ready: Callable[[], bool],
    settings: Mapping[str, str] | None = None,
) -> Iterator[psutil.Process]:
    """A process from ready to stopped; `settings` join the environment, from which Torii's own are taken out.

    Raises:
        SystemExit: it died or was not ready in time; the text has its last words.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TORII_")}
    log = place.folder / f"{name}.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            argv,
            cwd=place.folder,
            env={**environment, **(settings or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the benchmark, which then stops its servers in order
            preexec_fn=lambda: _tie(place.core),  # noqa: PLW1509  # no thread runs while servers are started
        ) as process,
    ):
        try:
            _wait(name, process, ready, log)
            yield psutil.Process(process.pid)
        finally:
            _stop(process)


def _tie(core: int) -> None:
    os.sched_setaffinity(0, {core})  # children inherit it
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # a benchmark that is killed leaves no server behind


def _wait(name: str, process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    give_up_s = time.monotonic() + _START_S
    while not ready():
        if process.poll() is not None or time.monotonic() > give_up_s:
            last_words = log.read_text(errors="replace")[-2000:]
            raise SystemExit(f"{name} did not start: {process.args!r}\n{last_words}")
        time.sleep(0.1)


def _stop(process: subprocess.Popen[bytes]) -> None:
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _, left = psutil.wait_procs(children, timeout=_CHILDREN_S)
    for child in left:
        child.kill()
    psutil.wait_procs(left, timeout=_CHILDREN_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # children of one that died by itself


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


@contextlib.contextmanager
def plain_fastapi(place: Place, model: Path) -> Iterator[Server]:
    """The plain FastAPI app, model in its own process."""
    (port,) = free_ports(1)
    argv = [sys.executable, "-m", "loadtests.bench.plain_fastapi", str(model), str(port)]
    with running("plain FastAPI", argv, place, lambda: answers(port, "/docs")) as process:
        yield Server("plain FastAPI", process, port)


@contextlib.contextmanager
def echo(place: Place) -> Iterator[Server]:
    """The endpoint that sends bodies back."""
    (port,) = free_ports(1)
    argv = [sys.executable, "-m", "loadtests.bench.echo", str(port)]
    with running("echo", argv, place, lambda: answers(port, "/")) as process:
        yield Server("echo", process, port)


@contextlib.contextmanager
def kserve(place: Place, model: Path) -> Iterator[Server]:
    """The KServe SDK's server over gRPC, model in its own process."""
    (port,) = free_ports(1)
    argv = [str(KSERVE_PYTHON), "-P", str(Path(__file__).with_name("kserve_mlp.py")), str(model), str(port)]
    with running("KServe", argv, place, lambda: listens(port)) as process:
        yield Server("KServe", process, grpc_port=port)


def has_kserve() -> bool:
    """Whether the interpreter for KServe is there and has onnxruntime."""
    if not KSERVE_PYTHON.exists():
        return False
    return subprocess.run([KSERVE_PYTHON, "-c", "import onnxruntime"], capture_output=True, check=False).returncode == 0


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


def answers(port: int, path: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def listens(port: int) -> bool:
    """Whether connections to a port of loopback are accepted."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
        return True
    return False


def free_ports(count: int) -> list[int]:
    """Different TCP ports of loopback that nothing listens on."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _all_ready(port: int, models: Sequence[str]) -> bool:
    return all(answers(port, f"/v2/models/{model}/ready") for model in models)
