"""An edge server in the test's own event loop, and a client of it over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.edge.server.charge import Charge
from gateway.edge.server.serving import EdgeServer
from gateway.ports import listen, url
from tests.gateway.edge.server.folder import Folder
from tests.waiting import bound

WITHIN_S = 20.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    bound(items, Path(__file__).parent, WITHIN_S)


class Edge:
    """A server, and what is asked of it."""

    def __init__(self, server: EdgeServer, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session
        self.state = server.state
        self.stopped = False

    def get(self, path: str, **arguments: Any) -> Any:
        """GET below /edge/v1, the body as it comes."""
        return self.session.get(f"/edge/v1/{path}", **arguments)

    async def check(self, model: str = "digits", **query: Any) -> dict[str, Any] | None:
        """What a device is offered; None where it is nothing."""
        told = {key: str(value) for key, value in {"os": "android", "runtime": "tflite", **query}.items()}
        async with self.get(f"models/{model}/check", params=told) as answer:
            if answer.status == 204:
                return None
            assert answer.status == 200, await answer.text()
            found: dict[str, Any] = await answer.json()
            return found

    async def stop(self) -> None:
        """Stop the server, if it was not."""
        if not self.stopped:
            self.stopped = True
            await self.session.close()
            await self.server.stop()

    async def report(self, *reports: dict[str, Any]) -> dict[str, Any]:
        """What becomes of reports."""
        async with self.session.post("/edge/v1/reports", json={"reports": list(reports)}) as answer:
            assert answer.status == 202, await answer.text()
            found: dict[str, Any] = await answer.json()
            return found

    async def status(self) -> dict[str, Any]:
        """The server's status."""
        async with self.get("status") as answer:
            assert answer.status == 200, await answer.text()
            found: dict[str, Any] = await answer.json()
            return found


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "edge")


Serve = Callable[..., Awaitable[Edge]]


@pytest.fixture
async def serve(tmp_path: Path, folder: Folder) -> AsyncIterator[Serve]:
    """Starts servers, over the test's folder or another one; stopped after the test."""
    started: list[Edge] = []

    async def start(**charge: Any) -> Edge:
        listening = listen("127.0.0.1", 0, "edge_port")
        told = {"folder": folder.path, "store": f"sqlite:///{tmp_path}/store.db", **charge}
        told["folder"] = str(told["folder"])
        server = EdgeServer(Charge(socket=listening.fileno(), store_name=f"edge-{len(started)}", **told))
        await server.start(listening)
        session = aiohttp.ClientSession(url(listening), auto_decompress=False, headers={"Accept-Encoding": "identity"})
        started.append(Edge(server, session))
        return started[-1]

    yield start
    for edge in started:
        await edge.stop()
