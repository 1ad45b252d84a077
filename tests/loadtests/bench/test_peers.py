"""Other people's servers, where they are installed: each answers what onnxruntime does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from loadtests.bench import mlp, peers, processes
from loadtests.bench.comparisons import Part
from loadtests.bench.processes import Place
from tests.waiting import gone

PEERS = ("triton", "mlserver", "kserve", "litserve", "bentoml", "torchserve", "asgi")


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, Part]:
    return {part.name: part for part in mlp.BENCHMARK.parts(Place(tmp_path, min(os.sched_getaffinity(0))))}


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_answers_what_onnxruntime_does_even_after_a_pause(name: str, parts: dict[str, Part]) -> None:
    if name != "asgi" and "TORII_TEST_PEERS" not in os.environ:
        pytest.skip(f"{name} takes seconds to start: with TORII_TEST_PEERS=1, and in `make proof-many`")
    if why := parts[name].missing():
        pytest.skip(f"{name}: {why}")
    with parts[name].start() as contenders:
        (server,) = {contender.servers[0] for contender in contenders}
        server.pause()
        with processes.awake([server]):
            for contender in contenders:
                contender.check()
        listening = {
            connection.laddr.ip
            for process in [server.process, *server.process.children(recursive=True)]
            for connection in process.net_connections("tcp")
            if connection.status == "LISTEN"
        }
        assert listening <= {"127.0.0.1", "::ffff:127.0.0.1"}

    assert gone(server.process.pid)


def test_a_peer_that_is_not_installed_says_how_it_would_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(peers, "PEERS", tmp_path)

    assert peers.missing("mlserver") == "it is not installed (make bench-peers)"


def test_every_part_of_the_benchmark_is_tested_here_or_installed_always(parts: dict[str, Part]) -> None:
    assert set(parts) == {*PEERS, "raw", "torii", "fastapi"}
