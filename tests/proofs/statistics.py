"""`make proof-statistics`: looked at as often as one likes, experiments call no difference that is not there."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from time import perf_counter

import numpy as np
import psutil

from tests.proofs.simulated import EFFECTS, NULLS, Course, follow

_LOOKS = range(100, 5_001, 100)
_LOOKS_AT_EFFECTS = 10


def main() -> int:
    """Run the proof; 0 where it holds."""
    arguments = _arguments()
    print(f"`make proof-statistics{' ARGS=' + ' '.join(sys.argv[1:]) if sys.argv[1:] else ''}`, {_machine()}\n")
    begin = perf_counter()
    held = [_nulls(arguments.null), _effects(arguments.planted)]
    print(f"\n{'holds' if all(held) else 'DOES NOT HOLD'}, after {perf_counter() - begin:.0f} s")
    return 0 if all(held) else 1


def _nulls(count: int) -> bool:
    """No difference: at most 5 % ever call one, and at least 95 % of the intervals hold the truth at every look."""
    looks = f"{count:,} experiments each, {len(_LOOKS)} looks up to {_LOOKS[-1]:,} requests"
    _head(
        f"no difference: {looks}",
        "ever called",
        "difference and ratio held at every look",
        "estimates held at every look",
    )
    held = True
    for name in NULLS:
        courses = _courses(partial(_null, name), count)
        called, contained, estimated = _shares(courses)
        print(f"| {name} | {called:.1%} | {contained:.1%} | {estimated:.1%} |", flush=True)
        held = held and called <= 0.05 and contained >= 0.95 and estimated >= 0.95
    return held


def _effects(count: int) -> bool:
    """Differences: at least 80 % are found by the planner's size."""
    print()
    looks = f"{count:,} experiments each, {_LOOKS_AT_EFFECTS} looks"
    _head(f"a difference: {looks}", "planned, values of each", "found", "median when found", "held at every look")
    held = True
    for name, world in EFFECTS.items():
        assert world.size
        courses = _courses(partial(_planted, name), count)
        found, contained, _ = _shares(courses)
        when = np.median([course.called for course in courses if course.called] or [0]) / 2
        print(f"| {name} | {world.size.variant:,} | {found:.1%} | {when:,.0f} | {contained:.1%} |", flush=True)
        held = held and found >= 0.8 and contained >= 0.95
    return held


def _head(*titles: str) -> None:
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}", flush=True)


def _null(name: str, seed: int) -> Course:
    return follow(NULLS[name], seed, _LOOKS)


def _planted(name: str, seed: int) -> Course:
    world = EFFECTS[name]
    assert world.size
    return follow(
        world, seed, [world.size.total * (look + 1) // _LOOKS_AT_EFFECTS for look in range(_LOOKS_AT_EFFECTS)]
    )


def _courses(run: partial[Course], count: int) -> Sequence[Course]:
    with get_context("fork").Pool(2) as pool:
        return pool.map(run, range(count), chunksize=10)


def _shares(courses: Sequence[Course]) -> tuple[float, float, float]:
    """Which part called a difference, held its truth, and held the variants' truths."""
    return (
        float(np.mean([course.called is not None for course in courses])),
        float(np.mean([course.contained for course in courses])),
        float(np.mean([course.estimated for course in courses])),
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make proof-statistics", description=__doc__)
    parser.add_argument("--null", type=int, default=2_000, help="experiments without a difference, of each kind")
    parser.add_argument("--planted", type=int, default=500, help="experiments with a difference, of each kind")
    parser.add_argument("--quick", action="store_true", help="a tenth of both")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.null, arguments.planted = arguments.null // 10, arguments.planted // 10
    return arguments


def _machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    python = f"Python {platform.python_version()}, numpy {np.__version__}"
    return f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {memory:.0f} GB, {platform.system()}, {python}"


if __name__ == "__main__":
    sys.exit(main())
