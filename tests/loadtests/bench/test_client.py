from __future__ import annotations

import asyncio
import contextlib
import itertools

import pytest

from loadtests.bench.client import Connection, http_requests, measure

BODY = b"x" * 500_000


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first_line: bytes) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.partition(b"Content-Length: ")[2].partition(b"\r")[0])
            body = await reader.readexactly(length)
            writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n" % (first_line, length))
            writer.write(body)
    except asyncio.IncompleteReadError:
        writer.close()


@pytest.mark.parametrize(("first_line", "succeeds"), [(b"200 OK", True), (b"503 Service Unavailable", False)])
async def test_only_answers_with_200_count(first_line: bytes, succeeds: bool) -> None:
    server = await asyncio.start_server(lambda reader, writer: answer(reader, writer, first_line), "127.0.0.1", 0)
    request = itertools.cycle(http_requests("/", BODY, ["X-One: 1"]))
    async with server:
        measuring = measure(server.sockets[0].getsockname()[1], 2, 0.2, lambda tally: Connection(request, tally))
        if succeeds:
            figures = await measuring
            assert figures["requests"] > 2
            assert figures["failures"] == 0
        else:
            with pytest.raises(SystemExit, match="no request succeeded"):
                await measuring


async def test_the_client_leaves_nothing_unanswered() -> None:
    asked, answered = 0, 0

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked, answered
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                asked += 1
                await asyncio.sleep(0.05)
                answered += not reader.at_eof()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(slow, "127.0.0.1", 0)
    request = itertools.cycle(http_requests("/", b"", []))
    async with server:
        port = server.sockets[0].getsockname()[1]
        figures = await measure(port, 3, 0.12, lambda tally: Connection(request, tally))

    assert figures["requests"] == asked == answered


async def test_a_connection_that_the_server_closes_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(SystemExit, match="no request succeeded"):
            await measure(port, 1, 0.1, lambda tally: Connection(itertools.repeat(b"GET"), tally))

    assert "the server closed the connection" in capsys.readouterr().err
