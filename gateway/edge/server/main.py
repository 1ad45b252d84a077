"""The edge server's process: on asyncio's own event loop, whose transports send files by sendfile.

As the gateway's child it gets a `Charge` on its stdin, and writes its log to stdout.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys

import msgspec

from gateway.collecting import collect_rarely
from gateway.edge.server.charge import Charge
from gateway.edge.server.serving import EdgeServer
from gateway.logs import OneLine, quieten


async def serve(charge: Charge) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = EdgeServer(charge)
    await server.start(socket.socket(fileno=charge.socket))
    collect_rarely()
    await stop.wait()
    await server.stop()


def main() -> None:
    """Entry point of the process."""
    charge = msgspec.json.decode(sys.stdin.buffer.readline(), type=Charge)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(OneLine("%(levelno)d %(message)s"))
    logging.basicConfig(level=charge.log_level.upper(), handlers=[handler], force=True)
    quieten()
    asyncio.run(serve(charge))


if __name__ == "__main__":
    main()
