"""What a million requests cost: pure arithmetic over CPU time, rates and prices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from loadtests.verdict.document import Estimate

_MILLION: Final = 1_000_000
_HOUR_S: Final = 3600
_MOST: Final = 690.0
"""The largest exponent of e that is a number."""

_T_975: Final = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Student's t, 97.5 %, by degrees of freedom from 1 on; 10 and more: as 10, which is on the safe side."""


def by_cpu(cpu_ms: Estimate, price_per_core_hour: float) -> Estimate:
    """From the CPU time of one request, in milliseconds: what the cores do meanwhile for others, others pay."""
    factor = price_per_core_hour / _HOUR_S / 1000 * _MILLION
    return Estimate(cpu_ms.value * factor, cpu_ms.low * factor, cpu_ms.high * factor)


def by_rate(rate: Estimate, cores: int, price_per_core_hour: float) -> Estimate | None:
    """From the highest rate of a machine whose cores are all paid for; None where that rate may be 0."""
    if rate.low <= 0:
        return None
    hourly = price_per_core_hour * cores
    return Estimate(*(hourly / (each * _HOUR_S) * _MILLION for each in (rate.value, rate.high, rate.low)))


def typical(values: Sequence[float]) -> Estimate | None:
    """The geometric mean of measurements of the same, with Student's interval of their logarithms.

    None of fewer than two, and where one of them is not above 0: then nothing was measured.
    """
    if len(values) < 2 or min(values) <= 0:
        return None
    logarithms = [math.log(each) for each in values]
    middle = math.fsum(logarithms) / len(values)
    spread = math.sqrt(math.fsum((each - middle) ** 2 for each in logarithms) / (len(values) - 1))
    half = _T_975[min(len(values) - 1, len(_T_975)) - 1] * spread / math.sqrt(len(values))
    return Estimate(*(math.exp(min(_MOST, each)) for each in (middle, middle - half, middle + half)))
