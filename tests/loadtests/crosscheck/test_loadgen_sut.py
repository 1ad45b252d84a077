"""The system under test, LoadGen itself being faked: the real one is in an environment of its own."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from loadtests.crosscheck import command, environment
from loadtests.crosscheck.asked import Load
from loadtests.crosscheck.loadgen import LoadGen
from tests.loadtests.crosscheck.answering import answering
from tests.loadtests.crosscheck.test_tools import turn
from tests.waiting import until

NAME = "loadtests.crosscheck.programs.loadgen_sut"


@dataclass(frozen=True, slots=True)
class Sample:
    id: int


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ids of samples that LoadGen was told to be done."""
    ids: list[int] = []
    fake: Any = ModuleType("mlperf_loadgen")
    fake.QuerySampleResponse = lambda number, data, size: number
    fake.QuerySamplesComplete = ids.extend
    fake.TestSettings = SimpleNamespace
    fake.TestScenario = SimpleNamespace(MultiStream="multi", Server="server")
    fake.TestMode = SimpleNamespace(PerformanceOnly="performance")
    monkeypatch.setitem(sys.modules, "mlperf_loadgen", fake)
    return ids


@pytest.fixture
def sut(done: list[int]) -> Iterator[ModuleType]:
    sys.modules.pop(NAME, None)
    yield importlib.import_module(NAME)
    sys.modules.pop(NAME, None)


def told(folder: Path, port: int, rows: int = 1, connections: int = 1) -> dict[str, Any]:
    request = folder / "request"
    request.write_bytes(b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody")
    given = {"host": "127.0.0.1", "port": port, "request": str(request), "rows": rows, "connections": connections}
    return {**given, "scenario": "MultiStream", "seconds": 2.0, "expected": 4000.0, "rate": 100.0}


async def test_each_sample_is_answered_once_over_the_connections_there_are(
    sut: ModuleType, done: list[int], tmp_path: Path
) -> None:
    with answering() as server:
        connections = sut.Connections(told(tmp_path, server.port, rows=4, connections=3))
        connections.issue([Sample(each) for each in range(50)])
        connections.issue([Sample(50)])
        await until(lambda: len(done) == 51)

    assert sorted(done) == list(range(51))
    assert (connections.requests, connections.failures) == (14, 0)  # 50 samples are 13 requests of four
    assert server.requests == 14


def test_a_query_is_done_when_issuing_returns_where_there_is_one_at_a_time(
    sut: ModuleType, done: list[int], tmp_path: Path
) -> None:
    with answering() as server:
        connection = sut.OneConnection(told(tmp_path, server.port, rows=8))
        connection.issue([Sample(each) for each in range(8)])

    assert done == list(range(8))
    assert server.requests == connection.requests == 1


@pytest.mark.parametrize("kind", ["OneConnection", "Connections"])
async def test_refusals_are_counted_and_still_answered(
    kind: str, sut: ModuleType, done: list[int], tmp_path: Path
) -> None:
    with answering(503) as server:
        connections = getattr(sut, kind)(told(tmp_path, server.port))
        connections.issue([Sample(7)])
        await until(lambda: done == [7])

    assert connections.failures == 1


def test_loadgen_prepares_more_queries_than_are_expected(sut: ModuleType, tmp_path: Path) -> None:
    settings = sut.settings(told(tmp_path, 1, rows=8))

    assert settings.multi_stream_samples_per_query == 8
    assert settings.multi_stream_expected_latency_ns == 200_000  # a tenth of 8 samples at 4,000/s
    assert (settings.min_duration_ms, settings.max_duration_ms) == (2000, 8000)


def test_an_answer_is_whole_by_its_content_length(sut: ModuleType) -> None:
    whole = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 3\r\n\r\nabc"

    assert [sut.complete(bytearray(whole[:end])) for end in (0, 30, len(whole) - 1, len(whole))] == [
        *(False, False, False, True)
    ]


@pytest.mark.parametrize("scenario", ["SingleStream", "Server"])
def test_the_real_loadgen_agrees_to_be_driven(scenario: Any, tmp_path: Path) -> None:
    tool = LoadGen(scenario)
    if why := tool.missing():
        pytest.skip(why)
    with answering() as server:
        given = turn(tmp_path, Load("v2-binary", 4, rate=200.0), server.port)
        measured = tool.read(command.run(tool.command(given), tmp_path, 30).output, given)

    assert measured.failures == 0
    assert measured.p50 is not None
    assert measured.throughput > 0
    assert server.requests > 1


def test_a_server_that_hangs_up_ends_the_real_loadgen(tmp_path: Path) -> None:
    if why := environment.missing():
        pytest.skip(why)
    with answering() as server:
        server.answer = b""
        given = turn(tmp_path, Load("v2-binary", 4, rate=200.0), server.port)
        argv = LoadGen("Server").command(given)
        process = subprocess.Popen(argv.argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=tmp_path)
        try:
            process.communicate(argv.told.encode(), timeout=30)
        finally:
            process.kill()

    assert process.returncode
