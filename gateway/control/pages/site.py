"""What every page is made from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from adapters.errors import ServingError
from gateway.conduct.desk import ExperimentDesk
from gateway.control.certificates import Certificates
from gateway.control.pages.rendering import Renderer
from gateway.control.pages.traffic import Pace, Traffic, TrafficWatch
from gateway.control.status import DeploymentStatus, Status, status
from gateway.control.verdict_form import Verdict
from gateway.control.verdicts import Verdicts
from gateway.controlplane import ControlPlane
from gateway.edge.desk import EdgeDesk
from gateway.errors import ModelNotFound
from gateway.experiments.definition import Definition, Standing
from gateway.experiments.report import Event, View
from gateway.front import Front
from gateway.labels import Labels
from gateway.types import Deployment, State

_VIEWS: Final = 50


@dataclass(frozen=True, slots=True)
class DeploymentRow:
    """One deployment, with the labels of its version and what it does."""

    status: DeploymentStatus
    labels: tuple[str, ...]
    pace: Pace | None


@dataclass(frozen=True, slots=True)
class ModelRows:
    """A model and its deployments; `labels` that name versions."""

    name: str
    labels: Mapping[str, int]
    deployments: Sequence[DeploymentRow]

    @property
    def ready(self) -> list[str]:
        """The deployments that answer, by name."""
        return [each.status.deployment for each in self.deployments if each.status.state is State.READY]

    @property
    def ready_versions(self) -> list[int]:
        """The versions that answer, newest first."""
        ready = {each.status.version for each in self.deployments if each.status.state is State.READY}
        return sorted(ready, reverse=True)


@dataclass(frozen=True, slots=True)
class ExperimentRow:
    """An experiment in a list; `view` is None where it does not run, or where `problem` says why there is none."""

    definition: Definition
    view: View | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """Who is asked for what the pages show.

    `desk` is None where this gateway conducts no experiments, `edge` where it delivers nothing to devices,
    `kept_verdicts` where it keeps none.
    """

    control: ControlPlane
    front: Front
    labels: Labels
    desk: ExperimentDesk | None
    inference_url: Callable[[], str]
    renderer: Renderer
    traffic: TrafficWatch
    certificates: Certificates
    edge: EdgeDesk | None = None
    kept_verdicts: Verdicts | None = None

    async def verdicts(self, model: str) -> tuple[list[Verdict], str]:
        """The latest on each of its versions; and why they cannot be told, where they cannot."""
        if self.kept_verdicts is None:
            return [], ""
        try:
            return await self.kept_verdicts.of_model(model), ""
        except ServingError as error:
            return [], str(error)

    async def status(self) -> tuple[Status, Traffic]:
        """The state of everything, and what the deployments do."""
        traffic, standings = await asyncio.gather(self.traffic.look(), self.front.standings())
        return await asyncio.to_thread(status, self.control, self.front.ready, standings), traffic

    def models(self, found: Status, traffic: Traffic) -> list[ModelRows]:
        """The models in order of name, those without a deployment too."""
        deployments: dict[str, list[DeploymentStatus]] = {}
        for each in found.deployments:
            deployments.setdefault(each.model, []).append(each)
        return [
            ModelRows(name, table.labels, [_row(each, table.labels, traffic) for each in deployments.get(name, [])])
            for name, table in sorted(self.control.tables().items())
        ]

    async def experiments(self, model: str | None = None, running_only: bool = False) -> list[ExperimentRow]:
        """The experiments; those that run with how they stand."""
        found = [each for each in self._definitions(model) if each.state is Standing.RUNNING or not running_only]
        viewed = [each for each in found if each.state is Standing.RUNNING][:_VIEWS]
        views = dict(zip(map(str, viewed), await asyncio.gather(*map(self._view, viewed)), strict=True))
        return [views.get(str(each)) or ExperimentRow(each) for each in found]

    def _definitions(self, model: str | None) -> list[Definition]:
        try:
            return self.desk.definitions(model) if self.desk else []
        except ModelNotFound:  # it may be served all the same: an upload
            return []

    async def _view(self, definition: Definition) -> ExperimentRow:
        assert self.desk is not None
        try:
            return ExperimentRow(definition, await self.desk.view(definition.model, definition.name))
        except ServingError as error:
            return ExperimentRow(definition, problem=str(error))

    async def events(
        self, model: str | None = None, name: str | None = None, limit: int = 100
    ) -> tuple[list[Event], str]:
        """What was changed, newest first; and why it cannot be told, where it cannot."""
        if self.desk is None:
            return [], ""
        try:
            return await self.desk.events(model, name, limit), ""
        except ServingError as error:
            return [], str(error)

    def problems(self, found: Status, model: str | None = None) -> list[str]:
        """Mistakes in the repository, or in one model's folder, and in experiments' files; each once."""
        own = [each for each in found.problems if model is None or each.startswith((f"{model}/", f"{model}:"))]
        return list(dict.fromkeys([*own, *self.experiment_problems(model)]))

    def experiment_problems(self, model: str | None = None) -> list[str]:
        """Mistakes in experiments' files."""
        try:
            return self.desk.problems(model) if self.desk else []
        except ModelNotFound:
            return []


def _row(status: DeploymentStatus, labels: Mapping[str, int], traffic: Traffic) -> DeploymentRow:
    named = tuple(sorted(label for label, version in labels.items() if version == status.version))
    return DeploymentRow(status, named, traffic.paces.get(Deployment.parse(status.deployment)))
