"""What may be asked of experiments by name, as the control API, the pages and the command line ask it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gateway.experiments.definition import Definition
from gateway.experiments.report import Event, Look, Outcome, Receipt, Tally, View


class ExperimentDesk(Protocol):
    """`who` is for the record: the caller's own word. Once a change returns, requests go by it.

    All raise ModelNotFound where there is no such model or experiment; changes raise InvalidInput for what is not of
    its form, Conflict where the experiment does not stand so, NotAllowed where its file is wrong or cannot be written,
    and BackendUnavailable where the repository cannot be read.
    """

    def definitions(self, model: str | None = None) -> list[Definition]:
        """Every experiment, of all models or of one, in order of name."""
        ...

    def definition(self, model: str, name: str) -> Definition:
        """One experiment."""
        ...

    def problems(self, model: str | None = None) -> list[str]:
        """Mistakes in experiments' files, each with its file and key, and what became of it."""
        ...

    async def create(self, model: str, name: str, document: Mapping[str, Any], who: str) -> Definition:
        """Write a new experiment's file; `document` is as the file would say it. Conflict: it is there already."""
        ...

    async def start(self, model: str, name: str, who: str) -> Definition:
        """Begin a run. Conflict: it runs; it is over the same traffic as another; VersionNotReady: a variant is not."""
        ...

    async def set(self, model: str, name: str, changes: Mapping[str, Any], who: str) -> Definition:
        """Change keys of the file: `{"weights": {"a": 90, "b": 10}}`, `{"overrides": true}`, …"""
        ...

    async def stop(self, model: str, name: str, who: str, reason: str = "") -> Definition:
        """End the run: its traffic goes where it went without it. Conflict: it does not run."""
        ...

    async def promote(self, model: str, name: str, variant: str, who: str) -> Definition:
        """End the run, if it still is one, and have the experiment's label (`stable`) name the variant's version."""
        ...

    async def remove(self, model: str, name: str, who: str) -> None:
        """Delete its file; Conflict: it runs. Evidence and events stay until their time is over."""
        ...

    async def view(self, model: str, name: str) -> View:
        """How it stands now."""
        ...

    def tallies(self) -> Mapping[tuple[str, str, str], Tally]:
        """Of every running experiment, by model, experiment and variant."""
        ...

    async def looks(self, model: str, name: str) -> list[Look]:
        """The current run's looks, oldest first."""
        ...

    async def events(self, model: str | None = None, name: str | None = None, limit: int = 100) -> list[Event]:
        """What was changed, newest first."""
        ...

    async def report(self, outcomes: Sequence[Outcome], who: str) -> Receipt:
        """Take outcomes."""
        ...
