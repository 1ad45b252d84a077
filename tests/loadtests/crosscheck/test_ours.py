from __future__ import annotations

import numpy as np
import pytest

from loadtests.crosscheck.measured import ToolFailed
from loadtests.crosscheck.ours import summed
from loadtests.engine.histograms import encode
from loadtests.engine.plan import Answers, Slice


def told(begin_s: float, latencies_ms: list[float], cpu: float = 0.2, failures: dict[str, int] | None = None) -> Slice:
    histogram = encode(np.array(latencies_ms) / 1000)
    answers = {"m/1@x": Answers(len(latencies_ms), histogram, histogram)} if latencies_ms else {}
    return Slice(begin_s, begin_s + 0.25, 1, 0, answers, failures or {}, "said why" * bool(failures), 0, 0, 0, cpu)


def test_the_warm_up_counts_nowhere() -> None:
    measured, cpu = summed([told(0.25, [100.0], cpu=1.0), told(0.5, [1.0, 2.0, 3.0]), told(0.75, [2.0])])

    assert measured.throughput == pytest.approx(4 / 0.5)
    assert measured.p50 == pytest.approx(2.0, rel=0.01)
    assert measured.p99 == pytest.approx(3.0, rel=0.01)
    assert cpu == 0.2


def test_samples_are_counted_where_a_request_has_several() -> None:
    measured, _ = summed([told(0.5, [1.0, 2.0])], rows=8)

    assert measured.throughput == pytest.approx(8 * 2 / 0.25)


def test_failures_are_counted() -> None:
    measured, _ = summed([told(0.5, [1.0], failures={"status 503": 2, "timeout": 1})])

    assert measured.failures == 3


def test_no_answer_is_no_figure() -> None:
    with pytest.raises(ToolFailed, match="said why"):
        summed([told(0.5, [], failures={"status 503": 2})])
