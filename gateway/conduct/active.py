"""One running experiment: its evidence, and what was decided on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from gateway.conduct.effective import changed, in_force, ramped
from gateway.conduct.evidence import RunEvidence
from gateway.conduct.window import Window
from gateway.experiments.definition import Current, Definition
from gateway.experiments.guardrails import breach, disagrees
from gateway.experiments.recording import Increment
from gateway.experiments.report import Analysis


@dataclass(slots=True)
class Active:
    """`analysis` is the latest; `looked_s`, `steered_s` are when it was last looked at, and a bandit's weights set."""

    definition: Definition
    evidence: RunEvidence
    windows: dict[str, Window] = field(default_factory=dict)
    analysis: Analysis | None = None
    looked_s: float = 0.0
    steered_s: float = 0.0
    busy: bool = False
    warned: bool = False
    analysed_s: float = 0.0
    _analysed: int = -1

    def stale(self, fresh_s: float) -> bool:
        """Whether there is evidence that the latest analysis has not seen, and it is older than that."""
        old = time.monotonic() - self.analysed_s > fresh_s
        return self.analysis is None or (old and self._analysed != self.evidence.version)

    def analyse(self, look: Callable[[Active], Analysis]) -> None:
        """Have the statistics look at the evidence. Blocking."""
        self._analysed = self.evidence.version
        self.analysis = look(self)
        self.analysed_s = time.monotonic()

    def take(self, increment: Increment, now_s: float, monotonic_s: float) -> None:
        """Add what a frontend has noted."""
        self.evidence.add(increment, now_s)
        for variant, arm in increment.arms.items():
            if increment.epoch == in_force(self.definition).epoch:
                self.windows.setdefault(variant, Window()).add(arm, monotonic_s)

    def breached(self) -> tuple[str, str] | None:
        """A variant with traffic that breaks a guardrail, and how; None if none does."""
        definition = self.definition
        weights = in_force(definition).weights
        control = self.windows.setdefault(definition.control, Window())
        for variant, window in self.windows.items():
            if variant != definition.control and weights.get(variant):
                reason = breach(definition.guardrails, window, control)
                if reason:
                    return variant, reason
        return None

    def disagreement(self) -> str | None:
        """How the shadow breaks its guardrail; None if it does not."""
        shadow = self.evidence.extras.shadow
        return disagrees(self.definition.guardrails, shadow.disagreed, shadow.compared)

    def without(self, variant: str, reason: str, now: datetime) -> Current:
        """The weights with a variant's traffic back at control."""
        current = in_force(self.definition)
        weights = dict(current.weights)
        weights[self.definition.control] = weights.get(self.definition.control, 0.0) + weights.pop(variant, 0.0)
        weights[variant] = 0.0
        in_order = {each.name: weights[each.name] for each in self.definition.variants}
        return changed(current, dict(current.declared), in_order, since=now, reason=f"{variant}: {reason}")

    def next_step(self, now: datetime) -> Current | None:
        """The weights of the ramp's next step, once this one has had its time and its evidence."""
        definition, ramp = self.definition, self.definition.ramp
        current = in_force(definition)
        if ramp is None or current.step + 1 >= len(ramp.steps) or current.reason:
            return None
        since = current.since or definition.started or datetime.now(UTC)
        if now - since < timedelta(seconds=ramp.hold_s):
            return None
        seen = self.evidence.requests(current.epoch)
        if any(weight and seen.get(name, 0) < ramp.requests for name, weight in current.weights.items()):
            return None
        step = current.step + 1
        return changed(current, dict(current.declared), ramped(definition, ramp.steps[step]), since=now, step=step)

    def steered(self, weights: Mapping[str, float], now: datetime) -> Current:
        """The weights that a bandit chose; evidence goes on as if they had always been so."""
        current = in_force(self.definition)
        in_order = {each.name: weights[each.name] for each in self.definition.variants}
        return changed(current, dict(current.declared), in_order, since=now, epoch=False)
