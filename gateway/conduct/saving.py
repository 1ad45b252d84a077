"""What is kept of runs: saved as a whole, twice a second; what cannot be saved stays in memory and is saved later."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np

from gateway.conduct.active import Active
from gateway.conduct.keeper import Keeper
from gateway.conduct.units import Exposed
from gateway.experiments.definition import Standing
from gateway.experiments.evidence import CLUSTERS, Counts
from gateway.experiments.report import Look
from gateway.experiments.store.records import Exposure, Run

if TYPE_CHECKING:
    from gateway.experiments.store.store import Store
    from gateway.experiments.store.transaction import Transaction

_log = logging.getLogger(__name__)

_MOST_LOOKS: Final = 1000
_FORGET_S: Final = 600.0
_RETENTION: Final = timedelta(days=400)


def unit_key(number: int) -> bytes:
    """A unit's number as the store has it: 8 bytes."""
    return number.to_bytes(8)


class Saving:
    """To be used by one task at a time."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._looks: dict[Run, list[Look]] = {}
        self._forgot_s = time.monotonic()

    async def load(self, active: Active) -> None:
        """Have evidence go on from what was kept of its run, if the store can say."""
        from gateway.experiments.store.errors import StoreUnavailable  # noqa: PLC0415

        try:
            active.evidence.absorb(await self._keeper.do(lambda store: store.load(active.evidence.key)))
        except StoreUnavailable:
            return

    def add_looks(self, active: Active, looks: Sequence[Look]) -> None:
        """Have looks saved with the next."""
        waiting = self._looks.setdefault(active.evidence.key, [])
        waiting += looks
        del waiting[:-_MOST_LOOKS]

    async def looks(self, active: Active) -> list[Look]:
        """All that are kept of a run, oldest first, with those that are not saved yet."""
        from gateway.experiments.store.errors import StoreUnavailable  # noqa: PLC0415

        key = active.evidence.key
        waiting = list(self._looks.get(key, []))
        try:
            return [*await self._keeper.do(lambda store: store.looks(key)), *waiting]
        except StoreUnavailable:
            return waiting

    async def save(self, actives: Sequence[Active]) -> None:
        """Save what has changed, all of it or nothing."""
        from gateway.experiments.store.errors import StoreUnavailable  # noqa: PLC0415

        for active in actives:
            if not active.evidence.loaded:
                await self.load(active)
        flushes = [Flush(each, self._looks.get(each.evidence.key, [])) for each in actives if each.evidence.loaded]
        flushes = [each for each in flushes if each.something]
        try:
            if flushes:
                await self._keeper.do(lambda store: _save(store, flushes))
                for each in flushes:
                    self._looks.pop(each.active.evidence.key, None)
            if time.monotonic() - self._forgot_s > _FORGET_S:
                self._forgot_s = time.monotonic()
                await self._forget(actives)
        except StoreUnavailable:
            for each in flushes:
                each.undo()

    async def _forget(self, actives: Sequence[Active]) -> None:
        now = datetime.now(UTC)
        window_s = max((each.definition.attribution_s for each in actives), default=0.0)
        await self._keeper.do(lambda store: store.forget(now - timedelta(seconds=window_s + 86_400), now - _RETENTION))


def _save(store: Store, flushes: Sequence[Flush]) -> None:
    with store.transaction() as transaction:
        for each in flushes:
            each.save(transaction)


class Flush:
    """What of one run is saved together."""

    def __init__(self, active: Active, looks: Sequence[Look]) -> None:
        self.active = active
        self._looks = list(looks)
        self._counted: list[tuple[int, str, Counts]] = []
        self._exposed = active.evidence.exposures.take(time.time())
        self._state = active.evidence.to_save()

    @property
    def something(self) -> bool:
        """Whether there is anything."""
        return bool(self._looks or self._exposed or self._state)

    def save(self, transaction: Transaction) -> None:
        """Save it. Blocking."""
        definition, run = self.active.definition, self.active.evidence.key
        now = datetime.now(UTC)
        ended = definition.ended if definition.state is not Standing.RUNNING else None
        transaction.save_run(run, definition.started or now, ended)
        if self._exposed:
            self._expose(transaction, run)
        for state in (self._state, self.active.evidence.to_save() if self._exposed else None):
            if state is not None:  # what was exposed has changed cells, and belongs to the same flush
                cells, splits, counters, extras = state
                transaction.save_cells(run, cells)
                transaction.save_splits(run, splits)
                transaction.save_counters(run, counters)
                transaction.save_policy(run, extras)
        if self._looks:
            transaction.save_looks(run, self._looks)

    def _expose(self, transaction: Transaction, run: Run) -> None:
        exposed = {unit_key(unit): (unit, what) for unit, what in self._exposed}
        known = transaction.exposures(run, exposed.keys())
        new: dict[tuple[int, str], list[int]] = {}
        for key, (unit, what) in exposed.items():
            if key not in known:
                new.setdefault((what.epoch, what.variant), []).append(unit % CLUSTERS)
        transaction.save_exposures(run, [_exposure(key, unit, what) for key, (unit, what) in exposed.items()])
        for (epoch, variant), clusters in new.items():
            self._counted.append((epoch, variant, np.array(clusters)))
            self.active.evidence.expose(*self._counted[-1])

    def undo(self) -> None:
        """It was not saved: save it with the next."""
        for counted in self._counted:
            self.active.evidence.expose(*counted, sign=-1)
        self.active.evidence.exposures.again(unit for unit, _ in self._exposed)
        self.active.evidence.not_saved(self._state[0] if self._state else ())


def _exposure(key: bytes, unit: int, what: Exposed) -> Exposure:
    return Exposure(key, what.variant, what.epoch, unit % CLUSTERS, what.first_at, what.last_at)
