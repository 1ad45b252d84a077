"""Estimates with intervals, and the comparison of two, from the raw slices of runs."""

from loadtests.statistics.contrasts import Contrast, contrast, ratio, taken_in_turns
from loadtests.statistics.estimates import Estimate, error_rate, percentile, throughput
from loadtests.statistics.figures import ErrorRate, Percentile, Statistic, Throughput

__all__ = [
    "Contrast",
    "ErrorRate",
    "Estimate",
    "Percentile",
    "Statistic",
    "Throughput",
    "contrast",
    "error_rate",
    "percentile",
    "ratio",
    "taken_in_turns",
    "throughput",
]
