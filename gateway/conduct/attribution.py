"""Which run, metric, unit and variant an outcome is about."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from gateway.conduct.active import Active
from gateway.conduct.conductor import Conductor
from gateway.conduct.effective import salt, units
from gateway.experiments.assignment import hash_unit
from gateway.experiments.definition import Definition, Kind, Metric
from gateway.experiments.report import Outcome
from gateway.experiments.store.records import CellKey
from gateway.experiments.tokens import Token, hash_run

_AHEAD_S: Final = 60.0
"""How much clocks may differ."""

_KEY_BYTES: Final = 16


class NotCounted(Exception):
    """Why an outcome is refused."""


@dataclass(slots=True)
class Attributed:
    """An outcome, and what it counts for; `number` is the unit's, `variant` is empty until it is known."""

    index: int
    outcome: Outcome
    active: Active
    metric: Metric
    number: int
    variant: str = ""
    epoch: int = 0

    @property
    def cell(self) -> CellKey:
        """Where it is counted."""
        return CellKey(self.epoch, self.metric.name, self.variant)

    @property
    def converts(self) -> bool:
        """Whether it counts once for its unit."""
        return self.metric.kind is Kind.CONVERSION

    @property
    def identified(self) -> bool:
        """Whether anything can make it the same as another."""
        return self.outcome.key is not None or self.outcome.request is not None

    def key(self) -> bytes:
        """What makes it the same as another, of one that is identified."""
        one = self.outcome
        told = f"k{one.key}" if one.key is not None else f"r{one.request}"
        text = f"{self.active.evidence.key}\n{one.metric}\n{told}"
        return blake2b(text.encode(errors="surrogatepass"), digest_size=_KEY_BYTES).digest()

    def exposed(self, variant: str, epoch: int, first_at: float, last_at: float) -> None:
        """Its unit got a variant: it counts for that, if it came in time."""
        at_s = _at_s(self.outcome)
        if first_at - _AHEAD_S <= at_s <= last_at + self.active.definition.attribution_s:
            self.variant, self.epoch = variant, epoch

    def remembered(self) -> bool:
        """Find its variant in memory; gives whether it is known by now."""
        found = self.active.evidence.exposures.find(self.number)
        if found is not None:
            self.exposed(found.variant, found.epoch, found.first_at, found.last_at)
        return bool(self.variant)


class Attribution:
    """Of the outcomes of one report."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor
        self._runs: dict[bytes, Active | None] = {}

    def read(self, index: int, outcome: Outcome) -> Attributed:
        """What an outcome is about; of one that names a unit, the variant is still to be found.

        Raises:
            NotCounted: it does not count.
        """
        if outcome.request is None:
            active = self._named(outcome)
            number = hash_unit(salt(active.definition), (outcome.unit or "").encode(errors="surrogatepass")).number
            _check_time(outcome)
            return Attributed(index, outcome, active, _metric(active.definition, outcome), number)
        token = self._conductor.keys.read(outcome.request)
        if token is None:
            raise NotCounted("request: expected the torii-request-id of an answer, and this is none of this gateway's")
        active = self._of(token)
        definition = active.definition
        metric = _metric(definition, outcome)
        _check_time(outcome)
        _check_window(definition, outcome, token.made_s)
        if token.arm >= len(definition.variants):
            raise NotCounted("request: the variant that it was assigned to is gone")
        variant = definition.variants[token.arm].name
        return Attributed(index, outcome, active, metric, token.number, variant, token.epoch)

    def _of(self, token: Token) -> Active:
        """The token's run: one that goes on, has ended not long ago, or is the last of its experiment."""
        if token.run_hash not in self._runs:
            self._runs[token.run_hash] = self._find(token.run_hash)
        active = self._runs[token.run_hash]
        if active is None:
            raise NotCounted("request: the experiment's run that it was assigned in is gone, and another one came")
        return active

    def _find(self, run_hash: bytes) -> Active | None:
        for active in self._conductor.roster.all():
            if hash_run(str(active.definition), active.definition.run) == run_hash:
                return active
        for definition in self._conductor.standings.all():
            if hash_run(str(definition), definition.run) == run_hash:
                return self._conductor.recall(definition)
        return None

    def _named(self, outcome: Outcome) -> Active:
        model, _, name = (outcome.experiment or "").partition("/")
        standing = self._conductor.standings.get(model, name)
        active = self._conductor.recall(standing) if standing else self._conductor.roster.of((model, name))
        if active is None:
            raise NotCounted(
                f"experiment: expected MODEL/NAME of one that runs or has run, got '{outcome.experiment or '':.140}'"
            )
        if not units(active.definition):
            raise NotCounted(
                "unit: this experiment assigns every request by itself; report the request's torii-request-id"
            )
        return active


def unknown(one: Attributed) -> str:
    """Why an outcome does not count whose unit's variant was not found."""
    definition = one.active.definition
    return (
        f"unit '{one.outcome.unit or '':.80}': no request of it took part in {definition} within the "
        f"{definition.attribution_s:g} s before"
    )


def unplaced(outcomes: Sequence[Attributed]) -> list[Attributed]:
    """Those whose variant is not known, and not in memory either."""
    return [each for each in outcomes if not each.variant and not each.remembered()]


def _metric(definition: Definition, outcome: Outcome) -> Metric:
    metric = definition.metric(outcome.metric)
    if metric is None or metric.automatic:
        there = ", ".join(each.name for each in definition.metrics if not each.automatic) or "none"
        raise NotCounted(f"metric '{outcome.metric:.80}': expected one of the outcomes of {definition}: {there}")
    value = outcome.value
    if not math.isfinite(value):
        raise NotCounted("value: expected a finite number")
    if metric.kind in (Kind.BINARY, Kind.CONVERSION) and value not in (0, 1):
        raise NotCounted(f"value: expected 0 or 1, since {metric.name} is {metric.kind}, got {value:g}")
    if (metric.low is not None and value < metric.low) or (metric.high is not None and value > metric.high):
        low, high = ("" if each is None else f"{each:g}" for each in (metric.low, metric.high))
        raise NotCounted(f"value: expected {low}..{high}, got {value:g}")
    return metric


def _at_s(outcome: Outcome) -> float:
    return outcome.at.timestamp() if outcome.at else time.time()


def _check_time(outcome: Outcome) -> None:
    if _at_s(outcome) > time.time() + _AHEAD_S:
        raise NotCounted("at: it is in the future")


def _check_window(definition: Definition, outcome: Outcome, made_s: float) -> None:
    later_s = _at_s(outcome) - made_s
    if later_s < -_AHEAD_S:
        raise NotCounted("at: it is before the request")
    if later_s > definition.attribution_s:
        raise NotCounted(
            f"it came {later_s:.0f} s after the request, and attribution_s is {definition.attribution_s:g}"
        )
