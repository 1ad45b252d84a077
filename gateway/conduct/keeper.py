"""The thread that speaks to the store, and what is known of how that goes: nothing else ever waits for a database."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from gateway.collecting import keep

if TYPE_CHECKING:
    from gateway.experiments.store.store import Store

_log = logging.getLogger(__name__)

T = TypeVar("T")

_PAUSE_S: Final = 1.0
"""After a failure, what is asked for fails at once: many that each waited for a locked store would wait for long."""

_CLOSING_S: Final = 5.0


class Keeper:
    """One store, opened at the first use. `problem` says what is wrong with it, empty where nothing is.

    `failures` counts those so far: what was saved before one may be gone with the store that it was saved in.
    """

    def __init__(self, url: str, writer: str, pause_s: float = _PAUSE_S) -> None:
        self.problem = ""
        self.failures = 0
        self._url = url
        self._writer = writer
        self._pause_s = pause_s
        self._failed_s = 0.0
        self._store: Store | None = None
        self._thread = ThreadPoolExecutor(1, "store")

    async def do(self, act: Callable[[Store], T]) -> T:
        """Have something done with the store, behind what was asked for before.

        Raises:
            StoreUnavailable: it could not be done; `problem` says so until something can be.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(self._do, act))

    def _do(self, act: Callable[[Store], T]) -> T:
        from gateway.experiments.store.errors import StoreUnavailable  # noqa: PLC0415  # takes its time to import

        if self.problem and time.monotonic() - self._failed_s < self._pause_s:
            raise StoreUnavailable(self.problem)
        try:
            result = act(self._opened())
        except StoreUnavailable as error:
            if not self.problem:
                _log.error("the store of experiments fails: %s; what it holds is kept in memory meanwhile", error)
            self.problem = str(error)
            self.failures += 1
            self._failed_s = time.monotonic()
            raise
        if self.problem:
            _log.info("the store of experiments works again")
        self.problem = ""
        return result

    def _opened(self) -> Store:
        from gateway.experiments.store.store import Store  # noqa: PLC0415

        if self._store is None:
            self._store = Store(self._url, self._writer)
            self._store.open()
            keep()  # what a database needs is a hundred thousand objects, each to be looked at in every collection
        return self._store

    async def close(self) -> None:
        """Do what was asked for, and let go of the store; one that does not come to an end is left behind."""
        closing = asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        await asyncio.wait([closing], timeout=_CLOSING_S)
        self._thread.shutdown(wait=False)

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()


def default_store(folder: Path) -> str:
    """The URL of a file for each folder, where what outlasts a program's run belongs (XDG Base Directory 0.8)."""
    state = os.environ.get("XDG_STATE_HOME", "")
    home = Path(state) if state.startswith("/") else Path.home() / ".local/state"
    path = folder.absolute()
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    return f"sqlite:///{home / 'torii' / f'{path.name}-{digest}.db'}"
