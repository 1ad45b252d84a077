"""Evidence with known values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from gateway.experiments.definition import Better, Definition, Kind, Metric, Variant
from gateway.experiments.evidence import CLUSTERS, Cell, Observations, Split
from gateway.types import Target

LATENCY = Metric("latency_ms", Kind.QUANTILE, Better.LOWER, 0.05)
ERRORS = Metric("errors", Kind.BINARY, Better.LOWER, 0.01)
CORRECT = Metric("correct", Kind.BINARY, Better.HIGHER, 0.01)
REVENUE = Metric("revenue", Kind.MEAN, Better.HIGHER, 0.05)


def experiment(*metrics: Metric, variants: Sequence[str] = ("tf", "onnx"), confidence: float = 0.95) -> Definition:
    """Control is the first."""
    sides = tuple(Variant(name, Target("digits"), 100 / len(variants)) for name in variants)
    return Definition("digits", "e", sides, variants[0], metrics=metrics, confidence=confidence)


def cell(metric: Metric, values: npt.ArrayLike, clusters: npt.ArrayLike | None = None) -> Cell:
    """Values, by default spread evenly over the clusters."""
    given = np.asarray(values, np.float64)
    found = Cell.empty(metric.kind is Kind.QUANTILE)
    found.add(np.arange(len(given)) % CLUSTERS if clusters is None else np.asarray(clusters), given)
    return found


def ones(count: int, of: int, seed: int = 0) -> npt.NDArray[np.float64]:
    """So many ones among zeros, shuffled."""
    return np.random.default_rng(seed).permutation(np.repeat([1.0, 0.0], [count, of - count]))


def observed(
    metrics: Mapping[Metric, Sequence[Mapping[str, Cell]]], splits: Sequence[Split] = (), elapsed_s: float = 60.0
) -> Observations:
    """By metric: strata."""
    return Observations({metric.name: list(strata) for metric, strata in metrics.items()}, list(splits), elapsed_s)
