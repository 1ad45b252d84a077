"""One edge server in an event loop: listens, and keeps catalog, rollouts and evidence going."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from gateway.conduct.keeper import Keeper
from gateway.edge.channel_folder import ChannelFolder
from gateway.edge.server.app import build
from gateway.edge.server.charge import Charge
from gateway.edge.server.resigning import Resigning
from gateway.edge.server.saving import Saving
from gateway.edge.server.state import State
from gateway.edge.server.steward import Steward
from gateway.edge.server.tally import Tally
from gateway.edge.server.watching import Watch

_log = logging.getLogger(__name__)
_parsing = logging.getLogger(f"{__name__}.http")

_IDLE_S: Final = 30.0
"""After so long a connection is closed that has not sent a whole head, or no further one."""

_DRAIN_S: Final = 5.0
_BACKLOG: Final = 2048
_OTHER_FILES: Final = 512


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether it is no mere caller's mistake: each could have the log filled, with a traceback for every few bytes."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | web.RequestPayloadError | ConnectionError)


_parsing.addFilter(_is_ours)


class EdgeServer:
    """Over one folder; to be made inside a running event loop."""

    def __init__(self, charge: Charge) -> None:
        folder = Path(charge.folder)
        self._charge = charge
        self._keeper = Keeper(charge.store, charge.store_name)
        watch, tally = Watch(folder), Tally()
        saving = Saving(self._keeper, tally)
        steward = Steward(watch, tally, saving, ChannelFolder(folder))
        resigning = Resigning(watch, Path(charge.keys)) if charge.keys else None
        self.state = State(charge, watch, tally, saving, steward, resigning)
        self._tasks: list[asyncio.Task[None]] = []
        self._runner = web.AppRunner(
            build(self.state),
            handle_signals=False,
            access_log=None,
            logger=_parsing,
            auto_decompress=False,
            keepalive_timeout=_IDLE_S,
            lingering_time=2.0,
            shutdown_timeout=_DRAIN_S,
        )
        self._listening: asyncio.Server | None = None

    async def start(self, listening: socket.socket) -> None:
        """Answer on a socket that listens already."""
        _allow_files(self._charge.max_connections)
        await self._runner.setup()
        self._listening = await asyncio.get_running_loop().create_server(
            self._connection, sock=listening, backlog=_BACKLOG
        )
        state = self.state
        work = {"catalog": state.watch.run(), "rollouts": state.steward.run(), "evidence": state.saving.run()}
        if state.resigning is not None:
            work["signatures"] = state.resigning.run()
        self._tasks = [asyncio.create_task(each, name=name) for name, each in work.items()]

    def _connection(self) -> asyncio.BaseProtocol:
        server = self._runner.server
        assert server is not None
        return server() if len(server.connections) < self._charge.max_connections else _Refused()

    async def stop(self) -> None:
        """Take no more connections, end those that are open, and save what there is."""
        if self._listening is not None:
            self._listening.close()
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._runner.cleanup()
        await self.state.saving.save()
        await self._keeper.close()


class _Refused(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


def _allow_files(connections: int) -> None:
    """Every connection is a descriptor, and perhaps a file."""
    wanted = 2 * connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        _log.warning("this process may open %d files, and %d connections may need %d", hard, connections, wanted)
        wanted = hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
