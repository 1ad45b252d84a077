"""Holm's correction over all comparisons of an experiment."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """The adjusted p-values, in the order of the given ones."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(_order(p_values)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def levels(p_values: Sequence[float], alpha: float) -> list[float]:
    """The alpha at which Holm's procedure tests each, or would next: an interval of that level says what the test says.

    None is more than `alpha`: each interval for itself promises what an unadjusted one does.
    """
    rejected = sum(p <= alpha for p in holm(p_values))
    found = [alpha] * len(p_values)
    for rank, index in enumerate(_order(p_values)):
        found[index] = alpha / (len(p_values) - min(rank, rejected))
    return found


def _order(p_values: Sequence[float]) -> list[int]:
    return sorted(range(len(p_values)), key=p_values.__getitem__)
