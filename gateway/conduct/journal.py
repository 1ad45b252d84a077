"""What was changed, by whom and why: in the log at once, in the store as soon as it takes it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from gateway.conduct.files import where
from gateway.conduct.keeper import Keeper
from gateway.experiments.definition import Definition
from gateway.experiments.files import describe
from gateway.experiments.report import Event

_log = logging.getLogger(__name__)

_MOST: Final = 10_000
"""Events that wait for a store; beyond that the oldest are in the log alone."""


class Journal:
    """Of all experiments."""

    def __init__(self, keeper: Keeper, most: int = _MOST) -> None:
        self._keeper = keeper
        self._waiting: deque[Event] = deque(maxlen=most)

    def changed(
        self, before: Definition | None, after: Definition | None, action: str, who: str, reason: str = ""
    ) -> None:
        """Note a change of an experiment; None is "not there"."""
        one = after or before
        assert one is not None
        old, new = difference(describe(before) if before else {}, describe(after) if after else {})
        self._note(Event(0, datetime.now(UTC), who, action, one.model, one.name, old, new, reason))

    def label_moved(self, model: str, label: str, before: int | None, after: int | None, who: str) -> None:
        """Note that a label names another version than before; None is no label."""
        old = {} if before is None else {f"label {label}": before}
        new = {} if after is None else {f"label {label}": after}
        action = "label set" if after is not None else "label removed"
        self._note(Event(0, datetime.now(UTC), who, action, model, "", old, new))

    def note(self, event: Event) -> None:
        """Note a change of something else."""
        self._note(event)

    def _note(self, event: Event) -> None:
        self._waiting.append(event)
        changes = [event.before, event.after]
        what = msgspec.json.encode(changes).decode().encode("ascii", "backslashreplace").decode()  # one line it is
        name = f"experiment {event.model}/{event.experiment}" if event.experiment else f"model {event.model}"
        because = f" ({event.reason!a})" if event.reason else ""
        _log.info("%s %s by %a%s: %s", name, event.action, event.who, because, what)

    def by_hand(self, model: str, name: str, before: Definition | None, after: Definition | None) -> None:
        """Note what somebody has changed in the folder."""
        action = "created" if before is None else "removed" if after is None else "changed"
        self.changed(before, after, action, f"the file {where(model, name)}")

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
        for each in waiting:
            if self._waiting and self._waiting[0] is each:  # else it had to make room meanwhile
                self._waiting.popleft()

    async def events(self, model: str | None, experiment: str | None, limit: int) -> list[Event]:
        """The newest, newest first; what the store has not taken yet, with it."""
        from gateway.experiments.store.errors import StoreUnavailable  # noqa: PLC0415

        stored: list[Event] = []
        with suppress(StoreUnavailable):
            stored = await self._keeper.do(lambda store: store.events(model, experiment, limit))
        waiting = [
            each
            for each in reversed(self._waiting)  # as it is by now: what was saved meanwhile is no longer in it
            if model in (None, each.model) and experiment in (None, each.experiment)
        ]
        return [*waiting, *stored][:limit]


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is different in two documents, of each the keys that are, at the top or one below."""
    ours: dict[str, Any] = {}
    theirs: dict[str, Any] = {}
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            inner = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
            old = {name: old[name] for name in inner if name in old}
            new = {name: new[name] for name in inner if name in new}
        if key in before:
            ours[key] = old
        if key in after:
            theirs[key] = new
    return ours, theirs
