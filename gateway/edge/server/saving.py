"""Has the store take what devices reported and what became of rollouts, twice a second; nothing waits for it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from gateway.conduct.keeper import Keeper
from gateway.edge.server.tally import Note, Tally
from gateway.experiments.report import Event

if TYPE_CHECKING:
    from gateway.experiments.deliveries import Deliveries
    from gateway.experiments.store.store import Store

_log = logging.getLogger(__name__)

_EVERY_S: Final = 0.5
_READ_EVERY_S: Final = 2.0
"""At the latest, other servers' counts are taken over."""

_MOST_AT_ONCE: Final = 20_000
_MOST_EVENTS: Final = 1000
_FORGET_EVERY_S: Final = 600.0
_REMEMBERED: Final = timedelta(days=90)
_HASHING: Final = "edge devices"
_SECRET_BYTES: Final = 32


class Saving:
    """Of one server; `save` is for one task at a time."""

    def __init__(self, keeper: Keeper, tally: Tally) -> None:
        self._keeper = keeper
        self._tally = tally
        self._secret = b""
        self._events: deque[Event] = deque(maxlen=_MOST_EVENTS)
        self._read_s = float("-inf")
        self._forgot_s = time.monotonic()

    @property
    def problem(self) -> str:
        """What is wrong with the store; empty where nothing is."""
        return self._keeper.problem

    def note(self, event: Event) -> None:
        """Have an event saved with the next."""
        self._events.append(event)

    async def run(self) -> None:
        """Save until cancelled."""
        while True:
            await self.save()
            await asyncio.sleep(_EVERY_S)

    async def save(self) -> None:
        """Save what waits; where the store takes nothing, it waits on."""
        from gateway.experiments.store.errors import StoreUnavailable  # noqa: PLC0415  # takes its time to import

        notes, events, now_s = self._tally.first(_MOST_AT_ONCE), list(self._events), time.monotonic()
        if not notes and not events and now_s - self._read_s < _READ_EVERY_S:
            return
        try:
            stored = await self._keeper.do(partial(self._save, notes, events))
        except StoreUnavailable:
            return
        except Exception:  # noqa: BLE001  # evidence goes on in memory, and deliveries do
            _log.exception("reports could not be saved; it is tried again")
            return
        self._read_s = now_s
        self._tally.saved(notes, stored)
        for each in events:
            if self._events and self._events[0] is each:  # else it had to make room meanwhile
                self._events.popleft()

    def _save(self, notes: list[Note], events: list[Event], store: Store) -> Deliveries:
        """In the store's thread."""
        self._secret = self._secret or store.secret(_HASHING, partial(os.urandom, _SECRET_BYTES))
        if events:
            with store.transaction() as transaction:
                transaction.add_events(events)
        if time.monotonic() - self._forgot_s > _FORGET_EVERY_S:
            self._forgot_s = time.monotonic()
            store.forget_reports(datetime.now(UTC) - _REMEMBERED)
        if not notes:
            return store.deliveries()
        return store.count_reports([each.claim(self._secret) for each in notes], time.time())
