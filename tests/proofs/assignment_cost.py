"""`make proof-assignment`: what an experiment adds to a request, in nanoseconds of CPU.

From the route of a request to what its answer says, less what the same takes without an experiment: assignment,
recording, the look into its answer, and its share of what is told to control four times a second (at 2,000 requests a
second). The way of a request besides that is in `make profile`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count, cycle, repeat

import msgspec
import numpy as np

from gateway.dataplane import DataPlane
from gateway.experiments.assignment import Assignment
from gateway.frontends.messages import Ask, Evidence
from gateway.registry import Registry
from gateway.types import Caller, ModelTable, Serving, Standing, State, Target, TrafficSplit
from tests.gateway.experiments.splits import From, split
from tests.gateway.fakes import QuickServable, endpoint
from tests.proofs.loopback import DEPLOYMENT

_AT_ONCE = 500  # requests between two takings: a quarter of a second of 2,000 a second
_TAKINGS = 20
_REPEATS = 9
_GOAL_NS = 5000.0
_M = Target("mlp")
_OUTPUTS = {"y": np.random.default_rng(0).random((1, 10), np.float32)}

Callers = Callable[[], Iterator[Caller | None]]


async def opened(*splits: TrafficSplit) -> DataPlane:
    """A data plane over one deployment, which is every arm."""

    async def connect(_: object) -> QuickServable:
        return QuickServable()

    registry = Registry(connect, drain_timeout_s=1)
    await registry.publish(DEPLOYMENT, endpoint("a"), Serving())
    registry.show({"mlp": ModelTable("mlp", ("onnxruntime",), {}, {DEPLOYMENT: Standing(State.READY)}, splits)})
    return DataPlane(registry)


def cost_ns(dataplane: DataPlane, callers: Callers, told: bool = True) -> float:
    """The least of several runs, a request."""
    encode = msgspec.msgpack.Encoder().encode
    recorder = dataplane.registry.recorder

    def requests() -> None:
        for _, caller in zip(range(_AT_ONCE), coming, strict=False):
            assignment = dataplane.route(_M, caller).assignment
            if assignment is not None:
                _answer(assignment)

    runs = []
    for _ in range(_REPEATS):
        coming = callers()
        began_ns = time.process_time_ns()
        for _ in range(_TAKINGS):
            requests()
            if told and (increments := recorder.take()):
                encode(Ask(0, Evidence(increments)))
        runs.append((time.process_time_ns() - began_ns) / _AT_ONCE / _TAKINGS)
    return min(runs)


def _answer(assignment: Assignment) -> None:
    assignment.answered(1_234_567, _OUTPUTS)
    assignment.parameters()
    assignment.headers()


def nobody() -> Iterator[Caller | None]:
    """Callers without a unit."""
    return repeat(None)


def the_same() -> Iterator[Caller | None]:
    """A thousand units that come again and again."""
    return cycle([From(torii_unit=b"user-%d" % number) for number in range(1000)])


_FRESH = count()


def fresh() -> Iterator[Caller | None]:
    """Units that never came before."""
    return iter([From(torii_unit=b"user-%d" % next(_FRESH)) for _ in range(_AT_ONCE * _TAKINGS)])


async def main() -> int:
    """Print the table; gives 1 where the goal is missed."""
    by_m = {"arms": tuple(type(each)(each.name, _M) for each in split().arms)}
    table: list[tuple[str, float]] = []
    none = cost_ns(await opened(), nobody)
    for name, callers, key in (
        ("without units", nobody, b""),
        ("with units that come again", the_same, b""),
        ("with fresh units", fresh, b""),
        ("with fresh units, and ids for outcomes", fresh, b"k" * 32),
    ):
        table.append((name, cost_ns(await opened(split(token_key=key, **by_m)), callers) - none))
    print(f"{'no experiment on the model: its route':45} {none:7.0f} ns a request")
    for name, cost in table:
        print(f"{'an experiment ' + name:45} {cost:+7.0f} ns")
    worst = max(cost for name, cost in table if "ids" not in name)
    print(f"goal: at most {_GOAL_NS:.0f} ns, without ids; the dearest takes {worst:.0f} ns")
    return int(worst > _GOAL_NS)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
