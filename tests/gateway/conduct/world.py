"""A gateway's control side over a real folder, registry and store; requests, time and trouble are the test's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from gateway.conduct.active import Active
from gateway.conduct.conductor import Conductor
from gateway.conduct.control import ExperimentControl
from gateway.conduct.files import ExperimentFiles
from gateway.conduct.journal import Journal
from gateway.conduct.keeper import Keeper
from gateway.conduct.outcomes import Outcomes
from gateway.conduct.promotion import Promotion
from gateway.experiments.definition import Definition
from gateway.experiments.outputs import OutputIncrement
from gateway.experiments.recording import ArmNotes, Increment, ShadowIncrement
from gateway.experiments.store.errors import StoreUnavailable
from gateway.types import BY_CHANCE, Arm, Target, TrafficSplit
from tests.gateway.plane import Plane
from tests.waiting import until

TWO = """\
# ours
[variants.a]
target = "m/1"
weight = 50  # half

[variants.b]
target = "m/2"
weight = 50
"""
DOCUMENT: Mapping[str, Any] = {
    "variants": {"a": {"target": "m/1", "weight": 50}, "b": {"target": "m/2", "weight": 50}},
}
NOW = datetime(2026, 12, 1, 9, tzinfo=UTC)


class TroubledKeeper(Keeper):
    """A Keeper whose store fails as long as there is `trouble`, and waits as long as it is `held`."""

    trouble = ""

    def _do(self, act: Callable[[Any], Any]) -> Any:
        def troubled(store: Any) -> Any:
            if self.trouble:
                raise StoreUnavailable(self.trouble)
            return act(store)

        return super()._do(troubled)


class World:
    """One gateway. `root` and `store` may be another's, too: so it shares them, or is that one after a restart."""

    def __init__(
        self,
        folder: Path,
        root: Path | None = None,
        store: str = "",
        writer: str = "here",
        backends: Sequence[str] = ("onnxruntime",),
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.plane = Plane(folder, *backends)
        if root is not None:
            self.plane.root = self.plane.control.root = root
        self.store = store or f"sqlite:///{folder}/store.db"
        self.keeper = TroubledKeeper(self.store, writer, pause_s=0.0)
        self.journal = Journal(self.keeper)
        self.conductor = Conductor(self.keeper, self.journal)
        self.files = ExperimentFiles(self.plane.control)
        self.uncollected: list[Increment] = []
        self.outcomes = Outcomes(self.keeper, self.conductor, self._collect)
        self.desk = ExperimentControl(
            self.plane.control,
            self.conductor,
            self.files,
            self.journal,
            self.keeper,
            self.outcomes,
            Promotion(self.plane.control, self.plane.labels),
        )
        self.conductor.join(self.plane.control, self.files, self.desk.promote_by)

    async def _collect(self) -> None:
        taken, self.uncollected = self.uncollected, []
        self.conductor.take(taken)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[World]:
        """The control plane at work on the model m, versions 1 and 2; nothing ticks by itself."""
        async with self.plane.running():
            if not (self.plane.root / "m").exists():
                self.plane.publish("m/1", "one")
                self.plane.publish("m/2", "two")
                self.plane.write("m/model.toml", 'versions = "all"\n')
            await until(lambda: all(self.plane.state(f"m/{version}@onnxruntime") == "READY" for version in (1, 2)))
            await self.look()
            try:
                yield self
            finally:
                await self.conductor.close()
                await self.keeper.close()

    async def look(self) -> None:
        """Have the repository be looked at, and what follows done."""
        await self.plane.looked(2)
        self.conductor.tick()

    async def written(self) -> None:
        """Wait until what was decided is in the files, or could not be written."""
        await until(lambda: not self.conductor.writing._busy)

    def file(self, name: str = "x") -> Path:
        """An experiment's file."""
        return self.plane.root / "m/experiments" / f"{name}.toml"

    async def write(self, text: str, name: str = "x") -> Definition:
        """Write an experiment's file by hand, and have it be seen; gives what counts then."""
        self.file(name).parent.mkdir(exist_ok=True)
        self.plane.write(f"m/experiments/{name}.toml", text)
        await self.look()
        await self.written()
        return self.definition(name)

    async def edit(self, old: str, new: str, name: str = "x") -> Definition:
        """Replace something in a file by hand."""
        await self.look()
        text = self.file(name).read_text()
        assert old in text
        return await self.write(text.replace(old, new, 1), name)

    async def start(self, text: str = TWO, name: str = "x") -> Definition:
        """An experiment that runs."""
        await self.write(text, name)
        return await self.desk.start("m", name, "test")

    def definition(self, name: str = "x") -> Definition:
        """An experiment as it counts."""
        return self.conductor.standings.find("m", name)

    def weights(self, name: str = "x") -> dict[str, float]:
        """What a running experiment's variants get, by what requests go by, in percent."""
        split = self.split(name)
        assert split is not None, f"no request goes by {name}"
        ends = [0, *(end for end, _ in split.slots)]
        found = dict.fromkeys((arm.name for arm in split.arms), 0.0)
        for begin, (end, arm) in zip(ends, split.slots, strict=False):
            found[split.arms[arm].name] += (end - begin) / 10_000
        return found

    def split(self, name: str = "x") -> TrafficSplit | None:
        """A running experiment as frontends know it."""
        table = self.plane.registry.tables["m"]
        return next((each for each in table.splits if each.experiment == name), None)

    def active(self, name: str = "x") -> Active:
        """A run that goes on."""
        return self.conductor.roster.active["m", name]

    def serve(self, name: str = "x", shadow: ShadowIncrement | None = None, **arms: Sequence[Any]) -> None:
        """Requests were answered: of each variant, units or (unit, ms), None for a request that failed."""
        self.conductor.take([self.increment(name, shadow, **arms)])

    def increment(self, name: str = "x", shadow: ShadowIncrement | None = None, **arms: Sequence[Any]) -> Increment:
        """What a frontend notes of requests now: see `serve`."""
        split = self.split(name)
        assert split is not None
        return increment(split.run, split.epoch, name, shadow, **arms)

    async def actions(self) -> list[str]:
        """What was noted, oldest first."""
        return [each.action for each in reversed(await self.desk.events("m", limit=1000))]


def increment(
    run: int, epoch: int, name: str = "x", shadow: ShadowIncrement | None = None, **arms: Sequence[Any]
) -> Increment:
    """What a frontend has noted: of each variant, requests by unit, each answered in 1 ms; (unit, ms); None: failed."""
    taken = {}
    for index, (variant, requests) in enumerate(arms.items()):
        notes = ArmNotes(f"m/{name}", index, Arm(variant, Target("m")))
        for number, request in enumerate(requests):
            unit, ms = request if isinstance(request, tuple) else (request, 1.0)
            unit = BY_CHANCE | number if unit is None else unit
            notes.assigned(unit)
            if request is None:
                notes.failed(unit)
            else:
                notes.answered(unit, int(ms * 1e6), None)
        (taken[variant],) = notes.take()
    return Increment("m", name, run, epoch, taken, shadow)


def unit_numbers(count: int, seed: int = 0) -> list[int]:
    """Numbers of different units, as their hashes are."""
    numbers = np.random.default_rng(seed).integers(0, 1 << 63, count, np.uint64)
    return [int(each) for each in numbers]


def outputs(total: float) -> OutputIncrement:
    """What one value in an answer comes to."""
    return OutputIncrement(1, total, total**2, total, total, {})
