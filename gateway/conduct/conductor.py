"""Has running experiments go on: takes in evidence, watches guardrails, moves weights, and sees that all is kept."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from gateway.conduct.active import Active
from gateway.conduct.background import Background
from gateway.conduct.effective import effective, in_time, split
from gateway.conduct.files import ExperimentFiles
from gateway.conduct.journal import Journal
from gateway.conduct.keeper import Keeper
from gateway.conduct.keys import TokenKeys
from gateway.conduct.looking import Looking, Promote
from gateway.conduct.roster import Roster
from gateway.conduct.runs import begun_anew, ended, lived
from gateway.conduct.saving import Saving
from gateway.conduct.standings import Name, Standings
from gateway.conduct.weights import in_force, with_current, without
from gateway.conduct.writing import Writing
from gateway.controlplane import ControlPlane
from gateway.experiments.definition import Current, Definition, Standing
from gateway.experiments.guardrails import exceeds
from gateway.experiments.recording import Increment
from gateway.types import ModelTable, TrafficSplit

_log = logging.getLogger(__name__)

_TICK_S: Final = 0.25
_SAVE_S: Final = 0.5
_CLOSING_S: Final = 5.0


class Conductor:
    """One for each control process."""

    def __init__(self, keeper: Keeper, journal: Journal) -> None:
        self.standings = Standings()
        self.roster = Roster()
        self.background = Background()
        self.saving = Saving(keeper)
        self.writing = Writing(self.background)
        self.looking = Looking(self.saving, self.background, self.decide)
        self.keys = TokenKeys(keeper)
        self._journal = journal
        self._waits: dict[Name, str] = {}
        self._begun: set[Name] = set()
        self._shown: dict[str, tuple[TrafficSplit, ...]] = {}
        self._looked = False
        self._prepared = False
        self._saved_s = 0.0
        self._save: asyncio.Task[object] | None = None
        self._control: ControlPlane

    def join(self, control: ControlPlane, files: ExperimentFiles, promote: Promote) -> None:
        """Say what it works on; `promote` is asked where an experiment promotes by itself."""
        self._control = control
        self.writing.join(files)
        self.looking.join(promote)
        control.split_by(self.split)

    def split(self, table: ModelTable) -> ModelTable:
        """A model's table with its experiments: see ControlPlane.split_by."""
        model = table.name
        definitions = list(self.standings.of(model))
        begun = frozenset(name for of, name in self._begun if of == model)
        taken, problems = effective(definitions, table, datetime.now(UTC), begun)
        self._waits = {name: each for name, each in self._waits.items() if name[0] != model}
        self._waits.update({(model, name): each for name, each in problems.items()})
        self._begun = {each for each in self._begun if each[0] != model} | {(model, each.name) for each in taken}
        active = [each for each in taken if (model, each.name) in self.roster.active]
        splits = tuple(made for each in active if (made := self._split(each)) is not None)
        return ModelTable(model, table.backends, table.labels, table.standings, splits) if splits else table

    def _split(self, definition: Definition) -> TrafficSplit | None:
        try:
            return split(definition, self.keys.current)
        except Exception:  # noqa: BLE001  # tables of all models are made at once, and have to be
            _log.exception("experiment %s: requests cannot go by it", definition)
            return None

    def take(self, increments: Sequence[Increment]) -> None:
        """Add what a frontend has noted, and act at once where a guardrail is broken."""
        for increment in increments:
            active = self.roster.of_increment(increment)
            if active is None:
                continue
            try:
                active.take(increment, time.time(), time.monotonic())
                if active.definition.state is Standing.RUNNING:
                    self._guard(active)
            except Exception:  # noqa: BLE001  # one experiment's trouble must not end all others
                _log.exception("experiment %s: what was noted could not be taken in", active.definition)

    def _guard(self, active: Active) -> None:
        found = active.breached()
        if found is not None:
            self._back_to_control(active, *found)
        elif (reason := active.disagreement()) is not None:
            active.disagreed = True
            definition, shadow = active.definition, active.definition.shadow
            variant = next((each.name for each in definition.variants if shadow and each.target == shadow.target), "")
            if in_force(definition).weights.get(variant):
                self._back_to_control(active, variant, reason)
            else:
                self._journal.changed(definition, definition, "guardrail", "torii", reason)

    def _back_to_control(self, active: Active, variant: str, reason: str) -> None:
        current = without(active.definition, variant, reason, datetime.now(UTC))
        self.decide(active, current, "guardrail", reason)

    def decide(self, active: Active, current: Current, action: str, reason: str) -> None:
        """Have other weights be in force at once, and written as soon as may be; only an action is noted."""
        before = active.definition
        after = with_current(before, current)
        self.standings.decide(after)
        active.follow(after)
        self._control.show()
        if action:
            self._journal.changed(before, after, action, "torii", reason)
        self.writing.soon(after)

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            try:
                self.tick()
            except Exception:  # noqa: BLE001  # the next one may go well
                _log.exception("experiments: a tick failed; it is tried again")
            if time.monotonic() - self._saved_s >= _SAVE_S and (self._save is None or self._save.done()):
                self._saved_s = time.monotonic()
                self._save = self.background.start(self.save(), "saving experiments")
            await asyncio.sleep(_TICK_S)

    async def save(self) -> None:
        """Save what there is to save."""
        runs = list(self.roster.all())
        if runs:
            await self.keys.agree()
        await self.saving.save(runs)
        await self._journal.save()

    def tick(self) -> None:
        """Take in what the files say now, and do what is due; requests go by it then. Waits for nothing."""
        if self._control.scanned.is_set():
            self._look_at_files()
            self._go_on(datetime.now(UTC))

    def _look_at_files(self) -> None:
        for (model, experiment), before, after in self.standings.look(self._control.snapshot):
            if self._looked:
                self._journal.by_hand(model, experiment, before, after)
        self._looked = True

    def _go_on(self, now: datetime) -> None:
        running: set[Name] = set()
        for each in list(self.standings.all()):
            name = each.model, each.name
            try:
                definition = self._lived(each, now)
                if definition.state is Standing.RUNNING:
                    running.add(name)
                    self._keep_active(definition, now)
            except Exception:  # noqa: BLE001  # one experiment's trouble must not end all others
                running.add(name)
                _log.exception("experiment %s: it stays as it is", each)
        for name in self.roster.active.keys() - running:
            self._end(name, now)
        self._refresh()
        for active in list(self.roster.active.values()):
            try:
                self._step(active, now)
            except Exception:  # noqa: BLE001
                _log.exception("experiment %s: its weights stay as they are", active.definition)
        self.writing.go_on()

    def _lived(self, definition: Definition, now: datetime) -> Definition:
        """The definition after what becomes of it by its file's own words."""
        name = definition.model, definition.name
        active = self.roster.active.get(name)
        last_run = self.standings.last_run(name)
        if active is not None and active.evidence.foreign:
            after: Definition | None = begun_anew(definition, now, last_run)
        else:
            after = lived(definition, active.definition if active else None, now, last_run)
        if after is None:
            return definition
        self.standings.decide(after)
        began = definition.run != after.run
        if began or definition.ended != after.ended:
            self._journal.changed(definition, after, "started" if began else "stopped", "its file", after.reason)
        self.writing.soon(after)
        return after

    def _keep_active(self, definition: Definition, now: datetime) -> None:
        name = definition.model, definition.name
        active = self.roster.active.get(name)
        if active is not None and active.definition.run != definition.run:
            self._end(name, now)
            active = None
        if active is None:
            self.roster.begin(definition)
            self._prepare()
        elif active.definition != definition:
            active.follow(definition)

    def _prepare(self) -> None:
        """Have what guardrails compute with be loaded by a thread: at the first increment, all requests would wait."""
        if not self._prepared:
            self._prepared = True
            self.background.start(asyncio.to_thread(exceeds, 1, 1, 0.5), "loading statistics")

    def _end(self, name: Name, now: datetime) -> None:
        """A run is over, or its file gone."""
        before = self.roster.active[name].definition
        standing = self.standings.get(*name)
        if standing is None:
            self.writing.forget(name)
            standing = ended(before, now, "its file is gone")
        elif standing.run != before.run:
            standing = ended(before, now, "another run has begun")
        self._begun.discard(name)
        self.roster.end(name, standing)

    def _refresh(self) -> None:
        """Show the tables again where experiments have changed since."""
        if not self._shown and not self.roster.active:
            return
        splits = {name: table.splits for name, table in self._control.tables().items() if table.splits}
        if splits != self._shown:
            self._shown = splits
            self._control.show()

    def _step(self, active: Active, now: datetime) -> None:
        """Do what is due of a run that requests go by."""
        definition = active.definition
        if (definition.model, definition.name) not in self._begun or not in_time(definition, now):
            return
        step = active.next_step(now)
        if step is not None:
            self.decide(active, step, "ramp", f"step {step.step + 1}")
        self.looking.go_on(active)

    def recall(self, definition: Definition) -> Active | None:
        """An experiment's current or last run; None where it has had none."""
        return self.roster.recall(definition) if definition.run else None

    def problems(self, name: Name) -> list[str]:
        """What keeps an experiment from going on as it should."""
        active = self.roster.of(name)
        found = [self._waits.get(name), self.writing.problems.get(name), active.problem if active else ""]
        return [each for each in found if each]

    async def close(self) -> None:
        """Save what there is."""
        self.writing.go_on()
        await self.background.close(_CLOSING_S)
        await self.save()
