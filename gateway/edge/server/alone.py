"""An edge server by itself, without a gateway: what `torii edge serve` does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from gateway.conduct.keeper import default_store
from gateway.config import Settings
from gateway.edge.server.keeping import charge_of, check
from gateway.logs import configure
from gateway.ports import listen, url


def serve_alone(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; `announce` is told where.

    Raises:
        ConfigError: the folder is none, or something that it needs is not installed.
        PortTaken: something else listens there.
    """
    folder = check(settings)
    from gateway.edge.server.main import serve  # noqa: PLC0415  # with the web framework, which may be missing

    listening = listen(settings.edge_host, settings.edge_port, "edge_port")
    configure(settings.log_level)
    announce(url(listening))
    name = settings.store_name or f"{socket.gethostname()}:{settings.edge_port}"
    charge = charge_of(settings, listening.detach(), settings.store or default_store(folder), f"{name}:edge")
    asyncio.run(serve(charge))
