"""A frontend's log, which goes into the gateway's."""

from __future__ import annotations

import asyncio
import logging

from gateway.frontends.link import Link
from gateway.frontends.messages import Log

_FORMATTER = logging.Formatter()


class LinkHandler(logging.Handler):
    """Sends records to control. Once the link is gone they are lost: so is the frontend."""

    def __init__(self, link: Link) -> None:
        """To be made inside the event loop of the link."""
        super().__init__()
        self._link = link
        self._loop = asyncio.get_running_loop()

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler.emit; any thread may log."""
        try:
            traceback = _FORMATTER.formatException(record.exc_info) if record.exc_info else ""
            act = Log(record.levelno, record.name, record.getMessage(), traceback)
            self._loop.call_soon_threadsafe(self._link.tell, act)
        except Exception:  # noqa: BLE001  # as in every handler: a record that cannot be written stops nobody
            self.handleError(record)


def write(who: str, act: Log) -> None:
    """Write what a frontend sent into this process's log, under the name of its own logger."""
    logger = logging.getLogger(act.logger)
    if not logger.isEnabledFor(act.level):
        return
    record = logger.makeRecord(act.logger, act.level, "", 0, "%s: %s", (who, act.text), None)
    if act.traceback:
        record.exc_info, record.exc_text = (None, None, None), act.traceback
    logger.handle(record)
