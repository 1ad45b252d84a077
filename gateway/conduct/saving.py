"""What is kept of runs: saved twice a second; what cannot be saved stays in memory and is saved later."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np

from gateway.conduct.active import Active
from gateway.conduct.keeper import Keeper
from gateway.conduct.units import Exposed
from gateway.experiments.definition import Standing
from gateway.experiments.evidence import CLUSTERS, Counts
from gateway.experiments.report import Look
from gateway.experiments.store.records import Exposure, Run, StoredRun

if TYPE_CHECKING:
    from gateway.experiments.store.store import Store
    from gateway.experiments.store.transaction import Transaction

_log = logging.getLogger(__name__)

_MOST_LOOKS: Final = 1000
_MOST_EXPOSURES: Final = 20_000
_FORGET_S: Final = 600.0
_FORGET_MORE_S: Final = 5.0
_FORGOTTEN_AT_ONCE: Final = 5000
_RETENTION: Final = timedelta(days=400)


def unit_key(number: int) -> bytes:
    """A unit's number as the store has it: 8 bytes."""
    return number.to_bytes(8)


class Saving:
    """Loads, saves and forgets; `save` is for one task at a time."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._failures = keeper.failures
        self._looks: dict[Run, list[Look]] = {}
        self._forget_at_s = time.monotonic() + _FORGET_S

    async def load(self, active: Active) -> None:
        """Have evidence go on from what was kept of its run, if the store can say; later, take others' evidence."""
        from gateway.experiments.store.errors import StoreUnavailable  # noqa: PLC0415

        evidence = active.evidence
        try:
            stored: StoredRun | None = await self._keeper.do(lambda store: store.load(evidence.key))
        except StoreUnavailable:
            return
        if evidence.loaded:
            evidence.others(stored)
        elif stored is None or evidence.is_of(stored.started):
            evidence.absorb(stored)
        else:
            evidence.foreign = True

    def add_looks(self, active: Active, looks: Sequence[Look]) -> None:
        """Have looks saved with the next."""
        waiting = self._looks.setdefault(active.evidence.key, [])
        waiting += looks
        del waiting[:-_MOST_LOOKS]

    async def looks(self, active: Active) -> list[Look]:
        """All that are kept of a run, oldest first, with those that are not saved yet."""
        from gateway.experiments.store.errors import StoreUnavailable  # noqa: PLC0415

        key = active.evidence.key
        stored: list[Look] = []
        with suppress(StoreUnavailable):
            stored = await self._keeper.do(lambda store: store.looks(key))
        return [*stored, *self._looks.get(key, [])]

    async def save(self, actives: Sequence[Active]) -> None:
        """Save what has changed: of each run all of it, or nothing."""
        if self._keeper.failures != self._failures:
            self._failures = self._keeper.failures
            for active in actives:
                active.evidence.not_saved()
        for active in actives:
            try:
                await self._save(active)
            except Exception:  # noqa: BLE001  # what is wrong with one must not keep others from being saved
                _log.exception("experiment %s: its evidence could not be saved; it is tried again", active.definition)
        await self._forget(actives)

    async def _save(self, active: Active) -> None:
        from gateway.experiments.store.errors import StoreUnavailable  # noqa: PLC0415

        if not active.evidence.loaded and not active.evidence.foreign:
            await self.load(active)
        looks = self._looks.get(active.evidence.key)
        if not active.evidence.loaded or not (looks or active.evidence.unsaved):
            return
        flush = Flush(active, self._looks.pop(active.evidence.key, []))
        try:
            await self._keeper.do(flush.save)
        except BaseException as error:
            flush.undo()
            self._looks[active.evidence.key] = [*flush.looks, *self._looks.get(active.evidence.key, [])]
            if not isinstance(error, StoreUnavailable):
                raise
        else:
            flush.done()

    async def _forget(self, actives: Sequence[Active]) -> None:
        from gateway.experiments.store.errors import StoreUnavailable  # noqa: PLC0415

        if not actives or time.monotonic() < self._forget_at_s:
            return
        now = datetime.now(UTC)
        window = timedelta(days=1, seconds=max(each.definition.attribution_s for each in actives))
        try:
            gone = await self._keeper.do(
                lambda store: store.forget(now - window, now - _RETENTION, limit=_FORGOTTEN_AT_ONCE)
            )
        except StoreUnavailable:
            gone = 0
        self._forget_at_s = time.monotonic() + (_FORGET_S if gone < _FORGOTTEN_AT_ONCE else _FORGET_MORE_S)


class Flush:
    """What of one run is saved together."""

    def __init__(self, active: Active, looks: Sequence[Look]) -> None:
        self.looks = looks
        self._active = active
        self._exposed = active.evidence.exposures.take(time.time(), _MOST_EXPOSURES)
        self._counted: list[tuple[int, str, Counts]] = []
        self._known: Mapping[int, Exposure] = {}

    def save(self, store: Store) -> None:
        """Save it. Blocking."""
        definition, evidence = self._active.definition, self._active.evidence
        run = evidence.key
        ended = definition.ended if definition.state is not Standing.RUNNING else None
        with store.transaction() as transaction:
            transaction.save_run(run, definition.started or datetime.now(UTC), ended)
            if self._exposed:
                self._expose(transaction, run)
            unsaved = evidence.to_save()  # with the cells that exposures have changed
            if unsaved is not None:
                transaction.save_cells(run, unsaved.cells)
                transaction.save_splits(run, unsaved.splits)
                transaction.save_counters(run, unsaved.counters)
                transaction.save_policy(run, unsaved.extras)
            if self.looks:
                transaction.save_looks(run, self.looks)

    def _expose(self, transaction: Transaction, run: Run) -> None:
        """A unit counts once for each variant that it got, in the epoch in which it got it first."""
        known = transaction.exposures(run, [unit_key(unit) for unit in self._exposed])
        self._known = {unit: found for unit in self._exposed if (found := known.get(unit_key(unit)))}
        new: dict[tuple[int, str], list[int]] = {}
        for unit, what in self._exposed.items():
            before = self._known.get(unit)
            if before is not None and before.variant == what.variant:
                what.epoch = before.epoch
            else:
                new.setdefault((what.epoch, what.variant), []).append(unit % CLUSTERS)
        transaction.save_exposures(run, [_exposure(unit, what) for unit, what in self._exposed.items()])
        for (epoch, variant), clusters in new.items():
            counted = epoch, variant, np.array(clusters, np.int64)
            self._active.evidence.expose(*counted)
            self._counted.append(counted)

    def done(self) -> None:
        """It was saved."""
        for unit, before in self._known.items():
            self._active.evidence.exposures.known_since(unit, before.variant, before.epoch)

    def undo(self) -> None:
        """It was not saved: save it with the next."""
        for counted in self._counted:
            self._active.evidence.expose(*counted, sign=-1)
        self._active.evidence.exposures.again(self._exposed)
        self._active.evidence.not_saved()


def _exposure(unit: int, what: Exposed) -> Exposure:
    return Exposure(unit_key(unit), what.variant, what.epoch, unit % CLUSTERS, what.first_at, what.last_at)
