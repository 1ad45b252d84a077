"""Work that nothing waits for until the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

_log = logging.getLogger(__name__)


class Background:
    """What goes wrong in it is in the log, and stops nothing else."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()

    def start(self, work: Coroutine[Any, Any, object], name: str) -> asyncio.Task[object]:
        """Begin a piece of work."""
        task: asyncio.Task[object] = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.error("%s failed; what else goes on is not touched", task.get_name(), exc_info=error)

    async def close(self, within_s: float) -> None:
        """Let what goes on come to its end, and cancel what does not within that time."""
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=within_s)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
