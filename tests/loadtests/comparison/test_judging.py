from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from loadtests.comparison.judging import Answer, answers, gate, questions
from loadtests.comparison.matching import Source, between, within
from loadtests.comparison.words import caveats, sentence
from loadtests.results.schema import Figure, Row, Run
from tests.loadtests.invented import QUIET, made_result, made_row, made_run, made_slice, rows_in_turns


def told(rows: Sequence[Row], metrics: Sequence[str] | None = None, margin: float = 0.0) -> list[Answer]:
    """The second row against the first."""
    matched = within(Source("a.json", made_result(rows)))
    return answers(list(questions(matched.pairs, metrics)), margin)


def by_metric(found: Sequence[Answer]) -> dict[str, str]:
    return {each.question.metric: each.verdict for each in found}


def failing_run(number: int, failures: int, succeeded: int = 100, turn: int = 0) -> Run:
    kinds = {"status 503": failures} if failures else {}
    slices = tuple(made_slice(0.25 * index, [800] * succeeded, failures=kinds) for index in range(8))
    began = f"2026-11-23T10:{number:02}:{10 * turn:02}+00:00"
    return Run(began, "measure", number, "closed", 8, 0.0, slices, QUIET)


def gates(before: Row, after: Row, limit: float = 0.05) -> dict[str, str]:
    matched = between(Source("before.json", made_result([before])), [Source("after.json", made_result([after]))])
    asked = list(questions(matched.pairs))
    assert all(("none now" in sentence(each)) == each.question.lost for each in answers(asked))
    return {each.metric: state for each, state in zip(asked, gate(asked, limit), strict=True)}


def test_of_equal_rows_in_turns_at_most_one_pair_in_twenty_gets_any_verdict() -> None:
    pairs = (rows_in_turns({"a@x": 800, "a@y": 800}, rounds=3, seed=seed, slices=6, answers=40) for seed in range(60))

    called = [{each.verdict for each in told(rows)} != {"undecided"} for rows in pairs]

    assert sum(called) <= 3


@pytest.mark.parametrize(("median_us", "verdict"), [(640.0, "better"), (1000.0, "worse")])
def test_a_real_difference_is_found_with_its_sign_in_time_and_throughput(median_us: float, verdict: str) -> None:
    found = told(rows_in_turns({"a@x": 800, "a@y": median_us}, rounds=5))

    verdicts = by_metric(found)
    assert list(verdicts) == ["p99", "p50", "throughput"], "what the scenario asks for first is first"
    assert (verdicts["p50"], verdicts["throughput"]) == (verdict, verdict)
    assert verdicts["p99"] in {verdict, "undecided"}
    p50 = next(each for each in found if each.question.metric == "p50")
    assert p50.together.low < median_us / 800 < p50.together.high
    assert p50.question.contrast.in_turns


def test_a_difference_within_the_margin_is_undecided() -> None:
    rows = rows_in_turns({"a@x": 800, "a@y": 1000}, rounds=5)

    assert by_metric(told(rows, ["p50"])) == {"p50": "worse"}
    assert by_metric(told(rows, ["p50"], margin=0.5)) == {"p50": "undecided"}


def test_each_question_more_widens_the_interval_of_what_is_undecided() -> None:
    rows = rows_in_turns({"a@x": 800, "a@y": 800}, rounds=5)

    alone, among = told(rows, ["p50"])[0], told(rows, ["p50", "p90", "p99", "throughput"])[0]

    assert alone.confidence == pytest.approx(0.95)
    assert among.confidence == pytest.approx(0.9875)
    assert among.together.high / among.together.low > alone.together.high / alone.together.low


@pytest.mark.parametrize(("rounds", "said"), [(1, "one round cannot tell"), (2, "2 rounds tell little")])
def test_of_few_rounds_only_large_differences_are_called_and_their_fewness_is_said(rounds: int, said: str) -> None:
    slightly = told(rows_in_turns({"a@x": 800, "a@y": 1000}, rounds=rounds), ["p50"])[0]

    assert slightly.verdict == "undecided"
    assert any(said in each for each in caveats(slightly.question))
    assert "undecided" in sentence(slightly)


def test_of_one_round_a_difference_that_no_drift_makes_is_called() -> None:
    assert by_metric(told(rows_in_turns({"a@x": 800, "a@y": 8000}, rounds=1), ["p50"])) == {"p50": "worse"}


def test_percentiles_and_rates_that_cannot_be_are_refused() -> None:
    rows = rows_in_turns({"a@x": 800, "a@y": 800})
    for metric in ("p0", "p100", "p101", "p", "mean", ""):
        with pytest.raises(ValueError, match="expected p50, p99"):
            told(rows, [metric])


def test_a_row_that_answers_nothing_any_more_fails_the_gate() -> None:
    before = made_row(runs=[failing_run(number, 0) for number in range(1, 4)])
    failed = made_row(runs=[failing_run(number, 9, 0) for number in range(1, 4)])
    silent = made_row(runs=[failing_run(number, 0, 0) for number in range(1, 4)])

    assert gates(before, failed) == dict.fromkeys(["p99", "p50", "throughput", "errors"], "worse")
    assert gates(before, silent) == dict.fromkeys(["p99", "p50", "throughput"], "worse")
    assert "worse" not in gates(failed, before).values()


def test_more_errors_fail_the_gate_and_none_pass_it() -> None:
    few, many, none = (
        made_row(runs=[failing_run(number, failures) for number in range(1, 6)]) for failures in (1, 9, 0)
    )

    assert gates(few, many)["errors"] == "worse"
    assert gates(many, few)["errors"] == "passed"
    hardly_any = made_row(runs=[failing_run(number, int(number == 1)) for number in range(1, 6)])
    assert gates(hardly_any, none)["errors"] == "passed"


def rated(value: float | None, low: float | None, high: float | None, note: str = "") -> Row:
    return made_row(figures=(Figure("server rate", value, "1/s", low, high, note),))


@pytest.mark.parametrize(
    ("after", "state"),
    [
        (rated(1000, 990, 1010), "passed"),
        (rated(500, 490, 510), "worse"),
        (rated(960, 900, 1020), "undecided"),
        (rated(None, None, None, "the bound was never met"), "worse"),
        (rated(0, 0, 0), "worse"),
    ],
)
def test_rates_that_a_search_found_are_compared_by_their_intervals(after: Row, state: str) -> None:
    assert gates(rated(1000, 990, 1010), after) == {"server rate": state}


def test_a_rate_is_not_lost_where_there_was_none_before_or_too_little_was_asked() -> None:
    few = rated(None, None, None, "p99 under 5 ms: early stopping: 120 queries more needed")
    never = rated(None, None, None, "the bound was never met")

    assert gates(never, rated(1000, 990, 1010)) == {"server rate": "undecided"}
    assert gates(never, never) == {}
    assert gates(rated(1000, 990, 1010), few) == {}


@pytest.mark.parametrize(("times", "verdict"), [(2, "undecided"), (5, "worse"), (40, "worse")])
def test_lowest_and_highest_of_few_times_tell_little(times: int, verdict: str) -> None:
    note = f"median, lowest and highest of {times}"
    rows = [rated(1000, 950, 1050, note), rated(850, 800, 900, note)]

    assert by_metric(told(rows)) == {"server rate": verdict}


def test_lowest_and_highest_of_many_times_do_not_tell_everything() -> None:
    note = "median, lowest and highest of 40"

    assert by_metric(told([rated(1000, 950, 1050, note), rated(990, 940, 1040, note)])) == {"server rate": "undecided"}


@pytest.mark.parametrize(
    ("errors_apart", "verdicts"),
    [
        ((2.17, 2.05), {"rate 0": "undecided", "rate 1": "undecided"}),
        ((2.6, 2.05), {"rate 0": "better", "rate 1": "better"}),
        ((2.6, 1.8), {"rate 0": "better", "rate 1": "undecided"}),
    ],
)
def test_what_lies_less_far_apart_is_called_only_after_what_lies_further(
    errors_apart: tuple[float, float], verdicts: dict[str, str]
) -> None:
    """Holm's steps: of two, the further one at 97.5 %, then the other at 95 %."""
    error = 0.1 * math.sqrt(2) / 1.96
    rows = [
        made_row(
            figures=[
                Figure(f"rate {number}", rate, "1/s", rate * math.exp(-0.1), rate * math.exp(0.1))
                for number, apart in enumerate(errors_apart)
                for rate in (1000 * math.exp(faster * apart * error),)
            ]
        )
        for faster in (0, 1)
    ]

    assert by_metric(told(rows)) == verdicts


def test_how_much_of_a_given_rate_is_answered_is_not_asked() -> None:
    closed, opened = (
        by_metric(told(rows_in_turns({"a@x": 800, "a@y": 800}, arrival=arrival))) for arrival in ("closed", "poisson")
    )

    assert "throughput" in closed
    assert "throughput" not in opened


def test_levels_are_not_pooled() -> None:
    rng = np.random.default_rng(3)
    settings: list[dict[str, Any]] = [{"phase": f"measure {level} connections", "turn": level} for level in (1, 2)]
    rows = [
        made_row(name, [made_run(rng, round=number, **each) for number in range(1, 4) for each in settings])
        for name in ("a@x", "a@y")
    ]

    found = told(rows, ["p50"])

    assert [each.question.phase for each in found] == ["measure 1 connections", "measure 2 connections"]
    assert all(each.question.contrast.rounds == 3 for each in found)
