"""The pages, and the inference port that they send requests to, on sockets, in a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gateway.api import app as inference_app
from gateway.dataplane import DataPlane
from gateway.httpserver import HttpServer
from gateway.modelaccess import FullAccess, LookOnly
from gateway.ports import listen, url
from tests.gateway.control.pages.deliveries import lay_out
from tests.gateway.control.pages.fake_desk import FakeDesk, every_state
from tests.gateway.control.pages.served import Served, served


class OnSockets:
    """The pages at `url`."""

    def __init__(self, site: Served, address: str, loop: asyncio.AbstractEventLoop) -> None:
        self.site = site
        self.url = address
        self._loop = loop

    @property
    def desk(self) -> FakeDesk:
        return self.site.desk

    def reset(self) -> None:
        """Have all experiments and channels as they were."""
        fresh = every_state()
        self.desk.__dict__.update(fresh.__dict__)
        lay_out(self.site.edge)

    def do(self, act: Callable[[], Any]) -> Any:
        """Do something in the servers' loop."""
        done: Future[Any] = Future()

        async def run() -> None:
            result = act()
            done.set_result(await result if asyncio.iscoroutine(result) else result)

        asyncio.run_coroutine_threadsafe(run(), self._loop)
        return done.result(20)


@contextmanager
def on_sockets(folder: Path) -> Iterator[OnSockets]:
    """Serve until the end of the block."""
    begun: Future[OnSockets] = Future()
    stopping: list[Callable[[], object]] = []

    async def serve() -> None:
        sockets = [listen("127.0.0.1", 0, "port") for _ in range(2)]
        async with served(folder, inference_url=url(sockets[0])) as site:
            registry = site.plane.registry
            access = LookOnly(FullAccess(site.plane.by_name, _nothing))
            inference = inference_app.build(DataPlane(registry), access, 1 << 20)
            servers = [HttpServer(inference, 1.0), HttpServer(site.app, 1.0)]
            serving = [await each.start() for each in servers]
            for server, bound in zip(servers, sockets, strict=True):
                await server.accept({1: bound})
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()
            stopping.append(lambda: loop.call_soon_threadsafe(stop.set))
            begun.set_result(OnSockets(site, url(sockets[1]), loop))
            await stop.wait()
            for server in servers:
                await server.stop()
            await asyncio.wait(serving)
            for bound in sockets:
                bound.close()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            if not begun.done():
                begun.set_exception(error)
            raise

    thread = threading.Thread(target=run, name="pages")
    thread.start()
    try:
        yield begun.result(30)
    finally:
        for stop in stopping:
            stop()
        thread.join(20)


async def _nothing() -> Any:
    return {}
