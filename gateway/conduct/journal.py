"""What was changed, by whom and why: in the log at once, in the store as soon as it takes it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from gateway.conduct.keeper import Keeper
from gateway.conduct.standings import difference
from gateway.experiments.definition import Definition
from gateway.experiments.files import describe
from gateway.experiments.report import Event

_log = logging.getLogger(__name__)

_MOST: Final = 10_000
"""Events that wait for a store; beyond that the oldest are in the log alone."""


class Journal:
    """Of all experiments."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._waiting: deque[Event] = deque(maxlen=_MOST)

    def changed(
        self, before: Definition | None, after: Definition | None, action: str, who: str, reason: str = ""
    ) -> None:
        """Note a change of an experiment; None is "not there"."""
        one = after or before
        assert one is not None
        old, new = difference(describe(before) if before else {}, describe(after) if after else {})
        self.note(one.model, one.name, action, who, old, new, reason)

    def by_hand(self, model: str, name: str, before: Definition | None, after: Definition | None) -> None:
        """Note what somebody has changed in the folder."""
        action = "created" if before is None else "removed" if after is None else "changed"
        self.changed(before, after, action, f"the file {model}/experiments/{name}.toml")

    def note(
        self,
        model: str,
        experiment: str,
        action: str,
        who: str,
        before: Mapping[str, Any],
        after: Mapping[str, Any],
        reason: str = "",
    ) -> None:
        """Note any change."""
        self._waiting.append(Event(0, datetime.now(UTC), who, action, model, experiment, before, after, reason))
        what = msgspec.json.encode([before, after]).decode()
        _log.info("experiment %s/%s %s by %r%s: %s", model, experiment, action, who, _because(reason), what)

    async def save(self) -> None:
        """Have the store take what waits; where it cannot, it waits on."""
        waiting = list(self._waiting)
        if not waiting:
            return
        from gateway.experiments.store.errors import StoreUnavailable  # noqa: PLC0415

        def save(store: Any) -> None:
            with store.transaction() as transaction:
                transaction.add_events(waiting)

        try:
            await self._keeper.do(save)
        except StoreUnavailable:
            return
        for _ in waiting:
            self._waiting.popleft()

    async def events(self, model: str | None, experiment: str | None, limit: int) -> list[Event]:
        """The newest, newest first; what the store has not taken yet, with it."""
        from gateway.experiments.store.errors import StoreUnavailable  # noqa: PLC0415

        waiting = [each for each in reversed(self._waiting) if model in (None, each.model)]
        waiting = [each for each in waiting if experiment in (None, each.experiment)][:limit]
        try:
            stored = await self._keeper.do(lambda store: store.events(model, experiment, limit))
        except StoreUnavailable:
            return waiting
        return [*waiting, *stored][:limit]


def _because(reason: str) -> str:
    return f" ({reason!r})" if reason else ""
