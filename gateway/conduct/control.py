"""Experiments by name: created, started, changed, stopped, promoted; and what there is to say of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import msgspec

from gateway.conduct.conductor import Conductor
from gateway.conduct.effective import APART, apart
from gateway.conduct.files import ExperimentFiles, where
from gateway.conduct.journal import Journal
from gateway.conduct.keeper import Keeper
from gateway.conduct.outcomes import Outcomes
from gateway.conduct.promotion import Promotion
from gateway.conduct.runs import begun_anew, ended, identity
from gateway.conduct.standings import with_kept
from gateway.conduct.views import tally, view
from gateway.conduct.weights import follows, in_force, reweighted, with_current
from gateway.controlplane import ControlPlane
from gateway.errors import Conflict, NotAllowed
from gateway.experiments.definition import Definition, Standing
from gateway.experiments.files import change_experiment, kept, new_experiment, read_experiment, write_experiment
from gateway.experiments.report import Event, Look, Outcome, Receipt, Tally, View
from gateway.routing import choose

Change: TypeAlias = Callable[[str, Definition], str]
"""From a file's text, and what it says together with what was decided since, to another text."""

_FRESH_S: Final = 1.0


class ExperimentControl:
    """An ExperimentDesk: see there."""

    def __init__(
        self,
        control: ControlPlane,
        conductor: Conductor,
        files: ExperimentFiles,
        journal: Journal,
        keeper: Keeper,
        outcomes: Outcomes,
        promotion: Promotion,
    ) -> None:
        self._control = control
        self._conductor = conductor
        self._files = files
        self._journal = journal
        self._keeper = keeper
        self._outcomes = outcomes
        self._promotion = promotion
        self._standings = conductor.standings

    def definitions(self, model: str | None = None) -> list[Definition]:
        """See ExperimentDesk."""
        return list(self._standings.all() if model is None else self._standings.of(model))

    def definition(self, model: str, name: str) -> Definition:
        """See ExperimentDesk."""
        return self._standings.find(model, name)

    def problems(self, model: str | None = None) -> list[str]:
        """See ExperimentDesk."""
        folder = "/experiments/"
        wrong = {where(*name) for name in self._standings.wrong}
        found = [
            f"{each}; it goes on as it was" if each.where in wrong else str(each)
            for each in self._control.snapshot.all_problems()
            if folder in each.where and model in (None, each.where.partition(folder)[0])
        ]
        for definition in self.definitions(model):
            found += self._conductor.problems((definition.model, definition.name))
        return found

    async def create(self, model: str, name: str, document: Mapping[str, Any], who: str) -> Definition:
        """See ExperimentDesk."""
        async with self._control.changing():
            self._control.snapshot.entry(model)
            text = new_experiment(document, model, name)
            definition = await asyncio.to_thread(self._files.create, model, name, text)
            self._standings.expect((model, name), definition)
            self._journal.changed(None, definition, "created", who)
        self._conductor.tick()
        return definition

    async def start(self, model: str, name: str, who: str) -> Definition:
        """See ExperimentDesk."""

        def change(text: str, before: Definition) -> str:
            now = datetime.now(UTC)
            if before.state is Standing.RUNNING:
                raise Conflict(f"experiment {before} runs already, since {before.started}; stop it first")
            if before.stop is not None and before.stop <= now:
                raise Conflict(f"experiment {before}: its stop = {before.stop.isoformat()} is over; set a later one")
            self._check_alone(before)
            self._check_ready(before)
            return _rewritten(text, begun_anew(before, now, self._standings.last_run((model, name))))

        await self._conductor.keys.agree()  # so that the first requests' ids outlast this process
        return await self._change(model, name, change, "started", who)

    def _check_alone(self, definition: Definition) -> None:
        for other in self._standings.of(definition.model):
            runs = other.name != definition.name and other.state is Standing.RUNNING
            if runs and not apart(definition.where, other.where):
                raise Conflict(f"experiment {definition}: {other} runs over the same traffic; {APART}")

    def _check_ready(self, definition: Definition) -> None:
        tables = self._control.tables()
        for variant in definition.variants:
            choose(variant.target, tables)
        if definition.shadow is not None:
            choose(definition.shadow.target, tables)

    async def set(self, model: str, name: str, changes: Mapping[str, Any], who: str) -> Definition:
        """See ExperimentDesk."""

        def change(text: str, before: Definition) -> str:
            written = change_experiment(text, changes, model, name)
            if before.state is not Standing.RUNNING:
                return written
            after = with_kept(read_experiment(written, model, name, where(model, name)), before)
            if identity(after) != identity(before):
                raise Conflict(f"experiment {before} runs: what is compared can be changed after a stop only")
            if after.where != before.where:
                self._check_alone(after)
            if after.shadow is not None and after.shadow != before.shadow:
                choose(after.shadow.target, self._control.tables())
            return _rewritten(written, _reweighted(before, after, asked="weights" in changes))

        return await self._change(model, name, change, "changed", who)

    async def stop(self, model: str, name: str, who: str, reason: str = "") -> Definition:
        """See ExperimentDesk."""

        def change(text: str, before: Definition) -> str:
            if before.state is not Standing.RUNNING:
                raise Conflict(f"experiment {before} does not run: it is {before.state}; start begins a new run")
            return _rewritten(text, ended(before, datetime.now(UTC), reason))

        return await self._change(model, name, change, "stopped", who, reason)

    async def promote(self, model: str, name: str, variant: str, who: str) -> Definition:
        """See ExperimentDesk."""
        return await self.promote_by(self._standings.find(model, name), variant, who)

    async def promote_by(self, definition: Definition, variant: str, who: str) -> Definition:
        """Promote a variant of a definition that counts."""
        model, name = definition.model, definition.name
        if definition.state is Standing.DRAFT:
            raise Conflict(f"experiment {definition} has never run; start it first, or move the label by hand")
        done = await self._promotion.promote(definition, variant, who)

        def change(text: str, before: Definition) -> str:
            return _rewritten(text, ended(before, datetime.now(UTC), done, variant))

        try:
            return await self._change(model, name, change, "promoted", who, done)
        except NotAllowed as error:
            raise NotAllowed(f"{done}; but experiment {definition} could not be ended: {error}") from None

    async def remove(self, model: str, name: str, who: str) -> None:
        """See ExperimentDesk."""
        async with self._control.changing():
            definition = self._standings.get(model, name)
            if definition is not None and definition.state is Standing.RUNNING:
                raise Conflict(f"experiment {definition} runs; stop it first")
            await asyncio.to_thread(self._files.remove, model, name)
            if definition is not None:  # else its file was wrong from the beginning
                self._standings.expect((model, name), None)
                self._journal.changed(definition, None, "removed", who)
        self._conductor.tick()

    async def _change(
        self, model: str, name: str, change: Change, action: str, who: str, reason: str = ""
    ) -> Definition:
        def with_decisions(text: str, file: Definition) -> str:
            return change(text, self._standings.with_decisions(file))

        async with self._control.changing():
            before = self._standings.get(model, name)
            after = await asyncio.to_thread(self._files.change, model, name, with_decisions)
            self._standings.expect((model, name), after)
            self._journal.changed(before, after, action, who, reason)
        self._conductor.tick()
        await self._control.until(lambda: True)
        return self._standings.find(model, name)

    async def view(self, model: str, name: str) -> View:
        """See ExperimentDesk."""
        definition = self._standings.find(model, name)
        active = self._conductor.recall(definition)
        if active is not None:
            await self._conductor.looking.viewed(active, _FRESH_S)
        problems = self._problems_of(definition)
        if active is not None and not active.evidence.loaded:
            problems.append("what the store holds of this run is not read yet: numbers are of this process alone")
        return view(definition, active, self._control.tables().get(model), problems)

    def _problems_of(self, definition: Definition) -> list[str]:
        name = definition.model, definition.name
        file = where(*name)
        wrong = [each for each in self._control.snapshot.all_problems() if each.where == file]
        found = [f"{each}; it goes on as it was" for each in wrong] + self._conductor.problems(name)
        if self._keeper.problem:
            found.append(f"{self._keeper.problem}; requests go on, and evidence is kept in memory meanwhile")
        return found

    def tallies(self) -> Mapping[tuple[str, str, str], Tally]:
        """See ExperimentDesk."""
        return {
            (*name, each.name): tally(each.name, active)
            for name, active in self._conductor.roster.active.items()
            for each in active.definition.variants
        }

    async def looks(self, model: str, name: str) -> list[Look]:
        """See ExperimentDesk."""
        active = self._conductor.recall(self._standings.find(model, name))
        return [] if active is None else await self._conductor.saving.looks(active)

    async def events(self, model: str | None = None, name: str | None = None, limit: int = 100) -> list[Event]:
        """See ExperimentDesk."""
        return await self._journal.events(model, name, limit)

    async def report(self, outcomes: Sequence[Outcome], who: str) -> Receipt:
        """See ExperimentDesk."""
        return await self._outcomes.report(outcomes)


def _rewritten(text: str, definition: Definition) -> str:
    return write_experiment(text, kept(definition), where(definition.model, definition.name))


def _reweighted(before: Definition, after: Definition, asked: bool) -> Definition:
    """A running experiment after a change: with new weights, where they were `asked` for or have become others."""
    current = reweighted(after, in_force(before)) if asked else follows(after, before)
    if current == after.current:
        return after
    return with_current(after, msgspec.structs.replace(current, since=datetime.now(UTC)))
