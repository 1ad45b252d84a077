import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.experiments.evidence import Cell, Split
from gateway.experiments.report import Analysis, Verdict
from gateway.experiments.statistics import analyse
from tests.gateway.experiments.statistics.evidence import (
    CORRECT,
    ERRORS,
    LATENCY,
    REVENUE,
    cell,
    experiment,
    observed,
    ones,
)

_NORMAL = np.random.default_rng(11).standard_normal(40_000)


def _latencies(count: int, factor: float = 1.0, start: int = 0) -> Cell:
    return cell(LATENCY, np.exp(2 + 0.5 * _NORMAL[start : start + count]) * factor)


def _compared(metric, control: Cell, variant: Cell, **options):
    analysis = analyse(experiment(metric, **options), observed({metric: [{"tf": control, "onnx": variant}]}))
    return analysis.comparisons[0]


def test_a_faster_variant_is_better_in_words_with_numbers():
    found = _compared(LATENCY, _latencies(15_000), _latencies(15_000, 0.77, start=20_000))
    assert found.verdict is Verdict.BETTER
    assert found.p_adjusted < 0.001
    assert (found.needed, found.eta_s) == (0, 0)
    begin, change = found.words.split(" (")
    assert begin.startswith("onnx is better than tf in latency_ms p95: ")
    assert " ms against " in begin
    assert change.startswith("-2")
    assert "%, interval -" in change


def test_a_variant_with_more_errors_is_worse():
    found = _compared(ERRORS, cell(ERRORS, ones(200, 10_000)), cell(ERRORS, ones(500, 10_000)))
    assert found.verdict is Verdict.WORSE
    assert found.words.startswith("onnx is worse than tf in errors: 5 % against 2 % (+3 points, interval +")


def test_more_right_answers_are_better():
    found = _compared(CORRECT, cell(CORRECT, ones(9_000, 10_000)), cell(CORRECT, ones(9_400, 10_000)))
    assert found.verdict is Verdict.BETTER


def test_a_difference_that_is_surely_within_the_margin_is_none_in_practice():
    found = _compared(ERRORS, cell(ERRORS, ones(1_000, 100_000)), cell(ERRORS, ones(1_300, 100_000)))
    assert found.p_value < 0.05
    assert found.verdict is Verdict.SAME


def test_the_margin_of_a_mean_is_a_part_of_controls_value():
    values = 10 + 2 * _NORMAL
    for unit in (1.0, 1_000.0):
        found = _compared(REVENUE, cell(REVENUE, values[:20_000] * unit), cell(REVENUE, values[20_000:] * unit))
        assert found.verdict is Verdict.SAME


def test_what_is_undecided_says_how_many_more_values_it_takes():
    found = _compared(ERRORS, cell(ERRORS, ones(20, 1_000)), cell(ERRORS, ones(30, 1_000)))
    assert found.verdict is Verdict.UNDECIDED
    assert found.needed is not None
    assert found.needed > 1_000
    assert found.eta_s == pytest.approx(found.needed * 60.0 / 1_000)
    assert f"About {found.needed:,} more values of each should decide it." in found.words


def test_a_decision_too_far_off_is_not_foretold():
    metric = msgspec.structs.replace(ERRORS, margin=1e-9)
    found = _compared(metric, cell(metric, ones(20, 1_000)), cell(metric, ones(20, 1_000)))
    assert (found.verdict, found.needed, found.eta_s) == (Verdict.UNDECIDED, None, None)


def test_without_values_nothing_is_known():
    analysis = analyse(experiment(LATENCY, ERRORS), observed({}))
    assert {each.count for each in analysis.metrics} == {0}
    assert {each.estimate.value for each in analysis.metrics} == {None}
    assert {each.verdict for each in analysis.comparisons} == {Verdict.UNDECIDED}
    assert analysis.verdicts == {"onnx": Verdict.UNDECIDED}
    assert "too few values" in analysis.comparisons[0].words


def test_quantiles_are_those_of_all_values():
    analysis = analyse(experiment(LATENCY), observed({LATENCY: [{"tf": _latencies(20_000)}]}))
    tf, onnx = analysis.metrics
    true = np.quantile(np.exp(2 + 0.5 * _NORMAL[:20_000]), [0.5, 0.95, 0.99])
    assert list(tf.quantiles.values()) == pytest.approx(list(true), rel=0.01)
    assert list(tf.quantiles) == ["p50", "p95", "p99"]
    assert onnx.quantiles == {}


def test_more_comparisons_ask_for_more_evidence():
    control, variant = cell(ERRORS, ones(200, 10_000)), cell(ERRORS, ones(271, 10_000))
    alone = _compared(ERRORS, control, variant)
    names = ("tf", "onnx", "lite", "torch", "other")
    others = {name: cell(ERRORS, ones(200, 10_000, seed=index)) for index, name in enumerate(names)}
    among = analyse(experiment(ERRORS, variants=names), observed({ERRORS: [{**others, "onnx": variant}]})).comparisons[
        0
    ]
    assert among.p_value == alone.p_value
    assert among.p_adjusted == pytest.approx(4 * alone.p_value)
    assert among.difference.low is not None
    assert alone.difference.low is not None
    assert among.difference.low < alone.difference.low
    assert alone.verdict is Verdict.WORSE
    assert among.verdict is Verdict.UNDECIDED


def _as_a_whole(latency_factor: float, errors: int) -> Analysis:
    return analyse(
        experiment(LATENCY, ERRORS),
        observed(
            {
                LATENCY: [{"tf": _latencies(20_000), "onnx": _latencies(20_000, latency_factor, start=20_000)}],
                ERRORS: [{"tf": cell(ERRORS, ones(200, 10_000)), "onnx": cell(ERRORS, ones(errors, 10_000))}],
            }
        ),
    )


@pytest.mark.parametrize(
    ("latency_factor", "errors", "verdict"),
    [
        (0.7, 200, Verdict.BETTER),
        (0.7, 500, Verdict.UNDECIDED),
        (1.0, 500, Verdict.WORSE),
        (1.0, 200, Verdict.SAME),
        (0.7, 255, Verdict.UNDECIDED),
    ],
    ids=["better", "better and worse", "worse", "the same", "better, with harm not ruled out"],
)
def test_a_variant_is_better_as_a_whole_where_it_does_no_harm(latency_factor, errors, verdict):
    assert _as_a_whole(latency_factor, errors).verdicts == {"onnx": verdict}


def test_a_trade_is_left_to_people():
    assert "better than tf in latency_ms and worse in errors: that is to be weighed" in _as_a_whole(0.7, 500).words


def test_where_traffic_is_not_split_as_it_should_be_nothing_is_decided():
    observations = observed(
        {LATENCY: [{"tf": _latencies(20_000), "onnx": _latencies(20_000, 0.5, start=20_000)}]},
        [Split({"tf": 50, "onnx": 50}, {"tf": 20_000, "onnx": 18_000})],
    )
    analysis = analyse(experiment(LATENCY), observations)
    assert analysis.sample_ratio.alarm
    assert analysis.verdicts == {"onnx": Verdict.UNDECIDED}
    assert analysis.words.startswith("tf got 20,000 of 38,000")


def test_the_bayesian_view_agrees_where_it_is_clear():
    analysis = analyse(
        experiment(ERRORS, variants=("tf", "onnx", "lite")),
        observed(
            {
                ERRORS: [
                    {
                        "tf": cell(ERRORS, ones(300, 10_000)),
                        "onnx": cell(ERRORS, ones(100, 10_000)),
                        "lite": cell(ERRORS, ones(300, 10_000, seed=1)),
                    }
                ]
            }
        ),
    )
    tf, onnx, lite = (each.bayes for each in analysis.metrics)
    assert tf is not None
    assert onnx is not None
    assert lite is not None
    assert onnx.probability_best > 0.999
    assert tf.expected_loss == pytest.approx(0.02, abs=0.003)
    assert tf.probability_best + onnx.probability_best + lite.probability_best == pytest.approx(1)


def test_the_same_evidence_gives_the_same_analysis():
    observations = observed({LATENCY: [{"tf": _latencies(500), "onnx": _latencies(500, start=500)}]})
    assert analyse(experiment(LATENCY), observations) == analyse(experiment(LATENCY), observations)


@pytest.mark.parametrize("count", [1, 2, 3, 10, 200])
def test_few_values_give_wide_intervals_and_valid_json(count):
    metrics = (LATENCY, ERRORS, REVENUE)
    strata = {
        metric: [{name: cell(metric, np.full(count, value)) for name, value in (("tf", 1.0), ("onnx", 0.0))}]
        for metric in metrics
    }
    analysis = analyse(experiment(*metrics), observed(strata))
    assert msgspec.json.decode(msgspec.json.encode(analysis), type=Analysis) == analysis
    numbers = [each.estimate for each in analysis.metrics] + [each.difference for each in analysis.comparisons]
    assert all(
        number is None or math.isfinite(number) for each in numbers for number in (each.value, each.low, each.high)
    )
    if count <= 3:
        assert {each.verdict for each in analysis.comparisons} == {Verdict.UNDECIDED}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.lists(st.floats(-1e300, 1e300), max_size=12), min_size=2, max_size=2), min_size=0, max_size=3),
    st.integers(1, 256),
)
def test_whatever_the_values_the_analysis_can_be_sent_and_is_sober(times, clusters):
    metrics = (LATENCY, REVENUE)
    with np.errstate(over="ignore", invalid="ignore"):
        strata = {
            metric: [
                {
                    name: cell(metric, values, np.arange(len(values)) % clusters)
                    for name, values in zip(("tf", "onnx"), time, strict=True)
                }
                for time in times
            ]
            for metric in metrics
        }
    analysis = analyse(experiment(*metrics), observed(strata))
    assert msgspec.json.decode(msgspec.json.encode(analysis), type=Analysis) == analysis
    for each in analysis.comparisons:
        assert 0 <= each.p_value <= each.p_adjusted <= 1
        assert each.difference.value is None or math.isfinite(each.difference.value)
