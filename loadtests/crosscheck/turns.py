"""Tools and our generator in turns on the same gateway, and what else the cores did meanwhile."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.bench.processes import Server, Watch, busy_s
from loadtests.crosscheck import command, ours
from loadtests.crosscheck.asked import Asked, Turn
from loadtests.crosscheck.measured import Measured, ToolFailed
from loadtests.crosscheck.scenarios import Scenario
from loadtests.crosscheck.tool import Tool

_SPARE_S = 30.0
"""How much longer than it measures a tool may take to start and to end."""

_WARM_UP_S = 1.0


@dataclass(frozen=True, slots=True)
class Figures:
    """One turn: what was measured, what the one who measured used of a core, and what others took; shares 0…1."""

    measured: Measured
    cpu: float
    others: float
    """Of the servers' core or the tool's, whichever lost more."""

    server_us: float = 0.0
    """CPU of the server for each of its requests, those of warming up included."""


@dataclass(frozen=True, slots=True)
class Site:
    """Who is asked: its processes, and how many requests it has answered so far, by its own count."""

    server: Server
    answered: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Rounds:
    """All turns of a scenario, by who measured; as many of each, in the order of the rounds."""

    scenario: Scenario
    turns: dict[str, list[Figures]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    """Tools that have no figures, and why."""


def alternate(
    scenario: Scenario, asked: Asked, site: Site, seconds: float, rounds: int, tell: Callable[[str], None]
) -> Rounds:
    """Measure a scenario by all of its tools that are there, and by ours, in turns whose order rotates.

    A tool that fails is skipped from then on. Raises ToolFailed where ours does.
    """
    found = Rounds(scenario)
    tools: dict[str, Tool | None] = {ours.NAME: None}
    for entry in scenario.entries:
        if why := entry.tool.missing():
            found.skipped[entry.tool.name] = why
        else:
            tools[entry.tool.name] = entry.tool
    tell(f"{scenario.name}: warming up")
    with tempfile.TemporaryDirectory(prefix="torii-crosscheck-") as folder:
        expected = ours.measure(Turn(asked, min(_WARM_UP_S, seconds), 1.0, Path(folder)))[0].throughput
    for number in range(rounds):
        for name in rotated(list(tools), number):
            if name in found.skipped:
                continue
            tell(f"{scenario.name}: round {number + 1} of {rounds}, {name}")
            try:
                figures = _turn(tools[name], asked, seconds, expected, site)
            except ToolFailed as error:
                if tools[name] is None:
                    raise
                found.skipped[name] = str(error)
                found.turns.pop(name, None)
            else:
                found.turns.setdefault(name, []).append(figures)
    return found


def rotated(names: Sequence[str], by: int) -> list[str]:
    """The same names, beginning with another one."""
    at = by % len(names)
    return [*names[at:], *names[:at]]


def _turn(tool: Tool | None, asked: Asked, seconds: float, expected: float, site: Site) -> Figures:
    watch, core, before = Watch((site.server,)), _Core(asked.core), site.answered()
    with tempfile.TemporaryDirectory(prefix="torii-crosscheck-") as folder:
        turn = Turn(asked, seconds, expected, Path(folder))
        if tool is None:
            measured, cpu = ours.measure(turn)
        else:
            ended = command.run(tool.command(turn), turn.folder, seconds + _SPARE_S)
            measured, cpu = tool.read(ended.output, turn), ended.cpu
    server_s, others = watch.read()
    answered = site.answered() - before
    return Figures(measured, cpu, max(others, core.others()), 1e6 * server_s / answered if answered else 0.0)


class _Core:
    """What others use of the tool's core from now on: neither this process nor the children that it has waited for."""

    def __init__(self, core: int) -> None:
        self._core = core
        self._begun = self._now()

    def others(self) -> float:
        wall_s, busy, own = (now - begun for now, begun in zip(self._now(), self._begun, strict=True))
        return max(0.0, busy - own) / wall_s

    def _now(self) -> tuple[float, float, float]:
        used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return time.monotonic(), busy_s(self._core), sum(each.ru_utime + each.ru_stime for each in used)
