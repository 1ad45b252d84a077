"""What became of requests and units: attributed to variants, counted once, and bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

import numpy as np

from gateway.conduct.attribution import Attributed, Attribution, NotCounted, unknown, unplaced
from gateway.conduct.claims import claim, look_up
from gateway.conduct.conductor import Conductor
from gateway.conduct.keeper import Keeper
from gateway.errors import Overloaded
from gateway.experiments.evidence import CLUSTERS
from gateway.experiments.report import Outcome, Receipt, Refused
from gateway.experiments.store.records import CellKey

_PRESSED: Final = 20_000
_FULL: Final = 100_000
_AT_ONCE: Final = 1000
"""Outcomes that are counted before others get their turn, here and at the store."""


class Outcomes:
    """Of all experiments that run, or have run."""

    def __init__(
        self,
        keeper: Keeper,
        conductor: Conductor,
        collect: Callable[[], Coroutine[Any, Any, None]],
        pressed: int = _PRESSED,
        full: int = _FULL,
    ) -> None:
        """`collect` has frontends pass on what they have noted.

        Where more than `pressed` outcomes wait to be counted, a part is left out; more than `full` do not wait.
        """
        self._keeper = keeper
        self._conductor = conductor
        self._collect = collect
        self._pressed = pressed
        self._full = full
        self._waiting = 0

    async def report(self, outcomes: Sequence[Outcome]) -> Receipt:
        """Count outcomes, each at most once.

        Raises:
            Overloaded: too many wait to be counted.
        """
        if self._waiting + len(outcomes) > self._full:
            raise Overloaded(f"{self._waiting} outcomes wait to be counted; send these again later", 1.0)
        self._waiting += len(outcomes)
        try:
            return await self._report(outcomes)
        finally:
            self._waiting -= len(outcomes)

    async def _report(self, outcomes: Sequence[Outcome]) -> Receipt:
        attribution = Attribution(self._conductor)
        refused: list[Refused] = []
        duplicates = left_out = 0
        for start in range(0, len(outcomes), _AT_ONCE):
            read = _read(attribution, start, outcomes[start : start + _AT_ONCE], refused)
            taken = self._sampled(read)
            left_out += len(read) - len(taken)
            await self._place(taken, refused)
            duplicates += await self._count([each for each in taken if each.variant], refused)
            await asyncio.sleep(0)
        accepted = len(outcomes) - len(refused) - duplicates - left_out
        return Receipt(accepted, duplicates, left_out, tuple(sorted(refused, key=lambda each: each.index)))

    def _sampled(self, outcomes: list[Attributed]) -> list[Attributed]:
        """Under pressure, the outcomes of a part of the units: of whole units, so that variants stay comparable."""
        if self._waiting <= self._pressed:
            return outcomes
        part = self._pressed / self._waiting
        taken: list[Attributed] = []
        for each in outcomes:
            if (each.number >> 8 & 0xFFFF) / 0x10000 < part:  # not by the bits that make its cluster
                taken.append(each)
            else:
                each.active.evidence.count({"sampled_out": 1})
        return taken

    async def _place(self, outcomes: Sequence[Attributed], refused: list[Refused]) -> None:
        """Find the variants of units: in memory, with what frontends have just noted, and in the store."""
        from gateway.experiments.store.errors import StoreUnavailable  # noqa: PLC0415

        left = unplaced(outcomes)
        if left:
            await self._collect()
            left = unplaced(left)
        if left:
            failed = ""
            try:
                await self._keeper.do(lambda store: look_up(store, left))
            except StoreUnavailable as error:
                failed = f"not counted, since it is not known what its unit got, and the store fails: {error}"
            refused += [Refused(each.index, failed or unknown(each)) for each in left if not each.variant]

    async def _count(self, outcomes: Sequence[Attributed], refused: list[Refused]) -> int:
        """Count those that are new; gives how many came before. Of conversions, zeros say nothing new."""
        from gateway.experiments.store.errors import StoreUnavailable  # noqa: PLC0415

        outcomes = [each for each in outcomes if not each.converts or each.outcome.value]
        asking = [each for each in outcomes if each.converts or each.identified]
        new = [each for each in outcomes if not each.converts and not each.identified]
        before = 0
        if asking:
            try:
                fresh = await self._keeper.do(lambda store: claim(store, asking))
            except StoreUnavailable as error:
                failed = f"not counted, since whether it came before is not known: the store fails: {error}"
                refused += [Refused(each.index, failed) for each in asking]
            else:
                new += fresh
                before = len(asking) - len(fresh)
        _add(new)
        return before


def _read(
    attribution: Attribution, start: int, outcomes: Sequence[Outcome], refused: list[Refused]
) -> list[Attributed]:
    found: list[Attributed] = []
    for index, outcome in enumerate(outcomes, start):
        try:
            found.append(attribution.read(index, outcome))
        except NotCounted as error:
            refused.append(Refused(index, str(error)))
    return found


def _add(outcomes: Sequence[Attributed]) -> None:
    groups: dict[tuple[int, CellKey], list[Attributed]] = {}
    for each in outcomes:
        groups.setdefault((id(each.active), each.cell), []).append(each)
    for (_, key), group in groups.items():
        evidence = group[0].active.evidence
        clusters = np.array([each.number % CLUSTERS for each in group], np.int64)
        if group[0].converts:
            evidence.convert(key, clusters)
        else:
            evidence.observe(key, clusters, np.array([each.outcome.value for each in group], np.float64))
        evidence.count({"outcomes": len(group)})
