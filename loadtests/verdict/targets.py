"""The latency target and the rate, where nobody has said which: chosen by what was measured. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from loadtests.verdict.document import Estimate


def latency_target_ms(alone_p99_ms: Sequence[Estimate]) -> float | None:
    """Twice the highest p99 alone, rounded up to 1, 2 or 5 times a power of ten.

    So every deployment can keep it, and none is out by a target that nobody has asked for.
    """
    if not alone_p99_ms:
        return None
    wanted = 2 * max(each.value for each in alone_p99_ms)
    power = 10.0 ** math.floor(math.log10(wanted))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= wanted * (1 - 1e-9))


def common_rate(highest: Sequence[Estimate]) -> float | None:
    """Half of what the weakest can take, with two digits that count: a load that all are compared at.

    None where none can take any.
    """
    able = [each.value for each in highest if each.value > 0]
    if not able:
        return None
    wanted = min(able) / 2
    digit = 10.0 ** (math.floor(math.log10(wanted)) - 1)
    return math.floor(wanted / digit) * digit
