"""What happens to a gateway under load: an experiment that splits, a version that is published, too much of all."""

from __future__ import annotations

import json
import math
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, Final

from loadtests.gateways import Gateway, NoGateway
from loadtests.results.schema import Figure, Run
from loadtests.run import figures
from loadtests.run.bounds import Bounded
from loadtests.run.latencies import failures, lasted, latencies, measured, succeeded
from loadtests.run.measuring import Incident, Note
from loadtests.run.session import Plain, Turn
from loadtests.run.subjects import Subject, named
from loadtests.scenario import AbSplit, Overload, RollingUpdate
from loadtests.statistics import percentile

_PUBLISHED: Final = "published"
_READY: Final = "ready"
_EXPERIMENT: Final = "load-test"
_LOOK_S: Final = 0.05
_LOOKS_S: Final = 120.0
_SETTLED_S: Final = 1.0
"""After a version's becoming ready: so long its first requests count as during."""

_REFUSED: Final = ("status 429", "gRPC 8")


class AbSplitKind(Plain):
    """An experiment over a model's unpinned requests: who answered how many, and how fast."""

    def __init__(self, scenario: AbSplit) -> None:
        self._scenario = scenario
        self._begun: set[tuple[str, str]] = set()

    def turn(self, turn: Turn) -> None:
        """The experiment is begun in the first turn, and runs on."""
        if (where := (turn.gateway.control, turn.subject.deployment)) not in self._begun:
            begin_experiment(turn.gateway, turn.subject.deployment, self._scenario.experiment.shares)
            self._begun.add(where)
        turn.stretch(
            self._scenario.rate, self._scenario.seconds, arrival="poisson", connections=self._scenario.connections
        )

    def figures(self, subject: Subject) -> list[Figure]:
        """Shares seen beside shares set, and percentiles by who answered."""
        slices = [each for run in subject.runs for each in measured(run)]
        all_of_it = succeeded(slices)
        shares = [
            figures.share(f"share of {name}", succeeded(slices, name), all_of_it, note=f"set: {percent:g} %")
            for name, percent in self._scenario.experiment.shares.items()
        ]
        fast = [
            figures.figure(f"p{percent} of {name}", percentile(subject.runs, percent / 100, served_by=name), "ms")
            for name in self._scenario.experiment.shares
            for percent in (50, 99)
        ]
        return [*shares, *fast, *figures.usual(subject.runs)]


class RollingUpdateKind(Plain):
    """A version is published into the repository in the middle of constant traffic."""

    def __init__(self, scenario: RollingUpdate) -> None:
        self._scenario = scenario
        model = str(scenario.deployments[0]).partition("@")[0].partition("/")[0]
        self._version = f"{model}/{scenario.publish}"

    def held_back(self) -> Sequence[str]:
        """The version that comes."""
        return (self._version,)

    def turn(self, turn: Turn) -> None:
        """Published after a third."""
        scenario = self._scenario
        turn.stretch(
            scenario.rate,
            scenario.seconds,
            arrival="poisson",
            connections=scenario.connections,
            incidents=[Incident(scenario.warm_up_s + scenario.seconds / 3, lambda note: self._publish(turn, note))],
        )

    def _publish(self, turn: Turn, note: Note) -> None:
        turn.gateway.publish(self._version)
        note(f"{self._version} {_PUBLISHED}")
        give_up_s = time.monotonic() + _LOOKS_S
        while time.monotonic() < give_up_s:
            states = {each["deployment"]: each for each in turn.gateway.status()["deployments"]}
            ours = [each for name, each in states.items() if name.partition("@")[0] == self._version]
            if ours and all(each["state"] in {"READY", "FAILED"} for each in ours):
                told = ", ".join(f"{each['backend']} {each['state']}" for each in ours)
                note(f"{self._version} {_READY}: {told}")
                return
            time.sleep(_LOOK_S)
        raise NoGateway(f"{self._version} was not ready within {_LOOKS_S:.0f} s")

    def figures(self, subject: Subject) -> list[Figure]:
        """Failures of all; percentiles and failures before, during and after."""
        slices = [each for run in subject.runs for each in measured(run)]
        failed = failures(slices)
        lost = Figure("failures", float(sum(failed.values())), "requests", note=named(failed))
        taken = [each for run in subject.runs if (each := _took(run)) is not None]
        note = "" if len(taken) == len(subject.runs) else "in some rounds it was not ready before the end"
        parts = [
            each
            for name in ("before", "during", "after")
            for each in figures.usual([_part(run, name) for run in subject.runs], f", {name}")
            if not each.name.startswith("throughput")
        ]
        return [lost, figures.of_times("from publishing to ready", taken, "s", note), *parts]


class OverloadKind(Plain):
    """The highest rate that keeps the bound, and a multiple of it."""

    def __init__(self, scenario: Overload) -> None:
        self._scenario = scenario
        self._bounded = Bounded(scenario.bound, scenario.bound.connections)

    def turn(self, turn: Turn) -> None:
        """Search, then the rate by itself, then too much."""
        rate = self._bounded.search(turn).rate
        if rate is None:
            turn.subject.fail(f"no rate keeps {self._bounded}: there is none to be exceeded")
            return
        for phase, factor in (("measure highest rate", 1.0), ("measure overload", self._scenario.factor)):
            turn.stretch(
                rate * factor,
                self._scenario.seconds,
                phase=phase,
                arrival="poisson",
                connections=self._scenario.connections,
            )

    def figures(self, subject: Subject) -> list[Figure]:
        """Good answers in time a second, at the highest rate and beyond it; refusals and other failures."""
        below, above = (figures.phase(subject.runs, f"measure {name}") for name in ("highest rate", "overload"))
        bound_ms = self._scenario.bound.latency_ms
        kinds = failures(each for run in above for each in measured(run))
        # Not what was sent: some of what ended was sent in the warm-up.
        ended = sum(kinds.values()) + succeeded(each for run in above for each in measured(run))
        refused = sum(count for kind, count in kinds.items() if kind.startswith(_REFUSED))
        others = {kind: count for kind, count in kinds.items() if not kind.startswith(_REFUSED)}
        in_time = f"within {bound_ms:g} ms"
        return [
            figures.of_times("in time, overloaded", [_in_time(run, bound_ms) for run in above], "1/s", in_time),
            figures.of_times("in time, highest rate", [_in_time(run, bound_ms) for run in below], "1/s", in_time),
            self._bounded.figure(subject, "highest rate"),
            figures.share("refused, overloaded", refused, ended, note="429 or RESOURCE_EXHAUSTED"),
            figures.share("failed otherwise, overloaded", sum(others.values()), ended, note=named(others)),
            *figures.usual(above, ", overloaded", first=99),
        ]


def begin_experiment(gateway: Gateway, model: str, shares: Mapping[str, float]) -> None:
    """Create and start an experiment; raises NoGateway with what the control API says against it."""
    url = f"{gateway.control}/v1/models/{model}/experiments/{_EXPERIMENT}"
    variants = {
        f"v{number}": {"target": target, "weight": percent}
        for number, (target, percent) in enumerate(shares.items(), 1)
    }
    _ask("PUT", url, {"variants": variants})
    _ask("POST", f"{url}/start", None)


def _ask(method: str, url: str, body: Any) -> None:
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=30):
            return
    except urllib.error.HTTPError as error:
        raise NoGateway(f"experiment: {error.read(500).decode(errors='replace')}") from None
    except OSError as error:
        raise NoGateway(f"the control API does not answer at {url} ({error})") from None


def _moment(run: Run, word: str) -> float | None:
    return next((at_s for at_s, text in run.events if f" {word}" in text), None)


def _took(run: Run) -> float | None:
    published, ready = _moment(run, _PUBLISHED), _moment(run, _READY)
    return None if published is None or ready is None else ready - published


def _part(run: Run, name: str) -> Run:
    published, ready = _moment(run, _PUBLISHED), _moment(run, _READY)
    begin_s = math.inf if published is None else published
    end_s = math.inf if ready is None else ready + _SETTLED_S
    bounds = {"before": (0.0, begin_s), "during": (begin_s, end_s), "after": (end_s, math.inf)}
    return figures.between(run, *bounds[name])


def _in_time(run: Run, bound_ms: float) -> float:
    slices = measured(run)
    found = latencies(slices)
    return (found.queries - found.above(bound_ms)) / (lasted(slices) or 1.0)
