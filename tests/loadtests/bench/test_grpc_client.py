from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from loadtests.bench.client import measure
from loadtests.bench.grpc_client import GrpcConnection

MESSAGE = bytes(range(256)) * 4000
"""A megabyte: many frames, and more than a server's first windows admit."""


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[bytes, Any], bytes]], int]]:
    """Starts a gRPC server whose method /test.Service/Call takes and gives bytes; gives its port."""
    servers = []

    def start(act: Callable[[bytes, Any], bytes]) -> int:
        server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
        handler = grpc.unary_unary_rpc_method_handler(act)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", {"Call": handler}),))
        port: int = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return port

    yield start
    for server in servers:
        server.stop(0).wait()


async def test_a_message_beyond_the_servers_windows_arrives_whole(serve: Callable[..., int]) -> None:
    arrived: list[bytes] = []

    def take(message: bytes, _context: Any) -> bytes:
        arrived.append(message)
        return message

    port = serve(take)
    figures = await measure(port, 2, 0.3, lambda tally: GrpcConnection("/test.Service/Call", MESSAGE, tally))

    assert figures["failures"] == 0
    assert len(arrived) > 4
    assert set(arrived) == {MESSAGE}


async def test_refused_calls_are_failures(serve: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(_message: bytes, context: Any) -> bytes:
        answer: bytes = context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")
        return answer

    port = serve(refuse)
    with pytest.raises(SystemExit, match="no request succeeded"):
        await measure(port, 1, 0.2, lambda tally: GrpcConnection("/test.Service/Call", b"", tally))

    assert "requests failed" in capsys.readouterr().err
