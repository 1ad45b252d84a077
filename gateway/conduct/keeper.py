"""The thread that speaks to the store, and what is known of how that goes: nothing else ever waits for a database."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from gateway.experiments.store.store import Store

_log = logging.getLogger(__name__)

T = TypeVar("T")

_SECRET_BYTES: Final = 32


class Keeper:
    """One store, opened at the first use. `problem` says what is wrong with it, empty where nothing is."""

    def __init__(self, url: str, writer: str) -> None:
        self.problem = ""
        self._url = url
        self._writer = writer
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
        from gateway.experiments.store.store import Store  # noqa: PLC0415

        try:
            if self._store is None:
                self._store = Store(self._url, self._writer)
            result = act(self._store)
        except StoreUnavailable as error:
            if not self.problem:
                _log.error("the store of experiments fails: %s; what it holds is kept in memory meanwhile", error)
            self.problem = str(error)
            raise
        if self.problem:
            _log.info("the store of experiments works again")
        self.problem = ""
        return result

    async def secret(self, name: str) -> bytes:
        """32 bytes that all who share the store have in common; where the store fails, others until the next start."""
        from gateway.experiments.store.errors import StoreUnavailable  # noqa: PLC0415

        try:
            return await self.do(lambda store: store.secret(name, partial(os.urandom, _SECRET_BYTES)))
        except StoreUnavailable:
            return os.urandom(_SECRET_BYTES)

    async def close(self) -> None:
        """Do what was asked for, and let go of the store."""
        if self._store is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._store.close)
        self._thread.shutdown(wait=False)
