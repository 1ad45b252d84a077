"""A deployment under comparison: what it is asked, and all that was measured of it so far."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from loadtests import statistics
from loadtests.engine.plan import Request
from loadtests.results.schema import Run
from loadtests.run import marks
from loadtests.run.latencies import failures, measured, succeeded
from loadtests.run.search import Found
from loadtests.verdict.answers import Arrays
from loadtests.verdict.costs import typical
from loadtests.verdict.document import Estimate

READY: Final = "READY"


@dataclass(slots=True, eq=False)
class Candidate:
    """`status` is what the control API says of it. With a `failure` it is asked nothing more."""

    name: str
    status: dict[str, Any]
    requests: tuple[Request, ...] = ()
    outputs: Arrays | None = None
    failure: str = ""
    alone: list[Run] = field(default_factory=list)
    loaded: list[Run] = field(default_factory=list)
    tried: list[Run] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    kept: float = 0.0
    """The highest rate of any stretch that kept the target, were it by chance."""

    @property
    def ready(self) -> bool:
        """Whether it was ready at the beginning."""
        return bool(self.status["state"] == READY)

    @property
    def going(self) -> bool:
        """Whether there is more to ask of it."""
        return self.ready and not self.failure

    def highest_rate(self, precision: float) -> Estimate | None:
        """Over all rounds, and at least from the lowest that was confirmed to the highest that was broken, or kept."""
        if not self.found:
            return None
        kept = [each.rate or 0.0 for each in self.found]
        broken = [each.above or each.rate * (1 + precision) for each in self.found if each.rate]
        middle = math.fsum(kept) / len(kept)
        among = typical(kept) or Estimate(middle, middle, middle)
        return Estimate(among.value, min(among.low, *kept), max([among.high, self.kept, *broken]))

    def marks(self) -> tuple[str, ...]:
        """Why to mistrust its figures; of searches, only whether they were of the generator's limit."""
        limited = [each for each in self.tried if any(mark.startswith(marks.GENERATOR) for mark in each.marks)]
        return marks.of_all([*self.alone, *self.loaded, *limited][:64])


def percentile_ms(runs: Sequence[Run], share: float) -> Estimate | None:
    """With its interval; None where there were too few answers for one."""
    if not runs:
        return None
    found = statistics.percentile(runs, share)
    figures = found.value, found.low, found.high
    return Estimate(*figures) if all(map(math.isfinite, figures)) else None


def failed_share(runs: Iterable[Run]) -> float | None:
    """Of all requests of these runs, warm-up left out; None where there were none."""
    slices = [each for run in runs for each in measured(run)]
    wrong, right = sum(failures(slices).values()), succeeded(slices)
    return wrong / (wrong + right) if wrong + right else None


def trouble(run: Run) -> str:
    """What went wrong where a run has no right answer at all; empty: it has some."""
    if succeeded(run.slices):
        return ""
    kinds = failures(run.slices)
    said = next((each.first_failure for each in run.slices if each.first_failure), "")
    worst = max(kinds, key=lambda each: kinds[each]) if kinds else "no answer at all"
    return f"no request succeeded in {run.phase}: {worst}" + (f": {said:.300}" if said else "")
