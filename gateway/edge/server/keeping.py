"""The edge server as the gateway's child: kept alive, on a port that outlives it."""

from __future__ import annotations

import asyncio
import logging
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec

from adapters.process import Child, python_argv, python_environment
from gateway.config import ConfigError, Settings
from gateway.edge.server.charge import Charge
from gateway.ports import listen, url
from gateway.versions import Restarts

_log = logging.getLogger(__name__)

_GRACE_S: Final = 10.0


class EdgeChild:
    """`url` is where devices ask."""

    def __init__(self, settings: Settings, store: str, store_name: str) -> None:
        """Binds the port; raises PortTaken, and ConfigError as `check` does."""
        check(settings)
        self._socket = listen(settings.edge_host, settings.edge_port, "edge_port")
        self.url = url(self._socket)
        self.deaths = 0
        self._charge = charge_of(settings, self._socket.fileno(), store, store_name)
        self._restarts = Restarts()

    async def keep(self) -> None:
        """Have a server there until cancelled."""
        try:
            while True:
                reason = await self._live()
                self.deaths += 1
                delay_s = self._restarts.died(time.monotonic())
                delay_s = Restarts.MAX_DELAY_S if delay_s is None else delay_s
                _log.error("the edge server died (%s); it is started again after %g s", reason, delay_s)
                await asyncio.sleep(delay_s)
        finally:
            self._socket.close()

    async def _live(self) -> str:
        try:
            child = await Child.start(
                python_argv("gateway.edge.server.main"),
                name="edge server",
                env=python_environment(),
                pass_fds=(self._charge.socket,),
            )
        except OSError as error:
            return f"it could not be started: {error}"
        try:
            await child.send_line(msgspec.json.encode(self._charge))
            while line := await child.read_line():
                _pass_on(line.decode(errors="replace"))
            return await child.wait()
        finally:
            await child.stop(_GRACE_S)


def check(settings: Settings) -> Path:
    """The folder that is to be served; raises ConfigError where it cannot be."""
    if find_spec("aiohttp") is None:
        raise ConfigError("edge: serving devices needs aiohttp: pip install 'torii-gateway[edge]'")
    if settings.edge is None or not (settings.edge / "metadata").is_dir():
        raise ConfigError(f"edge: {settings.edge} has no folder metadata; torii edge init {settings.edge} makes one")
    if settings.edge_demo and not (settings.edge_demo / "index.html").is_file():
        raise ConfigError(f"edge_demo: {settings.edge_demo} has no index.html; make browser-client builds it")
    return settings.edge


def charge_of(settings: Settings, socket: int, store: str, store_name: str) -> Charge:
    """What an edge server is told of the settings."""
    assert settings.edge is not None
    return Charge(
        folder=str(settings.edge.absolute()),
        socket=socket,
        store=store,
        store_name=store_name,
        keys=str(settings.edge_keys.absolute()) if settings.edge_keys else "",
        token=settings.edge_token or "",
        allow_origin=settings.edge_allow_origin or "",
        demo=str(settings.edge_demo.absolute()) if settings.edge_demo else "",
        poll_s=settings.edge_poll_s,
        max_connections=settings.edge_max_connections,
        log_level=settings.log_level,
    )


def _pass_on(line: str) -> None:
    """Write what the child logged into this process's log: a level's number, a space, the rest."""
    level, _, text = line.partition(" ")
    _log.log(int(level) if level.isdigit() else logging.INFO, "edge server: %s", text)
