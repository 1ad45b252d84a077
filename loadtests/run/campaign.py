"""A scenario from its beginning to its result: rows in turns, rounds rotated, and all that was measured kept."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from loadtests.gateways import Gateway, NoGateway
from loadtests.generator import GeneratorFailed
from loadtests.hardware import fingerprint
from loadtests.hardware.machine import usable_cores
from loadtests.results.schema import SCHEMA, Figure, Result
from loadtests.run import cold_start, incidents, loads, mlperf, portable
from loadtests.run.cold_start import ColdStarts, cold_figures
from loadtests.run.marks import CUT_SHORT, of_all
from loadtests.run.measuring import CutShort
from loadtests.run.probing import Prober
from loadtests.run.session import Kind, Session, Turn
from loadtests.run.sites import Site, Sites, resolved, sites
from loadtests.run.source import revision
from loadtests.run.subjects import Subject
from loadtests.run.turns import turns
from loadtests.scenario import ColdStart, Scenario

_KINDS: Final[Mapping[str, Any]] = {
    "single-stream": mlperf.Streams,
    "multi-stream": mlperf.Streams,
    "server": mlperf.ServerKind,
    "offline": mlperf.OfflineKind,
    "load": loads.LoadKind,
    "frameworks": loads.FrameworksKind,
    "ab-split": incidents.AbSplitKind,
    "rolling-update": incidents.RollingUpdateKind,
    "overload": incidents.OverloadKind,
}


@dataclass(slots=True)
class Campaign:
    """One run of a scenario."""

    session: Session
    gateway_core: int | None = None
    digests: dict[str, dict[str, str]] = field(default_factory=dict)
    sites: list[Site] = field(default_factory=list)
    cut: str = ""
    """Why it ended before its end."""

    def run(self) -> None:
        """Measure all; Ctrl-C ends it, and leaves what was measured so far.

        Raises:
            NoGateway: there is none to begin with.
            ValueError: the scenario does not fit what the gateway serves.
        """
        try:
            if isinstance(self.scenario, ColdStart):
                self._cold_starts(self.scenario)
            else:
                self._turns(_KINDS[self.scenario.kind](self.scenario))
        except (KeyboardInterrupt, CutShort):
            self.cut = f"{CUT_SHORT}: ended by Ctrl-C or SIGTERM; what was measured so far is here"

    @property
    def scenario(self) -> Scenario:
        """What is measured."""
        return self.session.scenario

    def _turns(self, kind: Kind) -> None:
        open_sites, prober = Sites(self.scenario, self.gateway_core), self._prober()
        with ExitStack() as kept:
            first: Gateway | None = None
            if not kind.held_back():
                first = kept.enter_context(open_sites.open())
                self._discover(first)
            else:
                self.sites = self._sites(list(self.scenario.deployments))
            alone = len(self.sites) == 1 and first is not None
            if not alone:
                kept.close()
            for number, site in turns(self.sites, self.scenario.rounds):
                if all(each.status != "measured" for each in site.subjects):
                    continue
                if alone and first is not None:
                    self._round(kind, first, site, number, prober)
                    continue
                with ExitStack() as once:
                    if gateway := self._opened(once, open_sites, site, kind):
                        self._round(kind, gateway, site, number, prober)
                        with suppress(NoGateway):
                            self._remember(gateway)  # what has been published meanwhile, too

    def _opened(self, once: ExitStack, open_sites: Sites, site: Site, kind: Kind) -> Gateway | None:
        """A gateway for a site's round; where it does not start, the site's rows have failed."""
        try:
            gateway = once.enter_context(open_sites.open(site.setting, held_back=kind.held_back()))
            self._remember(gateway)
        except NoGateway as error:
            for each in site.subjects:
                each.fail(str(error))
            return None
        return gateway

    def _round(self, kind: Kind, gateway: Gateway, site: Site, number: int, prober: Prober) -> None:
        first = (number - 1) % len(site.subjects)
        for subject in (*site.subjects[first:], *site.subjects[:first]):
            if subject.status != "measured":
                continue
            if why := self._wrong(gateway, subject, prober):
                subject.fail(why if not subject.runs else f"round {number}: {why}")
                self.session.show.say(f"{subject} failed: {subject.why}")
                continue
            try:
                kind.turn(Turn(self.session, gateway, subject, number))
            except (GeneratorFailed, NoGateway, ValueError, OSError) as error:  # the other rows go on
                subject.fail(str(error))
                self.session.show.say(f"{subject} failed: {error}")

    def _wrong(self, gateway: Gateway, subject: Subject, prober: Prober) -> str:
        """What speaks against measuring it; empty where nothing does."""
        return prober.check(gateway, subject)

    def _cold_starts(self, scenario: ColdStart) -> None:
        open_sites, prober = Sites(scenario, self.gateway_core), self._prober()
        with open_sites.open() as gateway:
            self._discover(gateway)
            found = [each for site in self.sites for each in site.subjects if each.status == "measured"]
            for subject in found:
                cold_start.parts(subject.deployment)
                if why := self._wrong(gateway, subject, prober):
                    subject.fail(why)
        starts = ColdStarts(open_sites.open, prober.check, self.session.show)
        for number, subject in turns(found, scenario.times):
            if subject.status == "measured":
                try:
                    starts.turn(subject, number)
                except (NoGateway, OSError) as error:
                    subject.fail(str(error))

    def _prober(self) -> Prober:
        scenario = self.scenario
        return Prober(scenario.payload, scenario.tolerance, scenario.timeout_s, scenario.gateway.repository)

    def _discover(self, gateway: Gateway) -> None:
        status = self._remember(gateway)
        names = resolved(self.scenario, status)
        if not names:
            there = ", ".join(each["deployment"] for each in status["deployments"]) or "none"
            raise ValueError(
                f"deployments: {self.scenario.deployments!r}: nothing is ready there; deployments: {there}"
            )
        self.sites = self._sites(names)
        if not self.sites:
            raise ValueError(f"hardware: no backend here has {self.scenario.hardware!r}; see `torii loadtest machine`")
        states = {each["deployment"]: each for each in status["deployments"]}
        for each in (each for site in self.sites for each in site.subjects):
            state = states.get(each.deployment)
            if state and state["state"] != "READY":
                each.fail(f"{state['state']}: {state['reason']}")

    def _sites(self, names: list[str]) -> list[Site]:
        bound = 1 if self.gateway_core is not None else None
        found = sites(self.scenario, names, bound)
        for each in (each for site in found for each in site.subjects):
            each.cores = bound or usable_cores()
        return found

    def _remember(self, gateway: Gateway) -> dict[str, Any]:
        """Digests of everything that is served."""
        status = gateway.status()
        for each in status["deployments"]:
            self.digests.setdefault(f"{each['model']}/{each['version']}", {})[each["backend"]] = each["digest"]
        return status

    def result(self) -> Result:
        """All that was measured."""
        rows = [each.row(self._figures(each)) for each in self._subjects()]
        runs = [run for row in rows for run in row.runs]
        return Result(
            schema=SCHEMA,
            name=self.scenario.name,
            kind=self.scenario.kind,
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            command=portable.command(sys.argv[1:]),
            scenario=portable.value(self.scenario.model_dump(mode="json")),
            git=revision(),
            models={name: digests for name, digests in sorted(self.digests.items()) if self._names(name)},
            machine=fingerprint(self._pythons()),
            rows=tuple(rows),
            marks=((self.cut,) if self.cut else ()) + of_all(runs),
        )

    def _subjects(self) -> Iterator[Subject]:
        for site in self.sites:
            yield from site.subjects

    def _names(self, version: str) -> bool:
        model = version.partition("/")[0]
        return any(each.deployment.partition("@")[0] in {model, version} for each in self._subjects())

    def _pythons(self) -> list[Path]:
        return sorted({site.setting.python for site in self.sites if site.setting and site.setting.python})

    def _figures(self, subject: Subject) -> list[Figure]:
        if not subject.runs:
            return []
        if isinstance(self.scenario, ColdStart):
            return cold_figures(subject)
        kind: Kind = _KINDS[self.scenario.kind](self.scenario)
        return kind.figures(subject)


def cores(scenario: Scenario) -> tuple[int | None, int | None]:
    """(gateway's, generator's): one each where a gateway is started and nothing else is said; None binds nothing.

    Raises:
        ValueError: the scenario names a core that this process may not use.
    """
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    bound = len(usable) >= 2 and scenario.gateway.repository is not None and scenario.hardware == "as served"
    gateway, generator = (usable[0], usable[1]) if bound else (None, None)
    return (
        _core("gateway", scenario.cores.gateway, gateway, usable),
        _core("generator", scenario.cores.generator, generator, usable),
    )


def _core(name: str, given: int | None, default: int | None, usable: Sequence[int]) -> int | None:
    if given is None:
        return default
    if given == -1:
        return None
    if given not in usable:
        there = ", ".join(map(str, usable)) or "none"
        raise ValueError(f"cores.{name}: expected one that can be used here ({there}), or -1 for any; got {given}")
    return given
