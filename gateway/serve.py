"""`torii serve`: a gateway in an event loop, and what the person who started it sees."""

from __future__ import annotations

import asyncio
import logging
import time

import uvloop
from rich.console import Console

from gateway.app import Gateway
from gateway.collecting import collect_rarely
from gateway.config import Settings
from gateway.lifecycle import Record
from gateway.logs import configure
from gateway.terminal.progress import LoadingTable
from gateway.types import State

_log = logging.getLogger(__name__)


def serve_forever(settings: Settings, console: Console) -> None:
    """Serve until told to stop.

    Raises:
        PortTaken: a port is in use.
        NotADirectoryError: the repository is no folder.
    """
    if not settings.repository.is_dir():
        raise NotADirectoryError(
            f"repository: {settings.repository} is no folder; give one with `torii serve FOLDER`, or make it"
        )
    configure(settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, console))


async def _serve(settings: Settings, console: Console) -> None:
    started_s = time.monotonic()
    table: LoadingTable | None = None

    def on_change(record: Record) -> None:
        if table is not None:
            table.changed(record)

    gateway = Gateway(settings, on_change)
    _log.info(
        "serving %s: inference on %s, gRPC on %s, control on %s",
        settings.repository,
        gateway.inference_url,
        gateway.grpc_address,
        gateway.control_url,
    )
    if console.is_terminal:
        logging.getLogger().setLevel(logging.WARNING)  # the table says the same, and stays in place
        table = LoadingTable(console)
    announcing = asyncio.create_task(_announce(gateway, console, table, settings, started_s))
    try:
        await gateway.run()
    finally:
        announcing.cancel()
        if table is not None:
            table.finish()


async def _announce(
    gateway: Gateway, console: Console, table: LoadingTable | None, settings: Settings, started_s: float
) -> None:
    """Wait for the first loads, and say what is there and what to do next."""
    await gateway.frontends.wait_ready()
    collect_rarely()
    if table is not None:
        table.finish()
        logging.getLogger().setLevel(settings.log_level.upper())
    records = gateway.control.records
    ready = sum(record.state is State.READY for record in records)
    edge = f", devices {gateway.edge_url}" if gateway.edge_url else ""
    console.print(
        f"[bold green]Torii is ready[/bold green]: {ready} of {len(records)} deployments after "
        f"{time.monotonic() - started_s:.1f} s. Inference {gateway.inference_url}/docs, "
        f"gRPC {gateway.grpc_address}, control {gateway.control_url}{edge}. Try: torii status",
        soft_wrap=True,
    )
