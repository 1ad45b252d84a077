"""Scenarios that start gateways of their own, and what they do to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.loadtests.command import call, figure, scenario

_ONE, _TWO = "add/1@onnxruntime", "add/2@onnxruntime"


def test_an_ab_split_shows_shares_seen_beside_shares_set(tmp_path: Path) -> None:
    ended = call(tmp_path, "run", "ab-split", "--quick", "--seconds", "1", "--warm-up", "0")
    assert ended.status == 0, ended.err
    row = ended.row("digits")
    for name, percent in (("digits/1@onnxruntime", 70), ("digits/1@tflite", 30)):
        share = figure(row, f"share of {name}")
        assert share.note == f"set: {percent} %"
        assert share.value == pytest.approx(percent / 100, abs=0.15)
        assert figure(row, f"p50 of {name}").value is not None


def started(folder: Path, repository: Path, text: str, overlay: str = "") -> str:
    """A scenario over a gateway that is started, and is quick to notice changes."""
    where = f'[gateway]\nrepository = "{repository}"\nsettings = {{ poll_s = 0.1, settle_s = 0.1 }}\n{overlay}'
    return scenario(folder, f'{text}payload = "invented"\n{where}')


def test_a_rolling_update_loses_nothing_and_is_seen_in_what_answers(tmp_path: Path, additions: Path) -> None:
    text = 'kind = "rolling-update"\ndeployments = ["add"]\nrate = 50\nseconds = 4\nwarm_up_s = 0\nrounds = 1\n'
    overlay = "model = { limits = { timeout_ms = 5000 } }\n"
    ended = call(tmp_path / "out", "run", started(tmp_path, additions, text, overlay))
    assert ended.status == 0, ended.err
    row = ended.row("add")
    assert figure(row, "failures").value == 0
    assert row.settings["limits"] == {"timeout_ms": 5000}
    (run,) = row.runs
    assert [told.partition(":")[0] for _, told in run.events] == ["add/2 published", "add/2 ready"]
    names = [set(each.answers) for each in run.slices if each.answers]
    assert (names[0], names[-1]) == ({_ONE}, {_TWO})
    assert set(ended.result.models) == {"add/1", "add/2"}
    assert figure(row, "p99, before").value is not None


def test_a_cold_start_is_timed_from_serve_and_from_publishing(tmp_path: Path, additions: Path) -> None:
    text = f'kind = "cold-start"\ndeployments = ["{_ONE}"]\ntimes = 1\n'
    ended = call(tmp_path / "out", "run", started(tmp_path, additions, text))
    assert ended.status == 0, ended.err
    row = ended.row(_ONE)
    assert [each.phase for each in row.runs] == ["cold start", "publishing"]
    assert all((each.value or 0) > 0.1 for each in row.figures)


def test_hardware_is_a_dimension_and_what_is_not_here_is_not_run(tmp_path: Path, additions: Path) -> None:
    text = f'kind = "single-stream"\ndeployments = ["{_ONE}"]\nrounds = 1\nseconds = 0.25\nwarm_up_s = 0\n'
    file = started(tmp_path, additions, text)
    ended = call(tmp_path / "out", "run", file, "--hardware", "CPU, 1 thread; CUDA")
    assert ended.status == 0, ended.err
    rows = {row.hardware: row for row in ended.result.rows}
    assert rows["CPU, 1 thread"].status == "measured"
    assert rows["CPU, 1 thread"].settings["backend"]["onnxruntime"]["intra_op_threads"] == 1
    assert rows["CUDA"].status in {"measured", "not run"}
    assert (rows["CUDA"].status == "measured") == (not rows["CUDA"].why)
