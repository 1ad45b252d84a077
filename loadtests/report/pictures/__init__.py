"""The report's pictures, each with its numbers."""

from loadtests.report.pictures.drawing import Grid, Picture, png, svg
from loadtests.report.pictures.heat import heat_maps
from loadtests.report.pictures.levels import throughput_against_latency
from loadtests.report.pictures.percentiles import latency_distributions
from loadtests.report.pictures.timeline import timelines

__all__ = [
    "Grid",
    "Picture",
    "heat_maps",
    "latency_distributions",
    "png",
    "svg",
    "throughput_against_latency",
    "timelines",
]
