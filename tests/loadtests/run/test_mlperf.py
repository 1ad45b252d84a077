from __future__ import annotations

from loadtests.run.latencies import latencies
from loadtests.run.mlperf import surely
from tests.loadtests.run.made import part


def test_queries_that_failed_are_the_slowest_of_all() -> None:
    answered = latencies([part(1.0, {"a": [float(each) for each in range(1, 991)]})])
    without, failed = surely(answered, 0, 90), surely(answered, 10, 90)
    assert without.value is not None
    assert failed.value is not None
    assert failed.value > without.value
    assert surely(answered, 200, 90).value is None


def test_too_few_queries_say_how_many_are_needed() -> None:
    figure = surely(latencies([part(1.0, {"a": [1.0] * 60})]), 1, 90)
    assert (figure.value, figure.note) == (None, "early stopping: 3 queries more needed")
