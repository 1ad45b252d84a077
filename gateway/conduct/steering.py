"""What follows from an experiment's evidence: what statistics say, the points of pictures, a bandit's weights."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from gateway.conduct.weights import in_force
from gateway.experiments.bandits import Exp3, Reward, exp3, learn, thompson
from gateway.experiments.definition import Better, Kind, Metric
from gateway.experiments.evidence import Cell
from gateway.experiments.report import Analysis, Estimate, Look

if TYPE_CHECKING:
    from gateway.conduct.active import Active

_UNKNOWN = Estimate(None, None, None)


def analyse(active: Active) -> Analysis:
    """What the statistics say now. Takes some milliseconds, and is for a thread."""
    from gateway.experiments.statistics import analyse as look  # noqa: PLC0415  # of no use without an experiment

    return look(active.definition, active.evidence.observations())


def looks_of(active: Active, at: datetime) -> list[Look]:
    """The latest analysis as points of the pictures over time."""
    analysis = active.analysis
    if analysis is None:
        return []
    weights = in_force(active.definition).weights
    against = {(each.metric, each.variant): each for each in analysis.comparisons}
    looks = []
    for each in analysis.metrics:
        if not each.count:
            continue
        comparison = against.get((each.metric, each.variant))
        looks.append(
            Look(
                at,
                each.metric,
                each.variant,
                each.count,
                each.estimate,
                comparison.difference if comparison else _UNKNOWN,
                comparison.p_value if comparison else None,
                weights.get(each.variant, 0.0),
            )
        )
    return looks


def steer(active: Active) -> dict[str, float] | None:
    """The weights, in percent, that the experiment's bandit wants now; None where it has nothing to go by."""
    definition = active.definition
    policy = definition.policy
    metric = definition.metric(policy.metric)
    if metric is None:
        return None
    totals = active.evidence.totals(metric.name)
    cells = {each.name: totals.get(each.name) or Cell.empty() for each in definition.variants}
    if not any(cell.values for cell in cells.values()):
        return None
    if policy.kind == "thompson":
        return thompson(metric, cells, policy.floor, np.random.default_rng())
    return _exp3(active, metric, cells)


def _exp3(active: Active, metric: Metric, cells: Mapping[str, Cell]) -> dict[str, float]:
    """What Exp3 knows is kept with the evidence, and with it how much of that it has learned from already."""
    state = dict(active.evidence.extras.bandit)
    weights = in_force(active.definition).weights
    rewards = {name: _rewards(metric, cell) for name, cell in cells.items()}
    new = {
        name: Reward(each.count - int(state.get(f"count:{name}", 0)), each.total - state.get(f"total:{name}", 0.0))
        for name, each in rewards.items()
    }
    known = Exp3({name: state.get(f"loss:{name}", 0.0) for name in cells}, int(state.get("count", 0)))
    # A variant whose rewards come in after it has lost all weight cannot be learned from.
    learned = learn(known, weights, {name: _in_range(each) for name, each in new.items() if weights.get(name)})
    state.update({"count": learned.count, **{f"loss:{name}": loss for name, loss in learned.losses.items()}})
    for name, each in rewards.items():
        state.update({f"count:{name}": each.count, f"total:{name}": each.total})
    active.evidence.learned(state)
    return exp3(learned, active.definition.policy.floor)


def _rewards(metric: Metric, cell: Cell) -> Reward:
    """A cell's values as rewards in 0..1, the more the better."""
    low, high = (0.0, 1.0) if metric.kind in (Kind.BINARY, Kind.CONVERSION) else (metric.low or 0.0, metric.high or 1.0)
    earned = (float(cell.total.sum()) - low * cell.values) / (high - low)
    return Reward(cell.values, earned if metric.better is Better.HIGHER else cell.values - earned)


def _in_range(reward: Reward) -> Reward:
    count = max(reward.count, 0)
    return Reward(count, min(max(reward.total, 0.0), float(count)))
