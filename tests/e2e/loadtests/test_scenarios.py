"""Every kind of scenario that needs no gateway of its own, against one that runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.gateway import RunningGateway
from tests.e2e.loadtests.command import TORII, at, begin, call, end, figure, quick, scenario

_ONE, _OTHER = "add/1@onnxruntime", "add/1@onnxruntime-other"
_BOUND = f"""
deployments = ["{_ONE}"]
payload = "invented"
rounds = 1
seconds = 0.25
warm_up_s = 0

[bound]
percentile = 90
latency_ms = 100
first_rate = 2000
search_s = 0.25
precision = 1
"""


def test_single_stream_in_dialects_of_both_protocols(gateway: RunningGateway, tmp_path: Path) -> None:
    dialects = ["v2-binary", "tfs-grpc"]
    argv = ["--deployments", _ONE, "--dialects", ",".join(dialects)]
    ended = call(tmp_path, *quick("single-stream", *argv), *at(gateway), by=TORII)
    assert ended.status == 0, ended.err
    assert f"result: {tmp_path}" in ended.out
    assert "next: torii loadtest report" in ended.err
    assert ended.result.kind == "single-stream"
    digests = {each["backend"]: each["digest"] for each in gateway.deployments().values()}
    assert ended.result.models == {"add/1": digests}
    assert [row.dialect for row in ended.result.rows] == dialects
    for row in ended.result.rows:
        assert (row.status, row.why) == ("measured", "")
        assert row.figures[0].name == "p90"
        (run,) = row.runs
        assert {name for each in run.slices for name in each.answers} == {_ONE}
        assert (run.arrival, run.connections, figure(row, "errors").value) == ("closed", 1, 0)


def test_multi_stream_asks_for_eight_samples_at_once(gateway: RunningGateway, tmp_path: Path) -> None:
    ended = call(tmp_path, *quick("multi-stream", "--deployments", _ONE), *at(gateway))
    assert ended.status == 0, ended.err
    row = ended.row(_ONE)
    assert row.payload == "invented, 8 a request"
    assert [each.name for each in row.figures[:2]] == ["p99", "p99 (99 % sure)"]
    assert "early stopping" in row.figures[1].note


def test_offline_tells_samples_not_requests(gateway: RunningGateway, tmp_path: Path) -> None:
    ended = call(tmp_path, *quick("offline", "--deployments", _ONE), *at(gateway))
    assert ended.status == 0, ended.err
    row = ended.row(_ONE)
    samples, requests = figure(row, "samples").value, figure(row, "throughput").value
    assert samples is not None
    assert requests is not None
    assert samples == pytest.approx(32 * requests)


def test_server_finds_a_rate_and_confirms_it(gateway: RunningGateway, tmp_path: Path) -> None:
    file = scenario(tmp_path, f'kind = "server"{_BOUND}')
    ended = call(tmp_path / "out", "run", file, *at(gateway))
    assert ended.status == 0, ended.err
    row = ended.row(_ONE)
    rate = figure(row, "server rate")
    assert rate.value is not None, rate.note
    assert "p90 under 100 ms" in rate.note
    assert row.runs[-1].phase == f"confirm {rate.value:.6g}/s"
    assert {each.arrival for each in row.runs} == {"poisson"}


def test_overload_is_a_multiple_of_the_highest_rate(gateway: RunningGateway, tmp_path: Path) -> None:
    file = scenario(tmp_path, f'kind = "overload"{_BOUND}')
    ended = call(tmp_path / "out", "run", file, *at(gateway))
    assert ended.status == 0, ended.err
    row = ended.row(_ONE)
    highest = figure(row, "highest rate").value
    assert highest is not None
    above = [each for each in row.runs if each.phase == "measure overload"]
    assert max(each.level for each in above[0].slices) == pytest.approx(2 * highest)
    assert figure(row, "in time, overloaded").value is not None


def test_frameworks_measures_all_of_a_version_at_every_level(gateway: RunningGateway, tmp_path: Path) -> None:
    text = 'kind = "frameworks"\ndeployments = "all of add/1"\nlevels = [1, 2]\nrate = 50\nrounds = 1\n'
    text += 'payload = "invented"\nseconds = 0.25\nwarm_up_s = 0\n'
    ended = call(tmp_path / "out", "run", scenario(tmp_path, text), *at(gateway))
    assert ended.status == 0, ended.err
    rows = ended.result.rows
    assert [row.deployment for row in rows] == [_ONE, _OTHER]
    for row in rows:
        phases = [each.phase for each in row.runs]
        assert phases == ["measure 1 connection", "measure 2 connections", "measure 50/s"]
        assert figure(row, "p99 at 50/s").value is not None
    assert "2 connections" in ended.out


def test_loads_have_their_shapes(gateway: RunningGateway, tmp_path: Path) -> None:
    """All at once: what each asks for does not depend on how fast it is answered."""
    seconds = {"constant": 0.25, "ramp": 3, "spike": 5}
    folders = {name: tmp_path / name for name in seconds}
    argv = ("--deployments", _ONE, *at(gateway))
    begun = {name: begin(folders[name], *quick(name, *argv, seconds=seconds[name])) for name in seconds}
    ended = {name: end(process, folders[name]) for name, process in begun.items()}
    assert {name: each.status for name, each in ended.items()} == dict.fromkeys(seconds, 0), ended
    constant, ramp, spike = (ended[name].row(_ONE) for name in seconds)
    assert [{each.level for each in run.slices if each.level} for run in constant.runs] == [{1.0}, {4.0}]
    assert [each for run in (*ramp.runs, *spike.runs) for each in [max(part.level for part in run.slices)]] == [
        300,
        300,
    ]
    assert ramp.figures[0].name == "breaking"
    assert figure(spike, "p99, in the spike").value is not None
