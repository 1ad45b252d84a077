"""What a kind of scenario works with: the scenario, how load is measured, and one turn after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from loadtests.engine.plan import Arrival
from loadtests.gateways import Gateway
from loadtests.interruption import INTERRUPTION
from loadtests.results.schema import Figure, Run
from loadtests.run.measuring import CutShort, Incident, Measure, Shape, Tell
from loadtests.run.subjects import Subject, plan
from loadtests.scenario import Scenario


class Show(Protocol):
    """Whoever watches."""

    def begin(self, what: str, seconds: float) -> Tell:
        """A stretch begins that lasts about so long; gets what is to be told its slices."""
        ...

    def say(self, line: str) -> None:
        """Something that is worth a line."""
        ...


@dataclass(frozen=True, slots=True)
class Session:
    """One run of a scenario."""

    scenario: Scenario
    measure: Measure
    show: Show
    generator_core: int | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One subject's turn in one round."""

    session: Session
    gateway: Gateway
    subject: Subject
    round: int

    def stretch(  # noqa: PLR0913  # what a stretch is
        self,
        level: float,
        seconds: float,
        *,
        phase: str = "measure",
        arrival: Arrival = "closed",
        connections: int | None = None,
        samples: int = 1,
        warm_up_s: float | None = None,
        shape: Shape | None = None,
        incidents: Sequence[Incident] = (),
    ) -> Run:
        """Put load on the subject and keep the run; also one that is cut short, which goes on as CutShort."""
        scenario, warm_up_s = self.session.scenario, self._warm_up_s(warm_up_s)
        sent = plan(
            scenario,
            self.gateway,
            self.subject,
            self.session.generator_core,
            arrival=arrival,
            connections=connections or max(1, round(level)),
            samples=samples,
        )
        what = f"round {self.round}: {self.subject}" + ("" if phase == "measure" else f", {phase}")
        tell = self.session.show.begin(what, seconds + warm_up_s)
        with INTERRUPTION.held():  # until it is kept: only the load itself is broken off
            try:
                run = self.session.measure(
                    sent,
                    level,
                    seconds,
                    warm_up_s=warm_up_s,
                    phase=phase,
                    round=self.round,
                    gateway=self.gateway,
                    tell=tell,
                    shape=shape,
                    incidents=incidents,
                )
            except CutShort as cut:
                self.subject.runs.append(cut.run)
                raise
            self.subject.runs.append(run)
        return run

    def _warm_up_s(self, given: float | None) -> float:
        return self.session.scenario.warm_up_s if given is None else given


class Kind(Protocol):
    """What is done in a subject's turn, and what is said of it in the end."""

    def held_back(self) -> Sequence[str]:
        """Versions that a gateway must not have yet, as `digits/2`; with any, each round gets one of its own."""
        ...

    def turn(self, turn: Turn) -> None:
        """Measure once."""
        ...

    def figures(self, subject: Subject) -> list[Figure]:
        """Of all rounds."""
        ...


class Plain:
    """What most kinds are like."""

    def held_back(self) -> Sequence[str]:
        """Nothing."""
        return ()
