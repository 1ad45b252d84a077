"""An end to waiting: what asyncio.timeout does, for many at a time with one timer."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Final

_NEVER: Final = float("inf")


class Deadlines:
    """The deadlines of many tasks in one event loop.

    A timer for each would be the dearest part of most requests, and hardly one ever goes off. So one timer waits for
    the earliest deadline that there was, and when it goes off, it looks for the next.
    """

    def __init__(self) -> None:
        self._running: set[Deadline] = set()
        self._next_s = _NEVER
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop: asking asyncio for it is a system call."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    def begin(self, deadline: Deadline) -> None:
        """Watch one more."""
        self._running.add(deadline)
        if deadline.at_s < self._next_s:
            self._wait(deadline.at_s)

    def end(self, deadline: Deadline) -> None:
        """Watch it no longer."""
        self._running.discard(deadline)

    def _wait(self, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next_s = at_s
        self._timer = self.loop.call_at(at_s, self._look)

    def _look(self) -> None:
        self._timer, self._next_s = None, _NEVER
        now_s = self.loop.time()
        for deadline in [each for each in self._running if each.at_s <= now_s]:
            self._running.discard(deadline)
            deadline.expire()
        if self._running:
            self._wait(min(each.at_s for each in self._running))


class Deadline:
    """Within it, the current task is cancelled when the time is up, and the `with` raises TimeoutError."""

    __slots__ = ("_all", "_cancelling", "_expired", "_task", "at_s")

    def __init__(self, deadlines: Deadlines, seconds: float) -> None:
        self._all = deadlines
        self._expired = False
        self.at_s = deadlines.loop.time() + seconds

    def __enter__(self) -> None:
        task: asyncio.Task[Any] | None = asyncio.current_task(self._all.loop)
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._all.begin(self)

    def expire(self) -> None:
        """Called when the time is up."""
        self._expired = True
        self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._all.end(self)
        # A cancellation that came from elsewhere, too, is not ours to swallow.
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
