"""What happens to running experiments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import msgspec

from gateway.conduct.weights import in_force
from gateway.errors import NotAllowed
from gateway.experiments.report import Analysis, SampleRatio, Verdict
from tests.gateway.conduct.world import TWO, World, unit_numbers

RAMP = f"{TWO}[ramp]\nsteps = [10, 50]\nhold_s = 60\nrequests = 5\n"
BANDIT = TWO + '[metrics.good]\nkind = "binary"\n[policy]\nkind = "{kind}"\nmetric = "good"\nfloor = 10\n'
FAILURES = [None] * 40


def breach(world: World, name: str = "x") -> None:
    """Have the variant b fail every request."""
    world.serve(name, a=unit_numbers(40), b=FAILURES)


async def age(world: World, seconds: float, name: str = "x") -> None:
    """Have the weights in force be older than they are."""
    active = world.active(name)
    current = in_force(active.definition)
    assert current.since is not None
    older = msgspec.structs.replace(current, since=current.since - timedelta(seconds=seconds))
    assert older.since is not None
    (line,) = [each for each in world.file(name).read_text().splitlines() if each.startswith("since = ")]
    await world.edit(line, f"since = {older.since.isoformat()}", name)


@contextmanager
def refused(world: World) -> Iterator[None]:
    """No file can be written."""
    change = world.files.change

    def refuse(*_: object) -> None:
        raise NotAllowed("m/experiments/x.toml cannot be written: Read-only file system")

    world.files.change = refuse  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        world.files.change = change  # type: ignore[method-assign]


def analysis(verdict: Verdict = Verdict.BETTER, alarm: bool = False) -> Analysis:
    """What statistics may say of b."""
    return Analysis((), (), SampleRatio(0.001 if alarm else 1.0, alarm, {}, {}), {"b": verdict}, "")


def stumble(*_: object) -> Analysis:
    """Fails as nobody has foreseen."""
    raise RuntimeError("nobody has foreseen this")
