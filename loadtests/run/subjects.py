"""What is measured: one deployment, asked in one dialect, on one setting of the hardware; and what is sent to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from loadtests.dialects import DIALECTS
from loadtests.engine.plan import Arrival, Plan
from loadtests.gateways import Gateway
from loadtests.payloads import payload
from loadtests.results.schema import Figure, Row, Run
from loadtests.run import portable
from loadtests.run.latencies import failures, measured, succeeded
from loadtests.scenario import Scenario


@dataclass(slots=True)
class Subject:
    """A row while it is being measured."""

    deployment: str
    dialect: str
    hardware: str
    payload: str
    settings: dict[str, Any] = field(default_factory=dict)
    status: Literal["measured", "not run", "failed"] = "measured"
    why: str = ""
    runs: list[Run] = field(default_factory=list)
    cores: int = 1
    """How many a price is to be paid for."""

    notes: dict[str, Any] = field(default_factory=dict)
    """What a kind keeps from one round for the next, and for its figures."""

    def __str__(self) -> str:
        """As progress and errors name it."""
        return f"{self.deployment} {self.dialect}" + ("" if self.hardware == "as served" else f" ({self.hardware})")

    def fail(self, why: str) -> None:
        """It is measured no further."""
        self.status, self.why = "failed", why

    def row(self, figures: Sequence[Figure]) -> Row:
        """As a result has it; failed where not one answer was right."""
        slices = [each for run in self.runs for each in measured(run)]
        if self.status == "measured" and slices and not succeeded(slices):
            first = next((each.first_failure for each in slices if each.first_failure), "")
            self.fail(f"no answer was right: {named(failures(slices)) or 'nothing was answered'}. {first}".strip())
        return Row(
            deployment=self.deployment,
            dialect=self.dialect,
            hardware=self.hardware,
            payload=portable.path(self.payload),
            settings=portable.value(self.settings),
            status=self.status,
            why=portable.words(self.why),
            figures=tuple(figures),
            runs=tuple(self.runs),
        )


def named(kinds: Mapping[str, int]) -> str:
    """`status 503: 12, timeout: 1`, the most frequent first."""
    return ", ".join(f"{kind}: {count:,}" for kind, count in sorted(kinds.items(), key=lambda each: -each[1]))


def subjects(scenario: Scenario, deployments: Sequence[str], hardware: str, settings: dict[str, Any]) -> list[Subject]:
    """A row for every deployment in every dialect."""
    return [
        Subject(deployment, dialect, hardware, scenario.payload, settings)
        for deployment in deployments
        for dialect in scenario.dialects
    ]


def plan(
    scenario: Scenario,
    gateway: Gateway,
    subject: Subject,
    generator_core: int | None,
    *,
    arrival: Arrival = "closed",
    connections: int = 1,
    samples: int = 1,
) -> Plan:
    """What is sent to a subject; each request has `samples` rows."""
    dialect = DIALECTS[subject.dialect]
    found = payload(scenario.payload, gateway.metadata(subject.deployment))
    subject.payload = found.name if samples == 1 else f"{found.name}, {samples} a request"
    return Plan(
        target=gateway.target(dialect.protocol),
        requests=tuple(dialect.request(subject.deployment, each) for each in together(found.inputs, samples)),
        arrival=arrival,
        connections=connections,
        served_by=subject.deployment if pinned(subject.deployment) else "",
        timeout_s=scenario.timeout_s,
        core=generator_core,
    )


def pinned(deployment: str) -> bool:
    """Whether only one deployment can answer to this name."""
    return "/" in deployment and "@" in deployment


def together(inputs: Sequence[Mapping[str, NDArray[Any]]], samples: int) -> Iterator[Mapping[str, NDArray[Any]]]:
    """As many inputs as before, each of `samples` consecutive ones, round and round; axis 0 is the batch's."""
    for first in range(len(inputs)):
        chosen = [inputs[(first + each) % len(inputs)] for each in range(samples)]
        yield (
            {name: np.concatenate([each[name] for each in chosen]) for name in chosen[0]} if samples > 1 else chosen[0]
        )
