"""Where rows are measured: the gateway that runs, or for each setting of the hardware one that is started for it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from loadtests.gateways import Gateway, running, started
from loadtests.hardware import Setting, settings
from loadtests.run.subjects import Subject, subjects
from loadtests.scenario import ALL_THERE_IS, AS_SERVED, Scenario

_ALL_OF: Final = "all of "


@dataclass(slots=True)
class Site:
    """One setting of the hardware with its rows; `setting` is None where nothing is set."""

    setting: Setting | None
    subjects: list[Subject] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Sites:
    """Opens gateways as a scenario says."""

    scenario: Scenario
    core: int | None

    @contextmanager
    def open(
        self,
        setting: Setting | None = None,
        *,
        overlay: Mapping[str, Mapping[str, Any]] | None = None,
        held_back: Sequence[str] = (),
        wait: bool = True,
    ) -> Iterator[Gateway]:
        """A gateway for as long as it is needed; raises NoGateway."""
        table = self.scenario.gateway
        if table.repository is None:
            yield running(table.url, table.control, table.grpc_port)
            return
        names = models(self.scenario)
        keys = {name: {**table.model, **_keys(setting), **(overlay or {}).get(name, {})} for name in names}
        python = setting.python if setting else None
        with started(
            table.repository, keys, python, table.settings, self.core, names, held_back=held_back, wait=wait
        ) as gateway:
            yield gateway

    @property
    def repository(self) -> Path | None:
        """Where the golden data is."""
        return self.scenario.gateway.repository


def models(scenario: Scenario) -> list[str]:
    """The models that a gateway is started over."""
    if scenario.gateway.models:
        return list(scenario.gateway.models)
    return sorted({re.split("[/@]", name.removeprefix(_ALL_OF))[0] for name in asked(scenario)})


def asked(scenario: Scenario) -> tuple[str, ...]:
    """Deployments as the scenario names them."""
    return (scenario.deployments,) if isinstance(scenario.deployments, str) else scenario.deployments


def resolved(scenario: Scenario, status: Mapping[str, Any]) -> list[str]:
    """The names of the deployments: all of a model or version that are ready or failed, where it asks for all."""
    names = asked(scenario)
    if not names[0].startswith(_ALL_OF):
        return list(names)
    wanted = names[0].removeprefix(_ALL_OF)
    return [
        each["deployment"]
        for each in status["deployments"]
        if each["state"] in {"READY", "FAILED"} and wanted in {each["model"], f"{each['model']}/{each['version']}"}
    ]


def sites(scenario: Scenario, deployments: Sequence[str], cores: int | None) -> list[Site]:
    """The settings with their rows, those that cannot be run here too; `cores` are the gateway's (None: all).

    Raises:
        ValueError: a setting is asked for that no backend has, or a deployment names no backend, which a setting needs.
    """
    if scenario.hardware == AS_SERVED:
        return [Site(None, subjects(scenario, deployments, AS_SERVED, dict(scenario.gateway.model)))]
    if unpinned := [name for name in deployments if "@" not in name]:
        raise ValueError(f"deployments: expected MODEL[/VERSION]@BACKEND where hardware is set; got {unpinned[0]!r}")
    found: list[Site] = []
    backends = sorted({name.partition("@")[2] for name in deployments})
    offered = {backend: settings(backend, cores) for backend in backends}
    _check_names(scenario.hardware, {setting.name for each in offered.values() for setting in each})
    for backend in backends:
        mine = [name for name in deployments if name.partition("@")[2] == backend]
        for setting in offered[backend]:
            if scenario.hardware == ALL_THERE_IS or setting.name in scenario.hardware:
                site = Site(setting, subjects(scenario, mine, setting.name, _keys(setting)))
                for subject in site.subjects:
                    if setting.missing:
                        subject.status, subject.why = "not run", setting.missing
                found.append(site)
    return found


def _check_names(wanted: str | Sequence[str], known: Collection[str]) -> None:
    if wanted != ALL_THERE_IS and (unknown := [name for name in wanted if name not in known]):
        raise ValueError(f"hardware: {unknown[0]!r}: expected some of {', '.join(sorted(known))}")


def _keys(setting: Setting | None) -> dict[str, Any]:
    """What model.toml gets: the one backend, and what is set for it."""
    if setting is None:
        return {}
    options = {"backend": {setting.backend.partition("-")[0]: dict(setting.options)}} if setting.options else {}
    return {"backends": [setting.backend], **options}
