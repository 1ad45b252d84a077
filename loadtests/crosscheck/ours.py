"""Our own generator, measured as the tools are."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from statistics import median
from typing import Final

from hdrh.histogram import HdrHistogram

from loadtests.crosscheck.asked import Turn
from loadtests.crosscheck.measured import Measured, ToolFailed
from loadtests.engine.histograms import DIGITS, HIGHEST_US, LOWEST_US
from loadtests.engine.plan import Plan, Slice
from loadtests.generator import Generator, GeneratorFailed

NAME: Final = "torii"
WARM_UP_S: Final = 0.5
_SLICE_S = 0.25
_TIMEOUT_S = 10.0


def measure(turn: Turn) -> tuple[Measured, float]:
    """Figures, and the share of its core that the generator used; raises ToolFailed."""
    asked, load = turn.asked, turn.asked.load
    plan = Plan(
        target=asked.target,
        requests=(asked.request,),
        arrival="closed" if load.rate is None else load.arrival,
        connections=load.connections,
        timeout_s=_TIMEOUT_S,
        slice_s=_SLICE_S,
        core=asked.core,
    )
    slices: list[Slice] = []
    try:
        with Generator(plan) as generator:
            generator.level(load.connections if load.rate is None else load.rate)
            for each in generator.slices():
                slices.append(each)
                if each.end_s >= WARM_UP_S + _SLICE_S + turn.seconds:  # one slice may be of both
                    break
    except GeneratorFailed as error:
        raise ToolFailed(str(error)) from None
    return summed(slices, load.rows)


def summed(slices: Sequence[Slice], rows: int = 1) -> tuple[Measured, float]:
    """Figures of all slices but the warm-up's, and the median of their CPU.

    Raises:
        ToolFailed: nothing was answered in them.
    """
    counted = [each for each in slices if each.begin_s >= WARM_UP_S]
    latencies = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
    succeeded = 0
    for answers in (answers for each in counted for answers in each.answers.values()):
        succeeded += answers.succeeded
        latencies.add(HdrHistogram.decode(b64encode(answers.latency)))
    if not succeeded:
        kinds = ", ".join(dict.fromkeys(kind for each in slices for kind in each.failures))
        said = next((each.first_failure for each in slices if each.first_failure), "")
        raise ToolFailed(f"our generator got no good answer: {kinds or 'nothing came'} {said}".strip())
    elapsed_s = counted[-1].end_s - counted[0].begin_s
    p50, p90, p99 = (latencies.get_value_at_percentile(each) / 1000 for each in (50, 90, 99))
    failures = sum(sum(each.failures.values()) for each in counted)
    measured = Measured(rows * succeeded / elapsed_s, p50, p90, p99, failures)
    return measured, median(each.cpu for each in counted)
