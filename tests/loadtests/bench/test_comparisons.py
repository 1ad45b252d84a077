from __future__ import annotations

from dataclasses import replace

import pytest

from loadtests.bench.comparisons import ADDED, LATENCY, THROUGHPUT, Comparison, Goal, judge
from loadtests.bench.contenders import IN_PROCESS, Figures, Row


def row(contender: str, requests_per_s: float, p50_ms: float, connections: int = 32) -> Row:
    figures = Figures(1000, requests_per_s, p50_ms, 2 * p50_ms, 0, 0.1, 100, 0.0)
    return Row(contender, "other", connections, figures, (figures,))


ROWS = (
    row("one", 300, 2.0),
    row("other", 100, 1.5),
    row("raw 1", 200, 1.0, IN_PROCESS),
    row("raw 8", 500, 3.0, IN_PROCESS),
)


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


@pytest.mark.parametrize(("contender", "beside", "ratio"), [("one", "raw 1", 1.5), ("raw 8", "raw 1", 2.5)])
def test_what_is_in_process_is_compared_at_any_number_of_connections(contender: str, beside: str, ratio: float) -> None:
    judged = judge(Goal(contender, beside, 32, THROUGHPUT, at_least=True, bound=None), ROWS)

    assert (judged.value, judged.holds) == (pytest.approx(ratio), None)


@pytest.mark.parametrize(
    ("bound", "asked", "holds"), [(3.7, "≥ 2.5 ×", True), (2.0, "≥ 2 ×", True), (9.0, "≥ 2.5", True)]
)
def test_no_more_is_asked_than_the_curve_allows(bound: float, asked: str, holds: bool) -> None:
    judged = judge(Goal("one", "other", 32, THROUGHPUT, True, bound, curve=("raw 1", "missing", "raw 8")), ROWS)

    assert judged.goal.startswith(asked)
    assert judged.holds is holds


@pytest.mark.parametrize(("others_cpu", "disturbed"), [(0.05, False), (0.5, True)])
def test_a_ratio_is_doubtful_where_others_had_the_core(others_cpu: float, disturbed: bool) -> None:
    rows = (ROWS[0], replace(ROWS[1], medians=replace(ROWS[1].medians, others_cpu=others_cpu)))

    assert judge(Goal("one", "other", 32, THROUGHPUT, at_least=True, bound=2.0), rows).disturbed is disturbed


@pytest.mark.parametrize(("beside", "connections"), [("missing", 32), ("other", 8)])
def test_a_goal_without_its_measurements_is_neither_held_nor_missed(beside: str, connections: int) -> None:
    judged = judge(Goal("one", beside, connections, THROUGHPUT, at_least=True, bound=2.0), ROWS)

    assert (judged.value, judged.holds) == (None, None)
