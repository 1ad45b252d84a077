"""Those who ask too much, too slowly, or take too slowly."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

import aiohttp
import pytest
from aiohttp import web

from gateway.edge.server import sending, serving
from tests.gateway.edge.server.conftest import Edge, Serve
from tests.gateway.edge.server.folder import Folder
from tests.waiting import until

LARGE = 32 << 20


async def _connect(edge: Edge, room: int | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    base = edge.session._base_url
    assert base is not None
    connection = socket.socket()
    if room is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    connection.connect((base.host, base.port))
    connection.setblocking(False)
    return await asyncio.open_connection(sock=connection, limit=room or 1 << 16)


def _open(edge: Edge) -> int:
    server = edge.server._runner.server
    assert server is not None
    return len(server.connections)


async def test_a_connection_too_many_is_refused_until_another_is_closed(serve: Serve, folder: Folder) -> None:
    folder.write()
    edge = await serve(max_connections=2)
    (_, first), (_, second) = await _connect(edge), await _connect(edge)
    await until(lambda: _open(edge) == 2)
    reader, third = await _connect(edge)
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    first.close()
    await until(lambda: _open(edge) == 1)
    async with edge.get("metadata/timestamp.json") as answer:
        assert answer.status == 200
    for each in (second, third):
        each.close()


@pytest.mark.parametrize("sent", [b"", b"GET /edge/v1/status HTTP/1.1\r\nHost: x\r\n"])
async def test_a_head_that_does_not_come_is_not_waited_for(
    serve: Serve, folder: Folder, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(serving, "_IDLE_S", 0.2)
    folder.write()
    edge = await serve()
    reader, writer = await _connect(edge)
    writer.write(sent)
    assert await reader.read() == b""
    writer.close()


async def test_a_body_that_does_not_come_is_not_waited_for(
    serve: Serve, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.edge.server.reporting._BODY_S", 0.2)
    folder.write()
    edge = await serve()
    reader, writer = await _connect(edge)
    writer.write(
        b"POST /edge/v1/reports HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    assert (await reader.read()).startswith(b"HTTP/1.1 408")
    writer.close()


@pytest.mark.parametrize("header", [b"X: " + b"x" * 9000, b"\r\n".join(b"X-%d: 1" % each for each in range(200))])
async def test_a_head_that_is_too_large_is_refused(serve: Serve, folder: Folder, header: bytes) -> None:
    folder.write()
    edge = await serve()
    reader, writer = await _connect(edge)
    writer.write(b"GET /edge/v1/metadata/timestamp.json HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n")
    assert b" 400 Bad Request" in await reader.readline()
    writer.close()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /edge/v1/status HTTP/1.1\r\nHost: 127.0.0.1:99999999\r\n\r\n", 403),
        (b"GET /edge/v1/status HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n", 403),
        (b"GET /edge/v1/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\r\n\r\n", 403),
        (b"GET /edge/v1/status HTTP/1.1\r\nHost: x\r\nX: \0\r\n\r\n", 400),
        (b"POST /edge/v1/reports HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: sideways\r\n\r\n", 400),
        (
            b"POST /edge/v1/reports HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
            400,
        ),
        (
            b"POST /edge/v1/reports HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 9\r\n\r\n{",
            0,
        ),
    ],
)
@pytest.mark.parametrize("token", ["", "0123456789abcdef"])
async def test_rubbish_is_the_callers_fault_and_fills_no_log(
    serve: Serve, folder: Folder, caplog: pytest.LogCaptureFixture, sent: bytes, status: int, token: str
) -> None:
    """A status of 0: the caller leaves in the midst of it."""
    folder.write()
    edge = await serve(token=token)
    reader, writer = await _connect(edge)
    writer.write(sent)
    if status:
        assert b" %d " % status in await reader.readline()
    else:
        await until(lambda: _open(edge) == 1)
    writer.close()
    await until(lambda: _open(edge) == 0)
    assert not [each for each in caplog.records if each.levelname == "ERROR"]


async def test_whoever_hangs_up_before_the_file_begins_fills_no_log(
    serve: Serve, folder: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    prepare = web.StreamResponse.prepare

    async def prepared_and_left(response: web.StreamResponse, request: web.BaseRequest) -> object:
        writer = await prepare(response, request)
        assert request.transport is not None
        request.transport.abort()
        return writer

    digest = folder.bundle("digits", 1, b"bundle")
    folder.write()
    edge = await serve()
    monkeypatch.setattr(web.StreamResponse, "prepare", prepared_and_left)
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        async with edge.get(f"targets/digits/1/{digest}.digits-1-android.zip") as answer:
            await answer.read()
    await until(lambda: _open(edge) == 0)
    assert not [each for each in caplog.records if each.levelname == "ERROR"]


@pytest.mark.parametrize("kind", ["target", "metadata"])
async def test_whoever_takes_an_answer_too_slowly_is_cut_off(
    serve: Serve, folder: Folder, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(sending, "_PATIENCE_S", 0.3)
    monkeypatch.setattr(sending, "_LEAST_BYTES_A_S", 1 << 30)
    digest = folder.bundle("digits", 1, os.urandom(LARGE), notes=os.urandom(3 << 20).hex())
    folder.write()
    edge = await serve()
    path = f"targets/digits/1/{digest}.digits-1-android.zip" if kind == "target" else "metadata/1.targets.json"
    _, writer = await _connect(edge, room=4096)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(f"GET /edge/v1/{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await until(lambda: _open(edge) == 1)
    await until(lambda: _open(edge) == 0)
    writer.close()
    async with edge.get("metadata/timestamp.json") as answer:
        assert answer.status == 200


async def test_whoever_leaves_during_a_download_disturbs_nobody(
    serve: Serve, folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    content = os.urandom(LARGE)
    digest = folder.bundle("digits", 1, content)
    folder.write()
    edge = await serve()
    path = f"targets/digits/1/{digest}.digits-1-android.zip"
    reader, writer = await _connect(edge, room=4096)
    writer.write(f"GET /edge/v1/{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await reader.readline()
    writer.transport.abort()
    await until(lambda: _open(edge) == 0)
    async with edge.get(path) as answer:
        assert await answer.read() == content
    assert not [each for each in caplog.records if each.levelname == "ERROR"]


async def test_other_pages_may_ask_only_where_that_was_allowed(serve: Serve, folder: Folder) -> None:
    folder.write()
    closed, opened = await serve(), await serve(allow_origin="https://app.example")
    async with closed.get("metadata/timestamp.json") as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers
    async with opened.get("metadata/timestamp.json") as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
    async with opened.get("status") as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers
    async with opened.session.options("/edge/v1/reports") as answer:
        assert answer.status == 204
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    async with closed.session.options("/edge/v1/reports") as answer:
        assert answer.status == 405
