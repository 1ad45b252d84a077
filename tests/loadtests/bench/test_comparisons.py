from __future__ import annotations

import pytest

from loadtests.bench.comparisons import ADDED, LATENCY, THROUGHPUT, Comparison, Goal, judge
from loadtests.bench.contenders import Figures, Row


def row(contender: str, requests_per_s: float, p50_ms: float) -> Row:
    figures = Figures(1000, requests_per_s, p50_ms, 2 * p50_ms, 0, 0.1, 100)
    return Row(contender, "other", 32, figures, (figures,))


ROWS = (row("one", 300, 2.0), row("other", 100, 1.5))


@pytest.mark.parametrize(
    ("comparison", "at_least", "bound", "value", "holds"),
    [
        (THROUGHPUT, True, 2.0, 3.0, True),
        (THROUGHPUT, True, 3.5, 3.0, False),
        (LATENCY, False, 1.3, 2.0 / 1.5, False),
        (ADDED, False, 0.5, 0.5, True),
    ],
)
def test_a_goal_is_judged_by_the_medians(
    comparison: Comparison, at_least: bool, bound: float, value: float, holds: bool
) -> None:
    judged = judge(Goal("one", "other", 32, comparison, at_least, bound), ROWS)

    assert judged.value == pytest.approx(value)
    assert judged.holds is holds


@pytest.mark.parametrize(("beside", "connections"), [("missing", 32), ("other", 8)])
def test_a_goal_without_its_measurements_is_neither_held_nor_missed(beside: str, connections: int) -> None:
    judged = judge(Goal("one", beside, connections, THROUGHPUT, at_least=True, bound=2.0), ROWS)

    assert (judged.value, judged.holds) == (None, None)
