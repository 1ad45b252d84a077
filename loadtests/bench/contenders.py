"""What takes turns in a benchmark: a request, over one connection or many, to a server that runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from statistics import median
from typing import Protocol

from loadtests.bench.answers import Answer, ask_grpc, ask_http
from loadtests.bench.processes import Server, Watch, awake

_CLIENTS_END_S = 60.0
IN_PROCESS = 0
"""Stands for the number of connections where there are none."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One measurement; shares of a core are 0…1."""

    requests: float
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    failures: float
    client_cpu: float
    """The client's share of its core: near 1, it would be the limit."""

    cpu_us_per_request: float
    others_cpu: float
    """The share of the servers' core that went to anybody else: the measurement is worth so much less."""


@dataclass(frozen=True, slots=True)
class Row:
    """A contender's medians over the rounds, and the rounds themselves."""

    contender: str
    beside: str
    connections: int
    medians: Figures
    rounds: tuple[Figures, ...]


class Entrant(Protocol):
    """Whatever takes turns."""

    @property
    def name(self) -> str:
        """What it is called in tables."""

    @property
    def beside(self) -> str:
        """The name of the one that it is compared with."""

    @property
    def servers(self) -> tuple[Server, ...]:
        """All that have a part in the answer."""

    @property
    def networked(self) -> bool:
        """Whether it is asked over connections."""

    def check(self) -> None:
        """Raise SystemExit where its answer is wrong."""

    def measure(self, connections: int, seconds: float) -> Figures:
        """Measure for so long, its servers being awake."""


@dataclass(frozen=True, slots=True, eq=False)
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
    answer: Answer | None = None
    networked: bool = True

    def check(self) -> None:
        """Ask once.

        Raises:
            SystemExit: the answer is not what it has to be.
        """
        asked = self.servers[0]
        if self.grpc:
            head, body = ask_grpc(asked.grpc_port, self.path, self.body)
        else:
            head, body = ask_http(asked.http_port, self.path, self.body, self.headers)
        if self.answer is not None and (complaint := self.answer.complaint(head, body)):
            raise SystemExit(f"{self.name} answers wrongly: {complaint}")

    def measure(self, connections: int, seconds: float) -> Figures:
        """Ask as fast as answers come, from a process of its own."""
        asked = self.servers[0]
        protocol, port = ("grpc", asked.grpc_port) if self.grpc else ("http/1.1", asked.http_port)
        arguments = (protocol, str(port), self.path, str(connections), str(seconds), *self.headers)
        client = [sys.executable, "-m", "loadtests.bench.client", *arguments]
        watch = Watch(self.servers)
        try:
            ended = subprocess.run(
                client, input=self.body, stdout=subprocess.PIPE, check=True, timeout=seconds + _CLIENTS_END_S
            )
        except subprocess.SubprocessError as error:
            raise SystemExit(f"{self.name}: its client failed: {error}") from None
        result = json.loads(ended.stdout)
        cpu_s, others_cpu = watch.read()
        return Figures(**result, cpu_us_per_request=1e6 * cpu_s / result["requests"], others_cpu=others_cpu)


def alternate(
    entrants: Sequence[Entrant],
    connections: Sequence[int],
    seconds: float,
    rounds: int,
    tell: Callable[[str], None],
) -> list[Row]:
    """Measure all in turns, after one turn that does not count, each while all other servers are paused.

    The servers are paused before and after. What is in process has its turn once a round. `tell` hears what is done.
    """
    turns = [
        (count, entrant)
        for count in (IN_PROCESS, *connections)
        for entrant in entrants
        if entrant.networked == (count != IN_PROCESS)
    ]
    for entrant in entrants:
        tell(f"warming up: {entrant.name}")
        if entrant.networked:
            _turn(entrant, connections[0], seconds)  # caches fill, and Java compiles
    runs: dict[tuple[int, Entrant], list[Figures]] = defaultdict(list)
    for turn in range(rounds):
        for count, entrant in turns:
            over = f", connections: {count}" if count else ""
            tell(f"round {turn + 1} of {rounds}: {entrant.name}{over}")
            runs[count, entrant].append(_turn(entrant, count, seconds))
    return [
        Row(entrant.name, entrant.beside, count, _medians(runs[count, entrant]), tuple(runs[count, entrant]))
        for count, entrant in turns
    ]


def _turn(entrant: Entrant, connections: int, seconds: float) -> Figures:
    with awake(entrant.servers):
        return entrant.measure(connections, seconds)


def _medians(runs: Sequence[Figures]) -> Figures:
    return Figures(*(median(getattr(run, field.name) for run in runs) for field in fields(Figures)))
