"""An HTTP server whose sockets come and go, while connections stay."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.httpserver import HttpServer
from gateway.ports import listen
from tests.waiting import until

REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, to: socket.socket) -> Client:
        return cls(*await asyncio.open_connection(*to.getsockname()))

    async def ask(self) -> bytes:
        self.writer.write(REQUEST)
        return (await self.reader.readuntil(b"answer"))[9:12]


class Site:
    """A server, two sockets, and an app that answers unless it is held."""

    def __init__(self) -> None:
        self.sockets = {number: listen("127.0.0.1", 0, "http_port") for number in (1, 2)}
        self.hold = asyncio.Event()
        self.hold.set()
        self.asked = 0
        self.server = HttpServer(self, drain_timeout_s=10.0)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        await self.hold.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
        await send({"type": "http.response.body", "body": b"answer"})


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    task = await site.server.start()
    yield site
    site.hold.set()
    await site.server.stop()
    await task
    for each in site.sockets.values():
        each.close()


async def test_connections_stay_when_their_socket_is_given_away_and_new_ones_wait(site: Site) -> None:
    await site.server.accept(site.sockets)
    open_before = [await Client.connect(each) for each in site.sockets.values()]
    assert [await each.ask() for each in open_before] == [b"200", b"200"]
    await site.server.accept({1: site.sockets[1]})
    late = await Client.connect(site.sockets[2])
    waiting = asyncio.create_task(late.ask())
    assert [await each.ask() for each in open_before] == [b"200", b"200"]
    assert not waiting.done()
    await site.server.accept(site.sockets)
    assert await waiting == b"200"


async def test_a_stop_answers_what_runs_and_ends(site: Site) -> None:
    await site.server.accept(site.sockets)
    client = await Client.connect(site.sockets[1])
    site.hold.clear()
    asking = asyncio.create_task(client.ask())
    await until(lambda: site.asked)
    await site.server.stop()
    site.hold.set()
    assert await asking == b"200"
