"""Why to mistrust what was measured: a machine that was busy with other things, a generator that was the limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from loadtests.hardware import marks as of_noise
from loadtests.results.schema import Noise, Run, Slice

CUT_SHORT: Final = "cut short"
GENERATOR: Final = "the generator was the limit"

_GENERATOR_CPU: Final = 0.90
_LATE_US: Final = 20_000
_LATE_SLICES: Final = 0.05
"""Of all slices: one that the machine put to sleep for a moment does not make a generator the limit."""


def marks(slices: Sequence[Slice], noise: Noise) -> tuple[str, ...]:
    """The marks of one stretch; `slices` are those that count."""
    return tuple(filter(None, [*of_noise(noise), _limited(slices)]))


def of_all(runs: Sequence[Run]) -> tuple[str, ...]:
    """Each kind of mark once, in the words of the first run that has it, and how many have."""
    found: dict[str, list[str]] = {}
    for run in runs:
        for mark in run.marks:
            found.setdefault(mark.partition(":")[0], []).append(mark)
    return tuple(
        texts[0] + (f" ({len(texts)} of {len(runs)} stretches)" if len(runs) > 1 else "") for texts in found.values()
    )


def _limited(slices: Sequence[Slice]) -> str:
    if not slices:
        return ""
    busiest = sorted(each.cpu for each in slices)[len(slices) // 2]
    late = [each.late_us for each in slices if each.late_us > _LATE_US]
    if busiest > _GENERATOR_CPU:
        return f"{GENERATOR}: {busiest:.0%} of its core"
    if len(late) > max(1.0, _LATE_SLICES * len(slices)):
        return f"{GENERATOR}: it sent up to {max(late) / 1000:.0f} ms late"
    return ""
