"""What a stretch of load is to those who order it: they know neither Locust nor the generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from loadtests.engine.plan import Plan, Slice
from loadtests.gateways import Gateway
from loadtests.results.schema import Run

Tell: TypeAlias = Callable[[Slice], None]
"""Called with every slice as it comes."""

Shape: TypeAlias = Callable[[float], float | None]
"""Seconds since the stretch began -> the level; None where it has ended."""

Note: TypeAlias = Callable[[str], None]
"""Writes down what has just happened."""


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that is done to the gateway in the middle of a stretch."""

    at_s: float
    act: Callable[[Note], None]
    """May block; gets what writes down events of the run. What it raises is an event, too."""


class CutShort(Exception):
    """Ctrl-C in the middle of a stretch; `run` is what was measured of it."""

    def __init__(self, run: Run) -> None:
        super().__init__("cut short")
        self.run = run


class Measure(Protocol):
    """`run.stretch.stretch`, or what stands in for it in tests."""

    def __call__(  # noqa: PLR0913  # what a stretch is
        self,
        plan: Plan,
        level: float,
        seconds: float,
        *,
        warm_up_s: float = 0.0,
        phase: str = "measure",
        round: int = 1,  # noqa: A002  # as the schema says
        gateway: Gateway,
        tell: Tell = ...,
        shape: Shape | None = None,
        incidents: Sequence[Incident] = (),
    ) -> Run:
        """One stretch of load; raises CutShort, GeneratorFailed."""
        ...


def silent(_: Slice) -> None:
    """Nobody wants to hear it."""
