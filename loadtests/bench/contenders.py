"""What takes turns in a benchmark: a request, over one connection or many, to a server that runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from statistics import median

from loadtests.bench.servers import Server

_CLIENTS_END_S = 60.0


@dataclass(frozen=True, slots=True)
class Figures:
    """One measurement; `client_cpu` is the client's share of its core, 0…1."""

    requests: float
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    failures: float
    client_cpu: float
    cpu_us_per_request: float


@dataclass(frozen=True, slots=True)
class Row:
    """A contender's medians over the rounds, and the rounds themselves."""

    contender: str
    beside: str
    connections: int
    medians: Figures
    rounds: tuple[Figures, ...]


@dataclass(frozen=True, slots=True)
class Contender:
    """A request and who answers it."""

    name: str
    beside: str
    """The name of the contender that it is compared with."""

    servers: tuple[Server, ...]
    """All that have a part in the answer; the first is asked."""

    path: str
    body: bytes
    headers: tuple[str, ...] = ()
    grpc: bool = False

    def measure(self, connections: int, seconds: float) -> Figures:
        """Ask as fast as answers come, from a process of its own."""
        asked = self.servers[0]
        module, port = ("grpc_client", asked.grpc_port) if self.grpc else ("client", asked.http_port)
        arguments = (str(port), self.path, str(connections), str(seconds), *self.headers)
        client = [sys.executable, "-m", f"loadtests.bench.{module}", *arguments]
        cpu_s = self._cpu_s()
        try:
            ended = subprocess.run(
                client, input=self.body, stdout=subprocess.PIPE, check=True, timeout=seconds + _CLIENTS_END_S
            )
        except subprocess.SubprocessError as error:
            raise SystemExit(f"{self.name}: its client failed: {error}") from None
        result = json.loads(ended.stdout)
        return Figures(**result, cpu_us_per_request=1e6 * (self._cpu_s() - cpu_s) / result["requests"])

    def _cpu_s(self) -> float:
        return sum(server.cpu_s() for server in self.servers)


def alternate(
    contenders: Sequence[Contender],
    connections: Sequence[int],
    seconds: float,
    rounds: int,
    tell: Callable[[str], None],
) -> list[Row]:
    """Measure all in turns, after one turn that does not count; `tell` hears what is done now."""
    for contender in contenders:
        tell(f"warming up: {contender.name}")
        contender.measure(connections[0], seconds)  # caches fill, and Java compiles
    runs: dict[tuple[int, Contender], list[Figures]] = defaultdict(list)
    for turn in range(rounds):
        for count in connections:
            for contender in contenders:
                tell(f"round {turn + 1} of {rounds}: {contender.name}, connections: {count}")
                runs[count, contender].append(contender.measure(count, seconds))
    return [
        Row(contender.name, contender.beside, count, _medians(each), tuple(each))
        for count in connections
        for contender in contenders
        for each in (runs[count, contender],)
    ]


def _medians(runs: Sequence[Figures]) -> Figures:
    return Figures(*(median(getattr(run, field.name) for run in runs) for field in fields(Figures)))
