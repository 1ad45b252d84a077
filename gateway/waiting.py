"""Who waits for a turn: the most pressing first, equals in order of arrival. No clock, no event loop."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from adapters.base import LOWEST_PRIORITY

T = TypeVar("T")


class WaitingLine(Generic[T]):
    """Joining, leaving, and being called take the same time however many wait.

    Priorities go from 1, the most pressing, to LOWEST_PRIORITY; others count as the nearest of these.
    """

    __slots__ = ("_lines", "count")

    def __init__(self) -> None:
        self._lines: tuple[OrderedDict[T, None], ...] = tuple(OrderedDict() for _ in range(LOWEST_PRIORITY))
        self.count = 0

    def join(self, who: T, priority: int) -> None:
        """Stand behind all who press as much."""
        self._lines[_index(priority)][who] = None
        self.count += 1

    def leave(self, who: T, priority: int) -> None:
        """Go without having been called; who is not there is no error."""
        line = self._lines[_index(priority)]
        if who in line:
            del line[who]
            self.count -= 1

    def call(self) -> T | None:
        """Take out whose turn it is; None where nobody waits."""
        for line in self._lines:
            if line:
                self.count -= 1
                return line.popitem(last=False)[0]
        return None

    def displace(self, priority: int) -> T | None:
        """Take out the latest of those who press least; None where nobody presses less than `priority`."""
        for line in reversed(self._lines[_index(priority) + 1 :]):
            if line:
                self.count -= 1
                return line.popitem()[0]
        return None

    def presses_less(self, priority: int) -> bool:
        """Whether somebody could be displaced."""
        return any(self._lines[_index(priority) + 1 :])

    def ahead(self, priority: int) -> int:
        """How many would be called before one who comes now."""
        return sum(map(len, self._lines[: _index(priority) + 1])) if self.count else 0


def _index(priority: int) -> int:
    return min(max(priority, 1), LOWEST_PRIORITY) - 1
