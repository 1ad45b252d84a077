"""Slices of which the truth is known: correlated ones, on a machine that drifts."""

from __future__ import annotations

import numpy as np

from loadtests.statistics.samples import Samples

_EDGES_US = np.exp(np.arange(np.log(300.0), np.log(5000.0), 0.02))
_SHAPE = np.exp(-((np.log(_EDGES_US / 800.0) / 0.25) ** 2) / 2)


def samples(
    rng: np.random.Generator, *, slower: float = 1.0, slices: int = 12, correlation: float = 0.6, wander: float = 0.03
) -> Samples:
    """One round of a closed loop: its speed wanders from slice to slice, by an autoregression, about its own."""
    shift, shifts = wander * rng.normal(), []
    for _ in range(slices):
        shifts.append(shift)
        shift = correlation * shift + wander * np.sqrt(1 - correlation**2) * rng.normal()
    times = slower * np.exp(np.array(shifts))
    expected = _SHAPE / _SHAPE.sum() * 400 / times[:, None]
    moved = np.log(_EDGES_US)[None] - np.log(times)[:, None]
    expected = np.array([np.interp(each, np.log(_EDGES_US), row) for each, row in zip(moved, expected, strict=True)])
    counts = rng.poisson(expected).astype(np.float32)
    answered = counts.sum(axis=1).astype(float)
    widths = _EDGES_US * np.expm1(0.02)
    return Samples(counts, _EDGES_US, widths, answered, np.zeros(slices), np.full(slices, 0.25), answered)


def counted(failed: list[float], succeeded: list[float]) -> Samples:
    """Slices with so many failures and answers."""
    good = np.array(succeeded)
    counts = good[:, None].astype(np.float32)
    seconds = np.full(len(failed), 0.25)
    return Samples(counts, np.array([800.0]), np.array([1.0]), good, np.array(failed), seconds, good)
