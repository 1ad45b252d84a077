"""What a variant may not do: how sure one is that it does, from counts of the last seconds. Pure."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np

from gateway.experiments.definition import Guardrails
from gateway.experiments.evidence import Counts, edges

_DOUBT: Final = 1e-5
"""How likely a variant that keeps a limit exactly seems to break it, at one look: there are four looks in a second."""

_LEAST_OF_CONTROL: Final = 100
_P99: Final = 0.99


class Lately(Protocol):
    """What a variant did in the last seconds; `latencies` are counts by evidence's bins of milliseconds."""

    answered: int
    failed: int
    examined: int
    not_finite: int
    latencies: Counts

    @property
    def requests(self) -> int:
        """Those that were answered or failed."""
        ...


def breach(rules: Guardrails, variant: Lately, control: Lately) -> str | None:
    """Which limit a variant breaks beyond doubt, with the numbers; None if none."""
    found = None
    if rules.error_rate is not None and exceeds(variant.failed, variant.requests, rules.error_rate):
        found = _share("error_rate", variant.failed, variant.requests, "requests failed", rules.error_rate)
    elif rules.nan_rate is not None and exceeds(variant.not_finite, variant.examined, rules.nan_rate):
        what = "examined answers held NaN or infinity"
        found = _share("nan_rate", variant.not_finite, variant.examined, what, rules.nan_rate)
    elif rules.p99_ms is not None and slower(variant.latencies, rules.p99_ms):
        found = f"p99_ms: more than 1 % of {variant.answered} answers took longer than the limit of {rules.p99_ms:g} ms"
    elif rules.p99_ratio is not None and int(control.latencies.sum()) >= _LEAST_OF_CONTROL:
        limit_ms = rules.p99_ratio * quantile(control.latencies, _P99)
        if slower(variant.latencies, limit_ms):
            found = (
                f"p99_ratio: more than 1 % of {variant.answered} answers took longer than {limit_ms:.4g} ms, which is "
                f"{rules.p99_ratio:g} times control's p99"
            )
    return found


def disagrees(rules: Guardrails, disagreed: int, compared: int) -> str | None:
    """Whether the shadow's answers differ more often than they may."""
    limit = rules.disagreement
    if limit is None or not exceeds(disagreed, compared, limit):
        return None
    return _share("disagreement", disagreed, compared, "compared answers differed", limit)


def exceeds(hits: int, trials: int, limit: float) -> bool:
    """Whether a rate is above a limit beyond doubt (Clopper & Pearson 1934, one-sided)."""
    from scipy.special import betaincinv  # noqa: PLC0415  # where no experiment runs, nobody waits for scipy

    if not hits or hits <= limit * trials:
        return False
    return bool(betaincinv(hits, trials - hits + 1, _DOUBT) > limit)


def slower(latencies: Counts, limit_ms: float) -> bool:
    """Whether the 99th percentile is above a limit beyond doubt; what is in the limit's own bin is not."""
    first = int(np.searchsorted(edges(), limit_ms, side="left"))
    return exceeds(int(latencies[first:].sum()), int(latencies.sum()), 1 - _P99)


def quantile(counts: Counts, share: float) -> float:
    """A quantile of counts by evidence's bins, interpolated within its bin; there must be one at least."""
    bounds = edges()
    wanted = share * float(counts.sum())
    reached = np.cumsum(counts)
    index = int(np.searchsorted(reached, wanted, side="left"))
    index = min(index, len(counts) - 1)
    low, high = float(bounds[index]), float(bounds[index + 1])
    if not np.isfinite(high):
        return low
    inside = (wanted - (float(reached[index]) - float(counts[index]))) / max(float(counts[index]), 1.0)
    return low + (high - low) * min(max(inside, 0.0), 1.0)


def _share(rule: str, hits: int, trials: int, what: str, limit: float) -> str:
    return f"{rule}: {hits} of {trials} {what} ({hits / trials:.1%}), and the limit is {limit:.3g}"
