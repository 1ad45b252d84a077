"""What tools are told; wrk and h2load really send it, where they are installed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from loadtests.crosscheck import command
from loadtests.crosscheck.asked import Asked, Load, Turn, http_request
from loadtests.crosscheck.h2load import H2load
from loadtests.crosscheck.loadgen import LoadGen
from loadtests.crosscheck.measured import Measured
from loadtests.crosscheck.perf_analyzer import PerfAnalyzer, parted
from loadtests.crosscheck.tool import Tool
from loadtests.crosscheck.wrk import Wrk
from loadtests.engine.plan import Request, Target
from tests.loadtests.crosscheck.answering import answering

BODY = b'{"inputs": []}\0\xff\n\r\n and more'
REQUEST = Request("/v2/models/m/infer", BODY, (("Content-Type", "application/octet-stream"), ("X-Size", "14")))


def turn(folder: Path, load: Load, port: int = 8000, protocol: str = "http/1.1") -> Turn:
    target = Target("127.0.0.1", port, "grpc" if protocol == "grpc" else "http/1.1")
    inputs = {"x": np.arange(4 * load.rows, dtype=np.float32).reshape(load.rows, 2, 2)}
    return Turn(Asked(load, "m/3@tflite", target, REQUEST, inputs, 0), 0.6, 20_000.0, folder)


@pytest.mark.parametrize("tool", [Wrk(), H2load()], ids=lambda tool: tool.name)
def test_a_tool_sends_the_same_body_and_headers_as_we_do(tool: Tool, tmp_path: Path) -> None:
    if why := tool.missing():
        pytest.skip(why)
    with answering() as server:
        told = turn(tmp_path, Load("v2-binary", 2), server.port)
        measured = tool.read(command.run(tool.command(told), tmp_path, 20).output, told)

    head, _, body = server.first.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v2/models/m/infer HTTP/1.1\r\n")
    assert body == BODY
    assert b"content-type: application/octet-stream" in head.lower()
    assert b"x-size: 14" in head.lower()
    assert measured.failures == 0
    assert measured.p50 is not None
    assert measured.throughput > 0


@pytest.mark.parametrize("tool", [Wrk(), H2load()], ids=lambda tool: tool.name)
def test_a_refusal_counts_as_a_failure(tool: Tool, tmp_path: Path) -> None:
    if why := tool.missing():
        pytest.skip(why)
    with answering(503) as server:
        told = turn(tmp_path, Load("v2-binary", 1), server.port)
        measured = tool.read(command.run(tool.command(told), tmp_path, 20).output, told)

    assert measured.failures > 0


def test_h2load_shares_a_rate_out_among_its_connections(tmp_path: Path) -> None:
    argv = H2load().command(turn(tmp_path, Load("v2-binary", 4, rate=100.0, arrival="uniform"))).argv

    assert "--rps=25" in argv


def test_h2load_frames_grpc_messages_itself(tmp_path: Path) -> None:
    argv = H2load().command(turn(tmp_path, Load("v2-grpc", 8), protocol="grpc")).argv

    assert (tmp_path / "body").read_bytes() == b"\0" + len(BODY).to_bytes(4) + BODY
    assert "--h1" not in argv
    assert "-Hcontent-type: application/grpc" in argv
    assert "-c8" in argv


def test_perf_analyzer_is_given_our_inputs_row_by_row(tmp_path: Path) -> None:
    told = PerfAnalyzer().command(turn(tmp_path, Load("v2-binary", 4, rows=2)))

    sent = json.loads((tmp_path / "inputs.json").read_text())
    assert sent == {"data": [{"x": [0.0, 1.0, 2.0, 3.0]}, {"x": [4.0, 5.0, 6.0, 7.0]}]}
    line = " ".join(told.argv)
    assert "-m m@tflite -x 3" in line
    assert "-b 2" in line
    assert "--concurrency-range 4" in line


def test_perf_analyzer_takes_a_poisson_rate(tmp_path: Path) -> None:
    line = " ".join(PerfAnalyzer().command(turn(tmp_path, Load("v2-binary", 4, rate=250.0))).argv)

    assert "--request-rate-range 250 --request-distribution poisson" in line
    assert "--concurrency-range" not in line


def test_loadgens_system_under_test_is_given_the_whole_request(tmp_path: Path) -> None:
    told = turn(tmp_path, Load("v2-binary", 16, rate=500.0))
    settings = json.loads(LoadGen("Server").command(told).told)

    assert Path(settings["request"]).read_bytes() == http_request(told.asked)
    assert http_request(told.asked).endswith(b"X-Size: 14\r\n\r\n" + BODY)
    assert (settings["scenario"], settings["rate"], settings["connections"]) == ("Server", 500.0, 16)


def test_a_tool_that_is_not_installed_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("loadtests.crosscheck.environment.FOLDER", tmp_path)

    for tool in (Wrk(), H2load(), PerfAnalyzer(), LoadGen("Offline")):
        assert "make crosscheck-tools" in (tool.missing() or "")


@pytest.mark.parametrize(
    ("deployment", "parts"),
    [
        ("m/1@tflite", ("m", "1", "tflite")),
        ("m@tflite", ("m", "", "tflite")),
        ("m/1", ("m", "1", "")),
        ("m", ("m", "", "")),
    ],
)
def test_a_deployment_is_taken_apart(deployment: str, parts: tuple[str, str, str]) -> None:
    assert parted(deployment) == parts


def test_figures_are_had_by_their_names() -> None:
    assert Measured(5.0, 1.0, 2.0, 3.0).value("p90") == 2.0
    assert Measured(5.0).value("p50") is None
