"""The tables of models as they were shown last, and whether all that was there at the start is taken care of."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from gateway.types import Deployment, ModelTable, State


class Shown:
    """What is known of every model, wherever somebody asks."""

    def __init__(self) -> None:
        self.tables: Mapping[str, ModelTable] = {}
        self.at_startup: frozenset[Deployment] = frozenset()
        self._settled = asyncio.Event()
        self._stopping = False

    @property
    def settled(self) -> bool:
        """Whether all that was there at the start has been loaded or has failed; no later load changes that."""
        return self._settled.is_set()

    @property
    def ready(self) -> bool:
        """Whether it is settled, and not stopping."""
        return self.settled and not self._stopping

    async def wait_settled(self) -> None:
        """Wait until `settled`."""
        await self._settled.wait()

    def show(self, tables: Mapping[str, ModelTable]) -> None:
        """Replace the tables."""
        self.tables = tables
        if self.settled:
            return
        standings = {each: standing for table in tables.values() for each, standing in table.standings.items()}
        if not any(standing.state in (State.FOUND, State.LOADING) for standing in standings.values()):
            self.at_startup = frozenset(each for each, standing in standings.items() if standing.state is State.READY)
            self._settled.set()

    def settle(self) -> None:
        """Take it for settled: this came later than the start."""
        self._settled.set()

    def stop(self) -> None:
        """Not ready from now on."""
        self._stopping = True

    def deployments(self) -> set[Deployment]:
        """Every deployment in the tables, in whatever state."""
        return {each for table in self.tables.values() for each in table.standings}
