"""An experiment's limits beside what was seen: for people; who acts on them is its conductor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gateway.control.pages.formats import UNKNOWN, exactly, number, percent
from gateway.experiments.definition import LATENCY
from gateway.experiments.report import View

Seen: TypeAlias = tuple[str, str, bool]
"""A variant, what was seen of it in words, and whether that is over the limit."""


@dataclass(frozen=True, slots=True)
class Guard:
    """One limit and what was seen, by variant."""

    name: str
    limit: str
    seen: Sequence[Seen]


def guards(view: View) -> list[Guard]:
    """The limits that count, beside what was seen of every variant in this run."""
    limits = view.definition.guardrails
    found = []
    if (limit := limits.error_rate) is not None:
        found.append(Guard("errors", _share(limit), _shares(view, "errors", "requests", limit)))
    if (limit := limits.nan_rate) is not None:
        found.append(Guard("NaN or infinite", _share(limit), _shares(view, "not_finite", "examined", limit)))
    if (limit := limits.p99_ms) is not None:
        found.append(Guard("p99 latency", f"{exactly(limit)} ms", _p99(view, limit)))
    if (limit := limits.p99_ratio) is not None:
        found.append(Guard("p99 latency to control's", f"{exactly(limit)} ×", _p99_ratio(view, limit)))
    if (limit := limits.disagreement) is not None:
        found.append(Guard("shadow's disagreement", _share(limit), _disagreement(view, limit)))
    return found


def _share(share: float) -> str:
    return f"{exactly(round(share * 100, 8))} %"


def _shares(view: View, part: str, whole: str, limit: float) -> list[Seen]:
    return [_seen_share(each.name, getattr(each, part), getattr(each, whole), limit) for each in view.variants]


def _seen_share(name: str, part: int, whole: int, limit: float) -> Seen:
    return (name, percent(part / whole), part / whole > limit) if whole else (name, UNKNOWN, False)


def _p99s(view: View) -> dict[str, float | None]:
    metrics = view.analysis.metrics if view.analysis else ()
    known = {each.variant: each.quantiles.get("p99") for each in metrics if each.metric == LATENCY}
    return {each.name: known.get(each.name) for each in view.variants}


def _p99(view: View, limit_ms: float) -> list[Seen]:
    return [
        (name, UNKNOWN, False) if value is None else (name, f"{number(value)} ms", value > limit_ms)
        for name, value in _p99s(view).items()
    ]


def _p99_ratio(view: View, limit: float) -> list[Seen]:
    values = _p99s(view)
    control = values.pop(view.definition.control, None)
    return [
        (name, f"{number(value / control)} ×", value / control > limit) if value and control else (name, UNKNOWN, False)
        for name, value in values.items()
    ]


def _disagreement(view: View, limit: float) -> list[Seen]:
    shadow = view.shadow
    return [_seen_share("shadow", shadow.disagreed if shadow else 0, shadow.compared if shadow else 0, limit)]
