from __future__ import annotations

from dataclasses import dataclass, field

import psutil
import pytest

from loadtests.bench import contenders
from loadtests.bench.contenders import IN_PROCESS, Figures, alternate
from loadtests.bench.processes import Server


@dataclass
class FakeServer:
    log: list[str]
    name: str

    def resume(self) -> None:
        self.log.append(f"{self.name} wakes")

    def pause(self) -> None:
        self.log.append(f"{self.name} sleeps")


@dataclass(eq=False)
class FakeEntrant:
    name: str
    log: list[str]
    networked: bool = True
    beside: str = "b"
    servers: tuple[Server, ...] = ()
    rates: list[float] = field(default_factory=lambda: [3.0, 1.0, 2.0])

    def __post_init__(self) -> None:
        if self.networked:
            self.servers = (FakeServer(self.log, self.name),)  # type: ignore[assignment]

    def check(self) -> None: ...

    def measure(self, connections: int, seconds: float) -> Figures:
        self.log.append(f"{self.name} at {connections}")
        rate = self.rates[sum(line == self.log[-1] for line in self.log) % 3]
        return Figures(rate * seconds, rate, 1.0, 2.0, 0, 0.1, 5, 0.0)


def test_servers_take_turns_and_only_the_one_that_is_measured_is_awake() -> None:
    log: list[str] = []
    alternate([FakeEntrant("a", log), FakeEntrant("b", log)], (1, 8), 1.0, 1, lambda _: None)

    turns = [f"{name} at {count}" for count in (1, 1, 8) for name in "ab"]  # the first of each does not count
    assert log == [line for turn in turns for line in (f"{turn[0]} wakes", turn, f"{turn[0]} sleeps")]


def test_what_is_in_process_has_one_turn_a_round() -> None:
    log: list[str] = []
    rows = alternate([FakeEntrant("raw", log, networked=False), FakeEntrant("b", log)], (1, 8), 1.0, 2, lambda _: None)

    assert log.count(f"raw at {IN_PROCESS}") == 2
    assert [(row.contender, row.connections) for row in rows] == [("raw", IN_PROCESS), ("b", 1), ("b", 8)]


def test_a_row_has_the_medians_of_its_rounds() -> None:
    (row,) = alternate([FakeEntrant("raw", [], networked=False)], (1,), 1.0, 3, lambda _: None)

    assert sorted(each.requests_per_s for each in row.rounds) == [1.0, 2.0, 3.0]
    assert row.medians.requests_per_s == 2.0


def test_a_client_that_fails_ends_the_benchmark_with_the_contenders_name() -> None:
    server = Server("nobody", psutil.Process(), http_port=1)
    with pytest.raises(SystemExit, match="lonely: its client failed"):
        contenders.Contender("lonely", "lonely", (server,), "/", b"").measure(1, 0.1)
