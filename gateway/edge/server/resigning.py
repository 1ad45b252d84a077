"""Has the online keys sign timestamp and snapshot again in time; nothing that is delivered waits for it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

from gateway.edge.server.watching import Watch

_log = logging.getLogger(__name__)

_EVERY_S: Final = 60.0


class Resigning:
    """With the online keys of a folder, whose passphrase is in the environment. `problem` is why it fails, if it does.

    `overdue` is what only the offline keys can sign again by now.
    """

    def __init__(self, watch: Watch, keys: Path, every_s: float = _EVERY_S) -> None:
        self.problem = ""
        self.overdue: tuple[str, ...] = ()
        self._watch = watch
        self._folder = keys
        self._every_s = every_s

    async def run(self) -> None:
        """Look until cancelled."""
        # With what reads signatures: a server without keys does without it.
        from gateway.edge.keys import KeyFolder  # noqa: PLC0415
        from gateway.edge.refreshing import refresh  # noqa: PLC0415

        keys = KeyFolder(self._folder)
        while True:
            problem = ""
            try:
                done = await asyncio.to_thread(refresh, self._watch.folder, keys)
            except Exception as error:  # noqa: BLE001  # whatever it is: the next time may do, and deliveries go on
                problem = str(error) or repr(error)
                if problem != self.problem:
                    _log.error("timestamp and snapshot cannot be signed: %s; it is tried again", problem)
            else:
                if done.timestamp:
                    _log.info(
                        "%s signed until %s", "snapshot and timestamp" if done.snapshot else "timestamp", done.until
                    )
                    await self._watch.look()
                for each in done.overdue:
                    if each not in self.overdue:
                        _log.warning("%s", each)
                self.overdue = done.overdue
            self.problem = problem
            await asyncio.sleep(self._every_s)
