"""Every kind of scenario against real gateways, in its quick version."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.gateway import RunningGateway
from tests.e2e.loadtests.command import ROOT, TORII, at, call, figure

_ONNX, _TFLITE = "digits/1@onnxruntime", "digits/1@tflite"


def test_single_stream_in_every_dialect(digits: RunningGateway, tmp_path: Path) -> None:
    dialects = ("v2-json", "v2-binary", "v2-grpc", "tfs-rest", "tfs-grpc", "torchserve")
    ended = call(
        tmp_path, "run", "single-stream", "--quick", "--deployments", _TFLITE, "--dialects", ",".join(dialects),
        *at(digits), by=TORII,
    )  # fmt: skip
    assert ended.status == 0, ended.err
    assert f"result: {tmp_path}" in ended.out
    assert "next: torii loadtest report" in ended.err
    assert ended.result.kind == "single-stream"
    assert ended.result.models == {"digits/1": digits_digests(digits)}
    assert [row.dialect for row in ended.result.rows] == list(dialects)
    for row in ended.result.rows:
        assert (row.status, row.why) == ("measured", "")
        assert row.figures[0].name == "p90"
        (run,) = row.runs
        assert {name for each in run.slices for name in each.answers} == {_TFLITE}
        assert (run.arrival, run.connections, figure(row, "errors").value) == ("closed", 1, 0)


def digits_digests(gateway: RunningGateway) -> dict[str, str]:
    found = gateway.deployments().values()
    return {each["backend"]: each["digest"] for each in found if each["version"] == 1}


def test_multi_stream_asks_for_eight_samples_at_once(digits: RunningGateway, tmp_path: Path) -> None:
    ended = call(tmp_path, "run", "multi-stream", "--quick", "--deployments", _ONNX, *at(digits))
    assert ended.status == 0, ended.err
    row = ended.row(_ONNX)
    assert row.payload == "digits, 8 a request"
    assert [each.name for each in row.figures[:2]] == ["p99", "p99 (99 % sure)"]
    assert "early stopping" in row.figures[1].note


def test_offline_tells_samples_not_requests(digits: RunningGateway, tmp_path: Path) -> None:
    ended = call(tmp_path, "run", "offline", "--quick", "--deployments", _ONNX, *at(digits))
    assert ended.status == 0, ended.err
    row = ended.row(_ONNX)
    samples, requests = figure(row, "samples").value, figure(row, "throughput").value
    assert samples is not None
    assert requests is not None
    assert samples == pytest.approx(32 * requests)


def test_server_finds_a_rate_and_confirms_it(digits: RunningGateway, tmp_path: Path) -> None:
    ended = call(tmp_path, "run", "server", "--quick", "--deployments", _ONNX, *at(digits))
    assert ended.status == 0, ended.err
    row = ended.row(_ONNX)
    rate = figure(row, "server rate")
    assert rate.value is not None, rate.note
    assert "p99 under 500 ms" in rate.note
    assert row.runs[-1].phase == f"confirm {rate.value:.6g}/s"
    assert {each.arrival for each in row.runs} == {"poisson"}


def test_frameworks_measures_all_of_a_version_at_every_level(digits: RunningGateway, tmp_path: Path) -> None:
    ended = call(tmp_path, "run", "frameworks", "--quick", *at(digits))
    assert ended.status == 0, ended.err
    rows = ended.result.rows
    assert [row.deployment for row in rows] == [
        f"digits/1@{backend}" for backend in ("onnxruntime", "tflite", "tfserving", "torchserve")
    ]
    for row in rows:
        phases = [each.phase for each in row.runs]
        assert phases == ["measure 1 connection", "measure 4 connections", "measure 50/s"]
        assert figure(row, "p99 at 50/s").value is not None
    assert "4 connections" in ended.out


def test_an_ab_split_shows_shares_seen_beside_shares_set(tmp_path: Path) -> None:
    ended = call(tmp_path, "run", "ab-split", "--quick")
    assert ended.status == 0, ended.err
    row = ended.row("digits")
    for name, percent in ((_ONNX, 70), (_TFLITE, 30)):
        share = figure(row, f"share of {name}")
        assert share.note == f"set: {percent} %"
        assert share.value == pytest.approx(percent / 100, abs=0.15)
        assert figure(row, f"p50 of {name}").value is not None


def test_a_rolling_update_loses_nothing_and_is_seen_in_what_answers(tmp_path: Path) -> None:
    ended = call(tmp_path, "run", "rolling-update", "--quick")
    assert ended.status == 0, ended.err
    row = ended.row("digits")
    assert figure(row, "failures").value == 0
    (run,) = row.runs
    assert [text.partition(":")[0] for _, text in run.events] == ["digits/2 published", "digits/2 ready"]
    names = [set(each.answers) for each in run.slices if each.answers]
    assert (names[0], names[-1]) == ({_ONNX}, {"digits/2@onnxruntime"})
    assert set(ended.result.models) == {"digits/1", "digits/2"}
    assert figure(row, "p99, before").value is not None


def test_overload_is_a_multiple_of_the_highest_rate(tmp_path: Path) -> None:
    ended = call(tmp_path, "run", "overload", "--quick")
    assert ended.status == 0, ended.err
    row = ended.row(_ONNX)
    highest = figure(row, "highest rate").value
    assert highest is not None
    above = [each for each in row.runs if each.phase == "measure overload"]
    assert max(each.level for each in above[0].slices) == pytest.approx(2 * highest)
    assert figure(row, "in time, overloaded").value is not None
    assert row.settings["limits"] == {"timeout_ms": 50}


def test_a_cold_start_is_timed_from_serve_and_from_publishing(tmp_path: Path) -> None:
    ended = call(tmp_path, "run", "cold-start", "--quick", "--deployments", _TFLITE)
    assert ended.status == 0, ended.err
    row = ended.row(_TFLITE)
    assert [each.phase for each in row.runs] == ["cold start", "publishing"]
    assert all((each.value or 0) > 0.1 for each in row.figures)


@pytest.mark.parametrize("name", ["constant", "steps", "ramp", "spike", "soak", "open"])
def test_loads_have_their_shapes(digits: RunningGateway, tmp_path: Path, name: str) -> None:
    ended = call(tmp_path, "run", name, "--quick", *at(digits))
    assert ended.status == 0, ended.err
    row = ended.row(_ONNX)
    levels = [{each.level for each in run.slices} for run in row.runs]
    if name == "constant":
        assert levels == [{1.0}, {4.0}]
    else:
        assert max(levels[0]) == {"steps": 250, "ramp": 300, "spike": 300, "soak": 200, "open": 200}[name]
    if name == "ramp":
        assert row.figures[0].name == "breaking"
    if name == "spike":
        assert figure(row, "p99, in the spike").value is not None


def test_hardware_is_a_dimension_and_what_is_not_here_is_not_run(tmp_path: Path) -> None:
    ended = call(
        tmp_path, "run", "single-stream", "--quick", "--deployments", _ONNX, "--hardware", "CPU, 1 thread; CUDA",
        "--repository", str(ROOT / "model_repo"),
    )  # fmt: skip
    assert ended.status == 0, ended.err
    rows = {row.hardware: row for row in ended.result.rows}
    assert rows["CPU, 1 thread"].status == "measured"
    assert rows["CPU, 1 thread"].settings["backend"]["onnxruntime"]["intra_op_threads"] == 1
    assert rows["CUDA"].status in {"measured", "not run"}
    assert (rows["CUDA"].status == "measured") == (not rows["CUDA"].why)
