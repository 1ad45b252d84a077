"""Has running experiments go on: takes in evidence, watches guardrails, moves weights, and sees that all is kept."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from gateway.conduct.active import Active
from gateway.conduct.effective import begun_anew, effective, ended, identity, in_force, split
from gateway.conduct.evidence import RunEvidence
from gateway.conduct.files import ExperimentFiles
from gateway.conduct.journal import Journal
from gateway.conduct.keeper import Keeper
from gateway.conduct.saving import Saving
from gateway.conduct.standings import Name, Standings
from gateway.conduct.steering import analyse, looks_of, steer
from gateway.controlplane import ControlPlane
from gateway.errors import NotAllowed
from gateway.experiments.definition import Current, Definition, Standing
from gateway.experiments.files import kept, write_experiment
from gateway.experiments.recording import Increment
from gateway.experiments.report import Verdict
from gateway.experiments.tokens import hash_run
from gateway.types import ModelTable, TrafficSplit

_log = logging.getLogger(__name__)

_TICK_S: Final = 0.25
_SAVE_S: Final = 0.5
_LOOK_S: Final = 10.0
_KEPT_ENDED: Final = 64

Promote = Callable[[Definition, str, str], Coroutine[Any, Any, object]]


class Conductor:
    """One for each control process."""

    def __init__(self, keeper: Keeper, journal: Journal) -> None:
        self.standings = Standings()
        self.problems: dict[str, list[str]] = {}
        self.active: dict[Name, Active] = {}
        self.ended: dict[Name, Active] = {}
        self._keeper = keeper
        self._journal = journal
        self.saving = Saving(keeper)
        self.token_key = b""
        self._begun: set[Name] = set()
        self._control: ControlPlane
        self._files: ExperimentFiles
        self._promote: Promote
        self._unwritable: dict[Name, str] = {}
        self._shown: dict[str, tuple[TrafficSplit, ...]] = {}
        self._ticking = asyncio.Lock()
        self._looked = False
        self._background: set[asyncio.Task[object]] = set()

    def join(self, control: ControlPlane, files: ExperimentFiles, promote: Promote) -> None:
        """Say what it works on; `promote` is asked where an experiment promotes by itself."""
        self._control, self._files, self._promote = control, files, promote
        control.split_by(self.split)

    # What the control plane asks.

    def split(self, table: ModelTable) -> ModelTable:
        """A model's table with its experiments: see ControlPlane."""
        definitions = list(self.standings.of(table.name))
        if not definitions:
            self.problems.pop(table.name, None)
            return table
        begun = frozenset(name for model, name in self._begun if model == table.name)
        taken, problems = effective(definitions, table, datetime.now(UTC), begun)
        self.problems[table.name] = problems
        names = {(each.model, each.name) for each in taken}
        self._begun = {each for each in self._begun if each[0] != table.name} | names
        splits = tuple(split(each, self.token_key) for each in taken if (each.model, each.name) in self.active)
        return ModelTable(table.name, table.backends, table.labels, table.standings, splits)

    # What frontends tell.

    def take(self, increments: list[Increment]) -> None:
        """Add what a frontend has noted, and act at once where a guardrail is broken."""
        for increment in increments:
            active = self._of_run(increment)
            if active is None:
                continue
            active.take(increment, time.time(), time.monotonic())
            if active.definition.state is Standing.RUNNING:
                self._guard(active)

    def _of_run(self, increment: Increment) -> Active | None:
        name = increment.model, increment.experiment
        for active in (self.active.get(name), self.ended.get(name)):
            if active is not None and active.definition.run == increment.run:
                return active
        return None

    def _guard(self, active: Active) -> None:
        now = datetime.now(UTC)
        found = active.breached()
        if found is not None:
            variant, reason = found
            self.decide(active, active.without(variant, reason, now), "guardrail", "torii", reason)
        elif not active.warned and (reason := active.disagreement() or ""):
            active.warned = True
            self._disagreed(active, reason, now)

    def _disagreed(self, active: Active, reason: str, now: datetime) -> None:
        """A shadow whose answers differ: where it is a variant's, too, that one goes back to control."""
        definition = active.definition
        shadow = definition.shadow
        variant = next((each for each in definition.variants if shadow and each.target == shadow.target), None)
        if variant is not None and in_force(definition).weights.get(variant.name):
            self.decide(active, active.without(variant.name, reason, now), "guardrail", "torii", reason)
        else:
            self._journal.changed(definition, definition, "guardrail", "torii", reason)

    def decide(self, active: Active, current: Current, action: str, who: str, reason: str = "") -> None:
        """Have other weights be in force at once, and written as soon as may be."""
        before = active.definition
        after = _with(before, current)
        self.standings.decide(after)
        self._follow(active, after)
        active.windows.clear()
        self._control.show()
        if action:
            self._journal.changed(before, after, action, who, reason)
        self.in_background(self._write(after))

    # What goes on by itself.

    async def run(self) -> None:
        """Go on until cancelled."""
        saved_s = 0.0
        while True:
            try:
                await self.tick()
                if time.monotonic() - saved_s >= _SAVE_S:
                    saved_s = time.monotonic()
                    await self.saving.save([*self.active.values(), *self.ended.values()])
                    await self._journal.save()
            except Exception:  # noqa: BLE001  # one experiment's trouble must not end all others
                _log.exception("experiments: a tick failed; it is tried again")
            await asyncio.sleep(_TICK_S)

    async def tick(self) -> None:
        """Take in what the files say now, and do what is due; requests go by it then."""
        async with self._ticking:
            await self._tick()

    async def _tick(self) -> None:
        if not self._control.scanned.is_set():
            return
        for (model, experiment), before, after in self.standings.look(self._control.snapshot):
            if self._looked:
                self._journal.by_hand(model, experiment, before, after)
        self._looked = True
        now = datetime.now(UTC)
        running: set[Name] = set()
        for each in list(self.standings.all()):
            definition = self._lived(each, now)
            if definition.state is Standing.RUNNING:
                running.add((each.model, each.name))
                await self._keep_active(definition)
        for name in self.active.keys() - running:
            self._end(name)
        self._refresh()
        for active in list(self.active.values()):
            self._steer(active, now)

    def _lived(self, definition: Definition, now: datetime) -> Definition:
        """What becomes of it by its file's own words: a first start, an end, another start."""
        running = definition.state is Standing.RUNNING
        active = self.active.get((definition.model, definition.name))
        same = active is not None and active.definition.run == definition.run
        other = active is not None and same and identity(active.definition) != identity(definition)
        if running and (other or not definition.run or definition.started is None or definition.ended is not None):
            after = begun_anew(definition, now)
        elif running and definition.stop is not None and now >= definition.stop:
            after = ended(definition, now, "its time is over")
        elif running and definition.current != in_force(definition):
            after = _with(definition, _since(in_force(definition), now))
        elif definition.state is Standing.STOPPED and definition.started and definition.ended is None:
            after = ended(definition, now, definition.reason)
        else:
            return definition
        self.standings.decide(after)
        if definition.state is not after.state or definition.run != after.run:
            self._journal.changed(definition, after, "started" if running else "stopped", "its file")
        self.in_background(self._write(after))
        return after

    async def _keep_active(self, definition: Definition) -> None:
        name = definition.model, definition.name
        active = self.active.get(name)
        if active is not None and active.definition.run != definition.run:
            self._end(name)
            active = None
        if active is None:
            self.active[name] = await self._begin(definition)
        elif active.definition != definition:
            self._follow(active, definition)

    async def _begin(self, definition: Definition) -> Active:
        if not self.token_key:
            self.token_key = await self._keeper.secret("tokens")
        active = Active(definition, RunEvidence(definition))
        await self.saving.load(active)
        return active

    def _follow(self, active: Active, definition: Definition) -> None:
        if in_force(active.definition).weights != in_force(definition).weights:
            active.windows.clear()
        active.definition = definition
        active.evidence.follow(definition)

    def _end(self, name: Name) -> None:
        """Its run is over, or its file gone: late evidence and outcomes still come in."""
        active = self.active.pop(name, None)
        if active is None:
            return
        standing = self.standings.get(*name)
        if standing is not None and standing.run == active.definition.run:
            active.definition = standing
        self._begun.discard(name)
        self.ended.pop(name, None)
        self.ended[name] = active
        while len(self.ended) > _KEPT_ENDED:
            del self.ended[next(iter(self.ended))]

    def of_hash(self, run_hash: bytes) -> Active | None:
        """The run that a request's token names, if it goes on or has ended not long ago."""
        for active in (*self.active.values(), *self.ended.values()):
            if hash_run(str(active.definition), active.definition.run) == run_hash:
                return active
        return None

    async def recall(self, definition: Definition) -> Active | None:
        """An experiment's current or last run, from the store where need be; None where it has had none."""
        name = definition.model, definition.name
        for active in (self.active.get(name), self.ended.get(name)):
            if active is not None and active.definition.run == definition.run:
                return active
        if not definition.run:
            return None
        return self.ended.setdefault(name, await self._begin(definition))

    def _refresh(self) -> None:
        """Show the tables again where experiments have changed since."""
        if not self._shown and not self.active:
            return
        splits = {name: table.splits for name, table in self._control.tables().items() if table.splits}
        if splits != self._shown:
            self._shown = splits
            self._control.show()

    def _steer(self, active: Active, now: datetime) -> None:
        step = active.next_step(now)
        if step is not None:
            self.decide(active, step, "ramp", "torii", f"step {step.step + 1}")
        if active.busy:
            return
        policy = active.definition.policy
        if policy.kind != "fixed" and time.monotonic() - active.steered_s >= policy.interval_s:
            active.steered_s = time.monotonic()
            self._with_time(active, self._steer_bandit(active))
        elif time.monotonic() - active.looked_s >= _LOOK_S and active.evidence.counters:
            active.looked_s = time.monotonic()
            self._with_time(active, self._look(active))

    async def _steer_bandit(self, active: Active) -> None:
        weights = await asyncio.to_thread(steer, active)
        current = in_force(active.definition)
        if weights is not None and not current.reason and weights != dict(current.weights):
            self.decide(active, active.steered(weights, datetime.now(UTC)), "", "torii")

    async def _look(self, active: Active) -> None:
        await self.analysed(active)
        self.saving.add_looks(active, looks_of(active, datetime.now(UTC)))
        definition = active.definition
        if definition.promote and active.analysis is not None and definition.state is Standing.RUNNING:
            better = [name for name, verdict in active.analysis.verdicts.items() if verdict is Verdict.BETTER]
            if len(better) == 1 and not active.analysis.sample_ratio.alarm:
                await self._promote(definition, better[0], "torii")

    async def analysed(self, active: Active) -> None:
        """Have the statistics look at the evidence now."""
        await asyncio.to_thread(active.analyse, analyse)

    def _with_time(self, active: Active, work: Coroutine[Any, Any, object]) -> None:
        """Do something that may take its time, one at a time for each experiment."""
        active.busy = True

        def free(task: asyncio.Task[object]) -> None:
            active.busy = False

        self.in_background(work).add_done_callback(free)

    async def _write(self, definition: Definition) -> None:
        """Write what was decided into the file, where that does not say as much, or more, already."""
        name = definition.model, definition.name
        try:
            await self.write(definition)
            self._unwritable.pop(name, None)
        except NotAllowed as error:
            if self._unwritable.get(name) != str(error):
                _log.warning(
                    "experiment %s: %s; what was decided counts all the same, in this gateway", definition, error
                )
            self._unwritable[name] = str(error)

    async def write(self, definition: Definition) -> Definition:
        """Have the file say what is kept of a definition; gives what it says then.

        Raises:
            NotAllowed: the file is wrong, or cannot be written.
            ModelNotFound: it is gone.
        """

        def change(text: str, before: Definition) -> str:
            if (before.run, _epoch(before)) > (definition.run, _epoch(definition)):
                return text
            return write_experiment(text, kept(definition), f"{definition.name}.toml")

        written = await asyncio.to_thread(self._files.change, definition.model, definition.name, change)
        self.standings.wrote(written)
        return written

    def unwritable(self, name: Name) -> str:
        """Why an experiment's file does not say what is decided; empty where it does."""
        return self._unwritable.get(name, "")

    def in_background(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        """Do something that nothing waits for, but `close` does."""
        task: asyncio.Task[object] = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[object]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.error("experiments: something went wrong in the background", exc_info=error)

    async def close(self) -> None:
        """Save what there is."""
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self.saving.save([*self.active.values(), *self.ended.values()])
        await self._journal.save()


def _with(definition: Definition, current: Current) -> Definition:
    return msgspec.structs.replace(definition, current=current)


def _since(current: Current, now: datetime) -> Current:
    return msgspec.structs.replace(current, since=now)


def _epoch(definition: Definition) -> int:
    return definition.current.epoch if definition.current else -1
