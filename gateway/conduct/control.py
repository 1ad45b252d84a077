"""Experiments by name: created, started, changed, stopped, promoted; and what there is to say of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import msgspec

from gateway.conduct.conductor import Conductor
from gateway.conduct.effective import apart, begun_anew, changed, ended, identity, in_force, ramped
from gateway.conduct.files import ExperimentFiles
from gateway.conduct.journal import Journal
from gateway.conduct.keeper import Keeper
from gateway.conduct.outcomes import Outcomes
from gateway.conduct.promotion import Promotion
from gateway.conduct.standings import KEPT_FIELDS
from gateway.conduct.views import view
from gateway.controlplane import ControlPlane
from gateway.errors import Conflict
from gateway.experiments.definition import Definition, Standing
from gateway.experiments.files import change_experiment, kept, new_experiment, read_experiment, write_experiment
from gateway.experiments.report import Event, Look, Outcome, Receipt, View
from gateway.routing import choose

Change: TypeAlias = Callable[[str, Definition], str]

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
        found = [str(each) for each in self._control.snapshot.all_problems() if "/experiments/" in each.where]
        for name, problems in sorted(self._conductor.problems.items()):
            found += problems if model in (None, name) else []
        return found

    async def create(self, model: str, name: str, document: Mapping[str, Any], who: str) -> Definition:
        """See ExperimentDesk."""
        async with self._control.changing():
            self._control.snapshot.entry(model)
            text = new_experiment(document, model, name)
            definition = await asyncio.to_thread(self._files.create, model, name, text)
            self._standings.wrote(definition)
            self._journal.changed(None, definition, "created", who)
        return definition

    async def start(self, model: str, name: str, who: str) -> Definition:
        """See ExperimentDesk."""

        def change(text: str, before: Definition) -> str:
            before = self._standings.with_decisions(before)
            if before.state is Standing.RUNNING:
                raise Conflict(f"experiment {before} runs already, since {before.started}; stop it first")
            self._check_alone(before)
            self._check_ready(before)
            return write_experiment(text, kept(begun_anew(before, datetime.now(UTC))), f"{name}.toml")

        return await self._change(model, name, change, "started", who)

    def _check_alone(self, definition: Definition) -> None:
        for other in self._standings.of(definition.model):
            runs = other.name != definition.name and other.state is Standing.RUNNING
            if runs and not apart(definition.where, other.where):
                raise Conflict(
                    f"experiment {definition}: {other} runs over the same traffic; stop that one, or give both a "
                    "filter with the same header or parameter and different values"
                )

    def _check_ready(self, definition: Definition) -> None:
        tables = self._control.tables()
        for variant in definition.variants:
            choose(variant.target, tables)
        if definition.shadow is not None:
            choose(definition.shadow.target, tables)

    async def set(self, model: str, name: str, changes: Mapping[str, Any], who: str) -> Definition:
        """See ExperimentDesk."""

        def change(text: str, before: Definition) -> str:
            before = self._standings.with_decisions(before)
            written = change_experiment(text, changes, model, name)
            if before.state is not Standing.RUNNING:
                return written
            after = read_experiment(written, model, name, f"{name}.toml")
            if identity(after) != identity(before):
                raise Conflict(f"experiment {before} runs: what is compared can be changed after a stop only")
            self._check_ready(after)
            return write_experiment(written, kept(_reweighted(before, after, "weights" in changes)), f"{name}.toml")

        return await self._change(model, name, change, "changed", who)

    async def stop(self, model: str, name: str, who: str, reason: str = "") -> Definition:
        """See ExperimentDesk."""

        def change(text: str, before: Definition) -> str:
            before = self._standings.with_decisions(before)
            if before.state is not Standing.RUNNING:
                raise Conflict(f"experiment {before} does not run: it is {before.state}; start begins a new run")
            return write_experiment(text, kept(ended(before, datetime.now(UTC), reason)), f"{name}.toml")

        return await self._change(model, name, change, "stopped", who, reason)

    async def promote(self, model: str, name: str, variant: str, who: str) -> Definition:
        """See ExperimentDesk."""
        return await self.promote_by(self._standings.find(model, name), variant, who)

    async def promote_by(self, definition: Definition, variant: str, who: str) -> Definition:
        """Promote a variant of a definition that counts."""
        model, name = definition.model, definition.name
        if definition.state is Standing.DRAFT:
            raise Conflict(f"experiment {definition} has never run; start it first, or move the label by hand")
        reason = await self._promotion.promote(definition, variant)

        def change(text: str, before: Definition) -> str:
            after = ended(self._standings.with_decisions(before), datetime.now(UTC), reason, variant)
            return write_experiment(text, kept(after), f"{name}.toml")

        return await self._change(model, name, change, "promoted", who, reason)

    async def remove(self, model: str, name: str, who: str) -> None:
        """See ExperimentDesk."""
        async with self._control.changing():
            definition = self._standings.find(model, name)
            if definition.state is Standing.RUNNING:
                raise Conflict(f"experiment {definition} runs; stop it first")
            await asyncio.to_thread(self._files.remove, model, name)
            self._standings.removed(model, name)
            self._journal.changed(definition, None, "removed", who)

    async def _change(
        self, model: str, name: str, change: Change, action: str, who: str, reason: str = ""
    ) -> Definition:
        async with self._control.changing():
            before = self._standings.find(model, name)
            after = await asyncio.to_thread(self._files.change, model, name, change)
            self._standings.wrote(after)
            self._journal.changed(before, after, action, who, reason)
        await self._conductor.tick()
        await self._control.until(lambda: True)
        return self._standings.find(model, name)

    async def view(self, model: str, name: str) -> View:
        """See ExperimentDesk."""
        definition = self._standings.find(model, name)
        active = await self._conductor.recall(definition)
        if active is not None and active.stale(_FRESH_S):
            await self._conductor.analysed(active)
        problems = [each for each in self.problems(model) if f"/{name}:" in each or f"/{name}.toml" in each]
        problems += filter(None, [self._conductor.unwritable((model, name))])
        if self._keeper.problem:
            problems.append(f"{self._keeper.problem}; requests go on, and evidence is kept in memory meanwhile")
        return view(definition, active, self._control.tables().get(model), problems)

    async def looks(self, model: str, name: str) -> list[Look]:
        """See ExperimentDesk."""
        active = await self._conductor.recall(self._standings.find(model, name))
        return [] if active is None else await self._conductor.saving.looks(active)

    async def events(self, model: str | None = None, name: str | None = None, limit: int = 100) -> list[Event]:
        """See ExperimentDesk."""
        return await self._journal.events(model, name, limit)

    async def report(self, outcomes: Sequence[Outcome], who: str) -> Receipt:
        """See ExperimentDesk."""
        return await self._outcomes.report(outcomes)


def _reweighted(before: Definition, after: Definition, asked: bool) -> Definition:
    """A running experiment after a change: with new weights, where they were `asked` for or have become others."""
    current = in_force(before)
    declared = {each.name: each.weight for each in after.variants}
    if not asked and dict(current.declared) == declared and before.ramp == after.ramp:
        return msgspec.structs.replace(after, **{name: getattr(before, name) for name in KEPT_FIELDS})
    step = min(current.step, len(after.ramp.steps) - 1) if after.ramp else 0
    weights = ramped(after, after.ramp.steps[step]) if after.ramp else declared
    now = datetime.now(UTC)
    kept_before = {name: getattr(before, name) for name in KEPT_FIELDS}
    kept_before["current"] = changed(current, declared, weights, since=now, step=step)
    return msgspec.structs.replace(after, **kept_before)
