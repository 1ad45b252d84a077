"""Keeps a catalog as its folder is: looked at every second, and exchanged as a whole."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path
from typing import Final

from gateway.edge.channel_file import ChannelFile
from gateway.edge.server.catalog import Catalog, read_catalog

_log = logging.getLogger(__name__)

_EVERY_S: Final = 1.0


class Watch:
    """`catalog` is replaced, never changed; who reads it once has everything of one moment."""

    def __init__(self, folder: Path, every_s: float = _EVERY_S) -> None:
        """Blocking: reads the folder."""
        self.folder = folder
        self.catalog = Catalog()
        self._every_s = every_s
        self._reading = asyncio.Lock()
        self._take(read_catalog(folder, self.catalog))

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            await self.look()

    async def look(self) -> None:
        """Take up what has changed by now."""
        async with self._reading:
            before = self.catalog
            found = await asyncio.to_thread(read_catalog, self.folder, before)
            held = {name: each for name, each in self.catalog.channels.items() if before.channels.get(name) is not each}
            # What was held while the files were read counts, unless its file has changed meanwhile.
            kept = {name: each for name, each in held.items() if found.stamps.get(name) == before.stamps.get(name)}
            self._take(replace(found, channels={**found.channels, **kept}) if kept else found)

    def hold(self, file: ChannelFile) -> None:
        """Go by these channels of a model until their file changes: what was decided and cannot be written."""
        self.catalog = replace(self.catalog, channels={**self.catalog.channels, file.model: file})

    def _take(self, catalog: Catalog) -> None:
        for each in catalog.problems:
            if each not in self.catalog.problems:
                _log.error("%s: %s; what was there before counts on", self.folder, each)
        self.catalog = catalog
