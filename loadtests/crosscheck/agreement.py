"""Whether a tool and our generator agree on a figure, and if not, what of it the measurements explain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, Literal

from loadtests.crosscheck import ours
from loadtests.crosscheck.measured import Statistic
from loadtests.crosscheck.turns import Figures, Rounds

Verdict = Literal[
    "agrees", "the tool is the limit", "ours is the limit", "its cost", "undecided", "differs", "failed requests"
]

TOLERANCE: Final = 0.1
LIMIT: Final = 0.9
"""The share of its core from which on a tool measures itself."""

DISTURBED: Final = 0.1
"""The share of a core that others can have before figures are doubtful."""

_EXPLAINED = 1.25
"""How much larger than the difference in CPU a difference in time may be, to be explained by it."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """One figure by a tool beside ours: medians over the rounds; throughput in samples/s, latencies in ms."""

    scenario: str
    tool: str
    statistic: Statistic
    theirs: float
    ours: float
    ratios: tuple[float, ...]
    """Theirs to ours, of each round."""

    their_cpu: float
    our_cpu: float
    their_cost_us: float
    """CPU of a core for each request, of the tool itself."""

    our_cost_us: float
    their_server_us: float
    """CPU of the server for each request of theirs."""

    our_server_us: float
    others: float
    """The most that others took of a core in a turn."""

    failures: int
    verdict: Verdict

    @property
    def ratio(self) -> float:
        """Theirs to ours: the median over rounds."""
        return median(self.ratios)

    @property
    def disturbed(self) -> bool:
        """Whether others had too much of the cores meanwhile."""
        return self.others > DISTURBED


def agreements(rounds: Rounds) -> list[Agreement]:
    """All comparisons of a scenario; of tools that were skipped there are none."""
    return [
        _agreement(rounds, entry.tool.name, statistic)
        for entry in rounds.scenario.entries
        if entry.tool.name in rounds.turns
        for statistic in entry.statistics
    ]


def _agreement(rounds: Rounds, tool: str, statistic: Statistic) -> Agreement:
    load = rounds.scenario.load
    theirs, our = rounds.turns[tool], rounds.turns[ours.NAME]
    pairs = [(_value(a, statistic), _value(b, statistic)) for a, b in zip(theirs, our, strict=True)]
    ratios = tuple(a / b for a, b in pairs)
    their_value, our_value = (median(each) for each in zip(*pairs, strict=True))
    their_cpu, our_cpu = (median(each.cpu for each in turns) for turns in (theirs, our))
    their_cost_us, our_cost_us = (_cost_us(turns, load.rows) for turns in (theirs, our))
    failures = sum(each.measured.failures for each in (*theirs, *our))
    others = max(each.others for each in (*theirs, *our))
    gap_us = _gap_us(statistic, their_value, our_value, load.connections * load.rows)
    their_server_us, our_server_us = (median(each.server_us for each in turns) for turns in (theirs, our))
    more_us = their_cost_us + their_server_us - our_cost_us - our_server_us
    cost_us = more_us * (1 if load.rate else load.connections)
    return Agreement(
        scenario=rounds.scenario.name,
        tool=tool,
        statistic=statistic,
        theirs=their_value,
        ours=our_value,
        ratios=ratios,
        their_cpu=their_cpu,
        our_cpu=our_cpu,
        their_cost_us=their_cost_us,
        our_cost_us=our_cost_us,
        their_server_us=their_server_us,
        our_server_us=our_server_us,
        others=others,
        failures=failures,
        verdict="failed requests"
        if failures
        else judge(ratios, their_cpu, our_cpu, gap_us, cost_us, others > DISTURBED),
    )


def judge(
    ratios: Sequence[float], their_cpu: float, our_cpu: float, gap_us: float, cost_us: float, disturbed: bool = False
) -> Verdict:
    """Decide about one figure.

    Args:
        ratios: Theirs to ours, of each round.
        their_cpu: The share of its core that the tool used, 0…1.
        our_cpu: The share that our generator used.
        gap_us: By how much longer a request takes by the tool's figure.
        cost_us: By how much more CPU the tool and the server need for as many of its requests as are under way at
            once: where their answers come together, a request waits for all of them.
        disturbed: Whether others had too much of the cores to say that there is a difference.
    """
    within = [abs(ratio - 1) <= TOLERANCE for ratio in ratios]
    if abs(median(ratios) - 1) <= TOLERANCE:
        return "agrees"
    if their_cpu >= LIMIT:
        return "the tool is the limit"
    if our_cpu >= LIMIT:
        return "ours is the limit"
    if gap_us * cost_us > 0 and abs(gap_us) <= _EXPLAINED * abs(cost_us):
        return "its cost"
    if disturbed or any(within) or min(ratios) < 1 < max(ratios):
        return "undecided"
    return "differs"


def _cost_us(turns: Sequence[Figures], rows: int) -> float:
    return median(1e6 * each.cpu * rows / each.measured.throughput for each in turns)


def _gap_us(statistic: Statistic, theirs: float, our: float, at_once: int) -> float:
    """Throughput says how long a request takes, too: so many samples are under way at once."""
    if statistic == "throughput":
        return 1e6 * at_once * (1 / theirs - 1 / our)
    return 1000 * (theirs - our)


def _value(figures: Figures, statistic: Statistic) -> float:
    value = figures.measured.value(statistic)
    assert value is not None, f"a scenario compares {statistic}, which the tool does not tell"
    return value
