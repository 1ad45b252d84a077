from __future__ import annotations

import asyncio

import pytest

from loadtests.bench.client import measure, varied
from loadtests.engine.plan import Request
from tests.loadtests.scripted import always, read_request, serving

BODY = b"x" * 500_000
ONE = [Request("/", BODY, (("X-One", "1"),))]


@pytest.mark.parametrize(("first_line", "succeeds"), [(b"200 OK", True), (b"503 Service Unavailable", False)])
async def test_only_answers_with_200_count(first_line: bytes, succeeds: bool) -> None:
    answer = b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (first_line, len(BODY), BODY)
    async with serving(always(answer)) as target:
        measuring = measure(target, ONE, 2, 0.2)
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
        while await read_request(reader) is not None:
            asked += 1
            await asyncio.sleep(0.05)
            answered += not reader.at_eof()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with serving(slow) as target:
        figures = await measure(target, [Request("/", b"")], 3, 0.12)

    assert figures["requests"] == asked == answered


async def test_a_connection_that_the_server_closes_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    async def close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with serving(close) as target:
        with pytest.raises(SystemExit, match="no request succeeded"):
            await measure(target, ONE, 1, 0.1)

    assert "requests failed" in capsys.readouterr().err


def test_numbers_stand_for_what_varies_in_a_header() -> None:
    requests = varied("/x", b"", ["torii-unit: user-{n}", "A: b"])

    assert len(requests) == 4096
    assert requests[7].headers == (("torii-unit", "user-7"), ("A", "b"))
    assert len(varied("/x", b"", ["A: b"])) == 1
