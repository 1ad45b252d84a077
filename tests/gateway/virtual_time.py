"""An event loop whose time passes only when everybody waits, and then at once: a test is quick, and always the same."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualTime(asyncio.SelectorEventLoop):
    """Its clock starts at 1000 s."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        super().__init__(_Waiting(self))

    def time(self) -> float:
        return self.now_s

    def now_ns(self) -> int:
        return round(self.now_s * 1e9)


class _Waiting(selectors.SelectSelector):
    def __init__(self, loop: VirtualTime) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        assert ready or timeout is not None, "everybody waits, and nothing is ever going to happen"
        if not ready:
            self._loop.now_s += timeout or 0.0
        return ready


def clock_ns() -> int:
    """The time of the running loop, where others have the monotonic clock."""
    return round(asyncio.get_running_loop().time() * 1e9)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        return runner.run(main)
