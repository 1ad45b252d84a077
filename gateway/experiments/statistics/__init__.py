"""What the numbers of an experiment mean: anytime-valid, cluster-robust, stratified. Pure functions."""

from gateway.experiments.statistics.analysis import analyse
from gateway.experiments.statistics.planner import Latencies, Mean, Plan, Rate, plan

__all__ = ["Latencies", "Mean", "Plan", "Rate", "analyse", "plan"]
