"""Processes to measure: each on one core, asleep while others are measured, stopped for sure with all its children."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
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

from loadtests.bench import warden

ROOT = Path(__file__).resolve().parents[2]

_START_S = 120.0
_STOP_S = 20.0
_CHILDREN_S = 3.0
_PORTS = range(15_000, 32_000)
"""Below those that Linux (from 32768) and macOS (from 49152) give to connections."""

_CATCHES_UP_S = 0.5
"""Until it has done what fell due while it was paused."""

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class Place:
    """Where servers run: a temporary folder for their files, and the core that they share."""

    folder: Path
    core: int | None
    """None: wherever the machine puts them."""


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

    def idle_cpu(self, seconds: float) -> float:
        """The share of its core, 0…1, that it uses while nobody asks it anything."""
        time.sleep(_CATCHES_UP_S)
        cpu_s = self.cpu_s()
        time.sleep(seconds)
        return (self.cpu_s() - cpu_s) / seconds

    def pause(self) -> None:
        """Have it use no CPU at all; parents first, or they would see their children stop."""
        warden.each(self._tree(), psutil.Process.suspend)

    def resume(self) -> None:
        """Have it go on."""
        warden.each(reversed(self._tree()), psutil.Process.resume)

    def _tree(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


class Watch:
    """What servers of one core use of it from now on."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._servers = servers
        self._core: int = servers[0].process.cpu_affinity()[0]
        self._begun = self._now()

    def read(self) -> tuple[float, float]:
        """CPU seconds of the servers, and the share of the core, 0…1, that went to anybody else."""
        wall_s, busy_s, own_s = (now - begun for now, begun in zip(self._now(), self._begun, strict=True))
        return own_s, max(0.0, busy_s - own_s) / wall_s

    def _now(self) -> tuple[float, float, float]:
        return time.monotonic(), busy_s(self._core), sum(server.cpu_s() for server in self._servers)


def busy_s(core: int) -> float:
    """Seconds for which a core has not been idle, what the hypervisor took from it included."""
    times = psutil.cpu_times(percpu=True)[core]
    waited: float = times.idle + times.iowait
    return sum(times[:8]) - waited  # the rest are counted in user and nice already


@contextlib.contextmanager
def awake(servers: Sequence[Server]) -> Iterator[None]:
    """Paused servers that run for a while."""
    try:
        for server in servers:
            server.resume()
        yield
    finally:
        for server in servers:
            server.pause()


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
        _guarded(process.pid),
    ):
        try:
            _wait(name, process, ready, log)
            yield psutil.Process(process.pid)
        finally:
            _stop(process)


@contextlib.contextmanager
def _guarded(pid: int) -> Iterator[None]:
    """Have another process end it should the benchmark be killed: the signal of `_tie` reaches no paused one."""
    argv = [sys.executable, "-m", "loadtests.bench.warden", str(pid)]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True) as guard:
        try:
            yield
        finally:
            guard.kill()


def _tie(core: int | None) -> None:
    if core is not None:
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
    warden.each(children, psutil.Process.resume)
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _, left = psutil.wait_procs(children, timeout=_CHILDREN_S)
    warden.each(left, psutil.Process.kill)
    psutil.wait_procs(left, timeout=_CHILDREN_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # children of one that died by itself


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
    """Different TCP ports of loopback that nothing listens on, and that no outgoing connection is given meanwhile."""
    with contextlib.ExitStack() as held:
        found: list[int] = []
        for port in random.sample(_PORTS, len(_PORTS)):
            with contextlib.suppress(OSError):
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
                found.append(port)
            if len(found) == count:
                break
        return found
