"""Turns of tools and of our real generator on a server, without a gateway."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import numpy as np
import psutil
import pytest

from loadtests.bench.processes import Server
from loadtests.crosscheck.asked import Asked, Load, Turn
from loadtests.crosscheck.command import Command
from loadtests.crosscheck.measured import Measured, ToolFailed
from loadtests.crosscheck.scenarios import Entry, Scenario
from loadtests.crosscheck.turns import Site, alternate, rotated
from loadtests.engine.plan import Request, Target
from tests.loadtests.crosscheck.answering import Answering, answering

CORE = min(os.sched_getaffinity(0))


class Told:
    """A tool that prints what it is to measure."""

    def __init__(self, name: str, program: str = "print(1000)", missing: str | None = None) -> None:
        self.name = name
        self._program = program
        self._missing = missing

    def missing(self) -> str | None:
        return self._missing

    def command(self, turn: Turn) -> Command:
        return Command([sys.executable, "-c", self._program])

    def read(self, output: str, turn: Turn) -> Measured:
        return Measured(float(output), 1.0)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtests.crosscheck.ours.WARM_UP_S", 0.1)
    monkeypatch.setattr("loadtests.crosscheck.ours._SLICE_S", 0.1)


@pytest.fixture
def server() -> Iterator[Answering]:
    with answering() as running:
        yield running


def turns(server: Answering, *tools: Told, rounds: int = 1) -> tuple[dict[str, int], dict[str, str], list[str]]:
    load = Load("v2-binary", 1)
    target = Target("127.0.0.1", server.port, "http/1.1")
    asked = Asked(load, "m", target, Request("/", b"body"), {"x": np.zeros((1, 1))}, CORE)
    said: list[str] = []
    measured = Site(Server("here", psutil.Process()), lambda: server.requests)
    scenario = Scenario("a load", load, tuple(Entry(tool) for tool in tools))
    found = alternate(scenario, asked, measured, 0.1, rounds, said.append)
    return {name: len(each) for name, each in found.turns.items()}, found.skipped, said


def test_all_have_as_many_turns_in_an_order_that_rotates(server: Answering) -> None:
    counted, skipped, said = turns(server, Told("one"), rounds=2)

    assert counted == {"torii": 2, "one": 2}
    assert not skipped
    assert [each.rpartition(", ")[2] for each in said[1:]] == ["torii", "one", "one", "torii"]


def test_a_tool_that_is_missing_or_fails_is_said_and_the_others_go_on(server: Answering) -> None:
    absent, broken = (
        Told("absent", missing="it is not installed"),
        Told("broken", "raise SystemExit('no sockets left')"),
    )
    counted, skipped, _ = turns(server, absent, broken, Told("well"))

    assert counted == {"torii": 1, "well": 1}
    assert skipped["absent"] == "it is not installed"
    assert "no sockets left" in skipped["broken"]


def test_without_our_own_figures_there_is_nothing_to_compare() -> None:
    with answering(503) as refusing, pytest.raises(ToolFailed, match="503"):
        turns(refusing, Told("one"))


def test_every_one_begins_a_round() -> None:
    assert [rotated(["a", "b", "c"], by)[0] for by in range(4)] == ["a", "b", "c", "a"]
