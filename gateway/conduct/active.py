"""One run of an experiment: its evidence, and what is concluded from it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from gateway.conduct.evidence import RunEvidence
from gateway.conduct.weights import changed, in_force, ramped
from gateway.conduct.window import Window
from gateway.experiments.definition import Current, Definition
from gateway.experiments.guardrails import breach, disagrees
from gateway.experiments.recording import Increment, ShadowIncrement
from gateway.experiments.report import Analysis


@dataclass(slots=True)
class Active:
    """`analysis` is the latest; `problem` says why there is none newer. `windows` and `shadow` are of this epoch.

    `looked_s`, `steered_s` are when it was last looked at, and when a bandit was last asked; `busy`: one of both is
    going on. `disagreed`: it was noted that the shadow disagrees.
    """

    definition: Definition
    evidence: RunEvidence
    windows: dict[str, Window] = field(default_factory=dict)
    shadow: ShadowIncrement = field(default_factory=ShadowIncrement)
    disagreed: bool = False
    analysis: Analysis | None = None
    problem: str = ""
    looked_s: float = 0.0
    steered_s: float = 0.0
    busy: bool = False
    analysing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _analysed_s: float = 0.0
    _analysed: int = -1

    @classmethod
    def of(cls, definition: Definition) -> Active:
        """A run of which nothing has been seen yet."""
        return cls(definition, RunEvidence(definition))

    def follow(self, definition: Definition) -> None:
        """The experiment has changed; of another epoch, what guardrails look at begins anew."""
        if in_force(self.definition).epoch != in_force(definition).epoch:
            self.windows.clear()
            self.shadow = ShadowIncrement()
            self.disagreed = False
        self.definition = definition
        self.evidence.follow(definition)

    def stale(self, fresh_s: float) -> bool:
        """Whether there is evidence that the latest analysis has not seen, and it is older than that."""
        old = time.monotonic() - self._analysed_s > fresh_s
        return self._analysed < 0 or (old and self._analysed != self.evidence.version)

    def analyse(self, look: Callable[[Active], Analysis]) -> None:
        """Have the statistics look at the evidence. Blocking."""
        self._analysed = self.evidence.version
        try:
            self.analysis = look(self)
            self.problem = ""
        finally:
            self._analysed_s = time.monotonic()

    def take(self, increment: Increment, now_s: float, monotonic_s: float) -> None:
        """Add what a frontend has noted."""
        self.evidence.add(increment, now_s)
        if increment.epoch != in_force(self.definition).epoch:
            return
        for variant, arm in increment.arms.items():
            self.windows.setdefault(variant, Window()).add(arm, monotonic_s)
        for window in self.windows.values():
            window.pass_on(monotonic_s)
        if increment.shadow is not None:
            self.shadow.add(increment.shadow)

    def breached(self) -> tuple[str, str] | None:
        """A variant with traffic that breaks a guardrail, and how; None if none does."""
        definition = self.definition
        weights = in_force(definition).weights
        control = self.windows.get(definition.control) or Window()
        for variant, window in self.windows.items():
            if variant != definition.control and weights.get(variant):
                reason = breach(definition.guardrails, window, control)
                if reason:
                    return variant, reason
        return None

    def disagreement(self) -> str | None:
        """How the shadow breaks its guardrail; None if it does not, or if that was noted."""
        if self.disagreed:
            return None
        return disagrees(self.definition.guardrails, self.shadow.disagreed, self.shadow.compared)

    def next_step(self, now: datetime) -> Current | None:
        """The weights of the ramp's next step, once this one has had its time and its evidence."""
        definition, ramp = self.definition, self.definition.ramp
        current = in_force(definition)
        if ramp is None or current.step + 1 >= len(ramp.steps) or current.reason:
            return None
        since = current.since or definition.started or now
        if definition.start is not None:
            since = max(since, definition.start)
        if now - since < timedelta(seconds=ramp.hold_s):
            return None
        seen = self.evidence.requests(current.epoch)
        if any(weight and seen.get(name, 0) < ramp.requests for name, weight in current.weights.items()):
            return None
        step = current.step + 1
        return changed(definition, current, ramped(definition, ramp.steps[step]), since=now, step=step)
