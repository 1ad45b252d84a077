"""What became of requests and units: attributed to variants, counted once, and bounded."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from gateway.conduct.active import Active
from gateway.conduct.conductor import Conductor
from gateway.conduct.keeper import Keeper
from gateway.conduct.saving import unit_key
from gateway.errors import Overloaded
from gateway.experiments.assignment import hash_unit
from gateway.experiments.definition import Definition, Kind, Metric
from gateway.experiments.evidence import CLUSTERS
from gateway.experiments.report import Outcome, Receipt, Refused
from gateway.experiments.store.records import CellKey, Conversion
from gateway.experiments.tokens import read_token

if TYPE_CHECKING:
    from gateway.experiments.store.store import Store
    from gateway.experiments.store.transaction import Transaction

_FULL: Final = 50_000
"""Outcomes that wait to be counted; of a tenth of that on, a part is left out, and of all of it on, all are refused."""

_PRESSED: Final = _FULL // 10
_AHEAD_S: Final = 60.0
_KEY_BYTES: Final = 16


@dataclass(slots=True)
class _Attributed:
    """An outcome and the variant that it counts for; `number` is the unit's."""

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

    def key(self) -> bytes | None:
        """What makes it the same as another, if anything does."""
        one = self.outcome
        if one.key is None and one.request is None:
            return None
        text = f"{self.active.evidence.key}\n{one.metric}\n" + (
            f"k{one.key}" if one.key is not None else f"r{one.request}"
        )
        return blake2b(text.encode(errors="surrogatepass"), digest_size=_KEY_BYTES).digest()


class _NotCounted(Exception):
    """Why an outcome is refused."""


class Outcomes:
    """Of all experiments that run, or have ended not long ago."""

    def __init__(self, keeper: Keeper, conductor: Conductor, collect: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """`collect` has frontends pass on what they have noted."""
        self._keeper = keeper
        self._conductor = conductor
        self._collect = collect
        self._waiting = 0

    async def report(self, outcomes: Sequence[Outcome]) -> Receipt:
        """Count outcomes, each at most once.

        Raises:
            Overloaded: too many wait to be counted.
        """
        if self._waiting + len(outcomes) > _FULL:
            raise Overloaded(f"{self._waiting} outcomes wait to be counted; send these again later", 1.0)
        self._waiting += len(outcomes)
        try:
            return await self._report(outcomes)
        finally:
            self._waiting -= len(outcomes)

    async def _report(self, outcomes: Sequence[Outcome]) -> Receipt:
        refused: list[Refused] = []
        known: list[_Attributed] = []
        unknown: list[_Attributed] = []
        for index, outcome in enumerate(outcomes):
            try:
                attributed = self._read(index, outcome)
            except _NotCounted as error:
                refused.append(Refused(index, str(error)))
            else:
                (known if attributed.variant else unknown).append(attributed)
        taken, left_out = self._sampled([*known, *unknown])
        if any(not each.variant for each in taken):
            await self._place(taken)
        duplicates = await self._count([each for each in taken if each.variant], refused)
        refused += [Refused(each.index, _unknown(each)) for each in taken if not each.variant]
        accepted = len(outcomes) - len(refused) - duplicates - left_out
        return Receipt(accepted, duplicates, left_out, tuple(sorted(refused, key=lambda each: each.index)))

    def _read(self, index: int, outcome: Outcome) -> _Attributed:
        """What it is about; the variant is found later where a unit is named."""
        made_s, number, arm, epoch = time.time(), 0, -1, 0
        if outcome.request is not None:
            token = read_token(self._conductor.token_key, outcome.request)
            if token is None:
                raise _NotCounted(
                    "request: expected the torii-request-id of an answer, and this is none of this gateway's"
                )
            active = self._conductor.of_hash(token.run_hash)
            if active is None:
                raise _NotCounted("request: the experiment's run that it was assigned in is over, or gone")
            made_s, number, arm, epoch = token.made_s, token.number, token.arm, token.epoch
        else:
            active = self._named(outcome)
            definition = active.definition
            salt = f"{definition.model}/{definition.salt or definition.name}"
            number = hash_unit(salt, (outcome.unit or "").encode(errors="surrogatepass")).number
        definition = active.definition
        metric = _metric(definition, outcome)
        if outcome.request is None:
            return _Attributed(index, outcome, active, metric, number)
        _check_window(definition, outcome, made_s)
        if not 0 <= arm < len(definition.variants):
            raise _NotCounted("request: the variant that it was assigned to is gone")
        return _Attributed(index, outcome, active, metric, number, definition.variants[arm].name, epoch)

    def _named(self, outcome: Outcome) -> Active:
        model, _, name = (outcome.experiment or "").partition("/")
        active = self._conductor.active.get((model, name)) or self._conductor.ended.get((model, name))
        if active is None:
            raise _NotCounted(
                f"experiment '{outcome.experiment or '':.140}' does not run; expected MODEL/NAME of one that does"
            )
        if not active.definition.units:
            raise _NotCounted(
                "unit: this experiment assigns every request by itself; report the request's torii-request-id"
            )
        return active

    def _sampled(self, outcomes: list[_Attributed]) -> tuple[list[_Attributed], int]:
        """Under pressure, the outcomes of a part of the units: of whole units, so that variants stay comparable."""
        if self._waiting <= _PRESSED:
            return outcomes, 0
        part = _PRESSED / self._waiting
        taken = [each for each in outcomes if (each.number >> 8 & 0xFFFF) / 0x10000 < part]
        kept = {id(each) for each in taken}
        for each in outcomes:
            if id(each) not in kept:
                each.active.evidence.count({"sampled_out": 1})
        return taken, len(outcomes) - len(taken)

    async def _place(self, outcomes: Sequence[_Attributed]) -> None:
        """Find the variants of units: in memory, with what frontends have just noted, and in the store."""
        from gateway.experiments.store.errors import StoreUnavailable  # noqa: PLC0415

        open_ones = [each for each in outcomes if not each.variant and not _remembered(each)]
        if open_ones:
            await self._collect()
            open_ones = [each for each in open_ones if not _remembered(each)]
        if open_ones:
            try:
                await self._keeper.do(lambda store: _look_up(store, open_ones))
            except StoreUnavailable:
                return

    async def _count(self, outcomes: Sequence[_Attributed], refused: list[Refused]) -> int:
        """Count those that are new; gives how many came before."""
        from gateway.experiments.store.errors import StoreUnavailable  # noqa: PLC0415

        if not outcomes:
            return 0
        outcomes = [each for each in outcomes if each.metric.kind is not Kind.CONVERSION or each.outcome.value]
        asks = [each for each in outcomes if each.key() is not None or each.metric.kind is Kind.CONVERSION]
        new = list(outcomes)
        if asks:
            try:
                new = await self._keeper.do(lambda store: _claim(store, outcomes))
            except StoreUnavailable as error:
                asked = {each.index for each in asks}
                refused += [Refused(each.index, f"not counted, since the store fails: {error}") for each in asks]
                new = [each for each in outcomes if each.index not in asked]
                await self._add(new)
                return 0
        await self._add(new)
        return len(outcomes) - len(new)

    async def _add(self, outcomes: Sequence[_Attributed]) -> None:
        groups: dict[tuple[int, CellKey], list[_Attributed]] = {}
        for each in outcomes:
            groups.setdefault((id(each.active), each.cell), []).append(each)
        for (_, key), group in groups.items():
            evidence = group[0].active.evidence
            clusters = np.array([each.number % CLUSTERS for each in group], np.int64)
            if group[0].metric.kind is Kind.CONVERSION:
                evidence.convert(key, clusters)
            else:
                evidence.observe(key, clusters, np.array([each.outcome.value for each in group], np.float64))
            evidence.count({"outcomes": len(group)})
            await asyncio.sleep(0)


def _metric(definition: Definition, outcome: Outcome) -> Metric:
    metric = definition.metric(outcome.metric)
    if metric is None or metric.automatic:
        there = ", ".join(each.name for each in definition.metrics if not each.automatic) or "none"
        raise _NotCounted(f"metric '{outcome.metric:.80}': expected one of the outcomes of {definition}: {there}")
    value = outcome.value
    if not math.isfinite(value):
        raise _NotCounted("value: expected a finite number")
    if metric.kind in (Kind.BINARY, Kind.CONVERSION) and value not in (0, 1):
        raise _NotCounted(f"value: expected 0 or 1, since {metric.name} is {metric.kind}, got {value:g}")
    if (metric.low is not None and value < metric.low) or (metric.high is not None and value > metric.high):
        low, high = ("" if each is None else f"{each:g}" for each in (metric.low, metric.high))
        raise _NotCounted(f"value: expected {low}..{high}, got {value:g}")
    return metric


def _check_window(definition: Definition, outcome: Outcome, exposed_s: float) -> None:
    at_s = outcome.at.timestamp() if outcome.at else time.time()
    if at_s > time.time() + _AHEAD_S:
        raise _NotCounted("at: it is in the future")
    if at_s - exposed_s > definition.attribution_s:
        raise _NotCounted(
            f"it came {at_s - exposed_s:.0f} s after the request, and attribution_s is {definition.attribution_s:g}"
        )


def _remembered(one: _Attributed) -> bool:
    exposed = one.active.evidence.exposures.find(one.number)
    if exposed is None:
        return False
    return _attribute(one, exposed.variant, exposed.epoch, exposed.last_at)


def _attribute(one: _Attributed, variant: str, epoch: int, last_at: float) -> bool:
    at_s = one.outcome.at.timestamp() if one.outcome.at else time.time()
    if at_s - last_at <= one.active.definition.attribution_s:
        one.variant, one.epoch = variant, epoch
    return bool(one.variant)


def _unknown(one: _Attributed) -> str:
    if one.outcome.request is not None:
        return "request: unknown"
    return (
        f"unit '{one.outcome.unit or '':.80}': no request of it took part in {one.active.definition} within the last "
        f"{one.active.definition.attribution_s:g} s"
    )


def _look_up(store: Store, outcomes: Sequence[_Attributed]) -> None:
    with store.transaction() as transaction:
        for run in {each.active.evidence.key for each in outcomes}:
            ours = {unit_key(each.number): each for each in outcomes if each.active.evidence.key == run}
            known = transaction.exposures(run, ours.keys())
            for one in outcomes:
                exposed = known.get(unit_key(one.number)) if one.active.evidence.key == run else None
                if exposed is not None:
                    _attribute(one, exposed.variant, exposed.epoch, exposed.last_at)


def _claim(store: Store, outcomes: Sequence[_Attributed]) -> list[_Attributed]:
    """Those that did not come before; of conversions, those that are the unit's first."""
    with store.transaction() as transaction:
        keys = {each.index: each.key() for each in outcomes}
        fresh = transaction.claim_keys({key for key in keys.values() if key is not None}, time.time())
        new: list[_Attributed] = []
        for one in outcomes:
            key = keys[one.index]
            if key is None:
                new.append(one)
            elif key in fresh:
                fresh.discard(key)  # within one body, too, the second is the same
                new.append(one)
        return _claim_conversions(transaction, new)


def _claim_conversions(transaction: Transaction, outcomes: Sequence[_Attributed]) -> list[_Attributed]:
    counted = [each for each in outcomes if each.metric.kind is not Kind.CONVERSION]
    asking = [each for each in outcomes if each.metric.kind is Kind.CONVERSION]
    for run in {each.active.evidence.key for each in asking}:
        ours = {
            Conversion(each.metric.name, unit_key(each.number)): each
            for each in asking
            if each.active.evidence.key == run
        }
        counted += [ours[each] for each in transaction.claim_conversions(run, ours)]
    return counted
