"""A server that lies as a test tells it to, with the demo page as the edge server serves it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from gateway.edge.server.demo import Demo
from gateway.ports import listen, url
from tests.edge.browser.repository import Repository


class Site:
    """Answers from a repository's files. `offer`: the target that a check names; None is 204."""

    def __init__(self, demo: Path) -> None:
        self.url = ""
        self.reset()
        self._demo = demo

    def reset(self) -> None:
        """As it was before any test."""
        self.repository = Repository()
        self.offer: str | None = None
        self.reports: list[dict[str, Any]] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """In a thread and an event loop of its own."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        runner = asyncio.run_coroutine_threadsafe(self._start(), loop).result(timeout=20)
        try:
            yield
        finally:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(timeout=20)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/edge/v1/models/{model}/check", self._check)
        app.router.add_post("/edge/v1/reports", self._report)
        Demo(self._demo, lambda: self.repository.files["metadata/1.root.json"]).add_to(app)
        app.router.add_get("/edge/v1/{path:.+}", self._file)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        listening = listen("127.0.0.1", 0, "port")
        await web.SockSite(runner, listening).start()
        self.url = url(listening)
        return runner

    async def _check(self, request: web.Request) -> web.Response:
        return web.Response(status=204) if self.offer is None else web.json_response({"target": self.offer})

    async def _report(self, request: web.Request) -> web.Response:
        self.reports += (await request.json())["reports"]
        return web.json_response({}, status=202)

    async def _file(self, request: web.Request) -> web.Response:
        content = self.repository.files.get(request.match_info["path"])
        if content is None:
            raise web.HTTPNotFound
        caching = "no-cache" if request.path.endswith("timestamp.json") else "public, max-age=31536000, immutable"
        return web.Response(body=content, headers={"Cache-Control": caching})
