"""An HTTP server in an event loop that is not its own, on sockets that come and go."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Mapping

import uvicorn

from gateway.api.dialect import App
from gateway.api.http import HttpProtocol

_BACKLOG = 2048


class HttpServer:
    """uvicorn, for one app."""

    def __init__(self, app: App, drain_timeout_s: float) -> None:
        self._server = _Server(
            uvicorn.Config(
                app,
                http=HttpProtocol,
                ws="none",
                loop="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=round(drain_timeout_s) or 1,
            )
        )
        self._accepting: dict[int, asyncio.Server] = {}
        self._changing = asyncio.Lock()

    async def start(self) -> asyncio.Task[None]:
        """Begin to serve, on no socket yet; the task ends after `stop`."""
        task = asyncio.create_task(self._server.serve(sockets=[]), name="http server")
        await self._server.up.wait()
        return task

    async def accept(self, listening: Mapping[int, socket.socket]) -> None:
        """Take connections from these sockets, by any numbers, and from no others; those that are open stay open."""
        loop = asyncio.get_running_loop()
        async with self._changing:
            for number in self._accepting.keys() - listening.keys():
                self._accepting.pop(number).close()
            for number in listening.keys() - self._accepting.keys():
                # Of each a copy: asyncio closes what it was given, and a socket may come back.
                self._accepting[number] = await loop.create_server(
                    self._protocol, sock=listening[number].dup(), backlog=_BACKLOG
                )

    def _protocol(self) -> asyncio.Protocol:
        server = self._server
        return HttpProtocol(config=server.config, server_state=server.server_state, app_state=server.lifespan.state)

    async def stop(self) -> None:
        """Take no more connections, and end once the requests that run are answered, or their time is up."""
        await self.accept({})
        self._server.should_exit = True


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the gateway, and says when it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn.Server."""
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See uvicorn.Server."""
        yield
