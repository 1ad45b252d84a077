"""How long an experiment takes, out of the numbers that people give for it."""

from __future__ import annotations

from gateway.experiments.statistics.planner import Latencies, Mean, Plan, Rate, plan
from gateway.terminal.experiment_documents import Unclear
from gateway.terminal.experiments import duration

_MOST = 1e9


def baseline(
    rate: float | None, mean: float | None, deviation: float | None, p50: float | None, p95: float | None
) -> Rate | Mean | Latencies:
    """What control does; raises Unclear where it is not said in one of the three ways."""
    for number in (rate, mean, deviation, p50, p95):
        if number is not None and not abs(number) <= _MOST:
            raise Unclear(f"expected numbers of at most {_MOST:g} for what control does, got {number:g}")
    ways = [rate is not None, (mean, deviation) != (None, None), (p50, p95) != (None, None)]
    if sum(ways) == 1:
        if rate is not None:
            return Rate(rate)
        if mean is not None and deviation is not None:
            return Mean(mean, deviation)
        if p50 is not None and p95 is not None:
            return _latencies(p50, p95)
    raise Unclear("expected what control does: --rate, or --mean with --deviation, or --p50 with --p95")


def find(control: Rate | Mean | Latencies, effect: float, **options: float | int) -> Plan:
    """How many values find an effect; `options` are the planner's. Raises Unclear where no number would do."""
    if not abs(effect) <= _MOST:
        raise Unclear(f"--effect: expected a difference from -{_MOST:g} to {_MOST:g}, got {effect:g}")
    try:
        return plan(control, effect, **options)  # type: ignore[arg-type]
    except ValueError as error:
        raise Unclear(str(error)) from None
    except ArithmeticError:
        raise Unclear(
            "with these numbers it cannot be told: expected a share and a design effect nearer to 1"
        ) from None


def words(found: Plan, per_s: float | None) -> list[str]:
    """What a plan comes to, and how long it lasts at so many values per second."""
    lines = [f"{found.total} values find it: {found.variant} of the variant, {found.control} of control"]
    if per_s:
        lines.append(f"at {per_s:g} values per second that takes {duration(found.total / per_s)}")
    return [*lines, "looking in between, and stopping as soon as it is decided, is part of the plan"]


def _latencies(p50: float, p95: float) -> Latencies:
    try:
        return Latencies.lognormal(p50, p95)
    except ValueError as error:
        raise Unclear(f"--p50, --p95: {error}") from None
