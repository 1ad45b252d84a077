"""What goes wrong with a run: it is told, what was measured is written, and nothing is left running."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.e2e.gateway import RunningGateway, free_port
from tests.e2e.loadtests.command import LOADTESTS, ROOT, TORII, Ended, at, begin, call, figure, scenario
from tests.e2e.models import add_model, publish
from tests.waiting import children, gone

_ONNX = "digits/1@onnxruntime"
_LONG = f'kind = "load"\ndeployments = ["{_ONNX}"]\nlevels = [2]\nseconds = 120\nwarm_up_s = 0\nrounds = 1\n'


def test_a_gateway_that_is_not_there_says_how_to_start_one(tmp_path: Path) -> None:
    ended = call(tmp_path, "run", "open", "--url", f"http://127.0.0.1:{free_port()}", by=TORII)
    assert ended.status == 2
    assert "does not answer" in ended.err
    assert "torii serve model_repo" in ended.err
    assert "Traceback" not in ended.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["nope"], "expected a .toml file, or one of ab-split"),
        (["open", "--url", "ftp://x"], "expected http://HOST:PORT"),
        (["open", "--rounds", "0"], "rounds: Input should be greater than or equal to 1"),
        (["open", "--repository", "nowhere-at-all"], "expected a folder of models, and there is none"),
        (["open", "--repository", "model_repo", "--deployments", "mnist"], "has no model mnist; it has digits"),
        (["rolling-update", "--url", "http://127.0.0.1:1"], "this kind changes the gateway"),
    ],
)
def test_bad_input_is_told_and_ends_with_2(tmp_path: Path, argv: Sequence[str], told: str) -> None:
    ended = call(tmp_path, "run", *argv)
    assert ended.status == 2
    assert told in ended.err
    assert "Traceback" not in ended.err


def test_an_unknown_key_is_told_with_its_file(tmp_path: Path) -> None:
    ended = call(tmp_path, "run", scenario(tmp_path, _LONG + "secnods = 3\n"))
    assert ended.status == 2
    assert "mine.toml: secnods: unknown key; expected one of" in ended.err


def test_a_deployment_that_is_not_there_ends_its_row_and_the_others_go_on(
    digits: RunningGateway, tmp_path: Path
) -> None:
    ended = call(tmp_path, "run", "open", "--quick", "--deployments", f"digits/9@tflite,{_ONNX}", *at(digits))
    assert ended.status == 1
    assert ended.row(_ONNX).status == "measured"
    row = ended.row("digits/9@tflite")
    assert (row.status, row.runs) == ("failed", ())
    assert "404" in row.why
    assert "digits/9@tflite v2-json: failed: " in ended.err


def test_a_wrong_answer_ends_its_row_before_any_load(tmp_path: Path, serve: Callable[..., RunningGateway]) -> None:
    gateway = serve()
    publish(gateway.repository, "add", 1, {"model.onnx": add_model(1), "model.other.onnx": add_model(9)})
    gateway.until(lambda: gateway.state("add/1@onnxruntime-other") == "READY")
    ended = call(
        tmp_path / "out", "run", "open", "--quick", "--deployments", "all of add", "--payload", "invented", *at(gateway)
    )
    assert ended.status == 1
    right, wrong = ended.row("add/1@onnxruntime"), ended.row("add/1@onnxruntime-other")
    assert (right.status, right.why) == ("measured", "")
    assert (wrong.status, wrong.runs) == ("failed", ())
    assert "wrong answer: output y is" in wrong.why
    assert "of add/1@onnxruntime" in wrong.why


def test_answers_that_are_not_those_of_the_golden_data_are_wrong(tmp_path: Path) -> None:
    version = tmp_path / "repository" / "digits" / "1"
    version.mkdir(parents=True)
    shutil.copy(ROOT / "model_repo/digits/1/model.onnx", version)
    with np.load(ROOT / "model_repo/digits/1/golden.npz") as golden:
        others = {
            name: np.roll(golden[name], 1, axis=1) if "outputs/" in name else golden[name] for name in golden.files
        }
    np.savez(version / "golden.npz", **others)
    ended = call(
        tmp_path / "out", "run", "open", "--quick", "--deployments", _ONNX, "--repository", str(tmp_path / "repository")
    )
    assert ended.status == 1
    row = ended.row(_ONNX)
    assert (row.status, row.runs) == ("failed", ())
    assert "wrong answer: output probabilities is" in row.why
    assert "golden.npz" in row.why


def test_a_deployment_that_goes_away_in_the_middle_is_told_and_the_run_ends_in_order(
    tmp_path: Path, serve: Callable[..., RunningGateway]
) -> None:
    repository = tmp_path / "repository"
    (repository / "digits/1").mkdir(parents=True)
    shutil.copy(ROOT / "model_repo/digits/1/model.onnx", repository / "digits/1")
    gateway = serve(repository, SETTLE_S="0.1")
    file = scenario(tmp_path, _LONG.replace("seconds = 120", "seconds = 6"))
    with begin(tmp_path / "out", "run", file, *at(gateway)) as process:
        gateway.until(lambda: requests(gateway) > 100, within_s=60)
        (repository / "digits/1").rename(tmp_path / "away")
        out, err = process.communicate(timeout=90)
    ended = Ended(process.returncode, out, err, tmp_path / "out")
    assert ended.status in {0, 1}, err
    row = ended.row(_ONNX)
    assert row.status == "measured"
    failed = [each.failures for run in row.runs for each in run.slices if each.failures]
    assert set().union(*failed) <= {"status 404", "status 503"}
    assert failed
    assert (figure(row, "errors").value or 0) > 0
    assert "a request failed: " in err


def test_a_gateway_that_dies_in_the_middle_leaves_a_result(
    tmp_path: Path, serve: Callable[..., RunningGateway]
) -> None:
    shutil.copytree(ROOT / "model_repo/digits/2", tmp_path / "repository/digits/2")
    gateway = serve()
    text = (
        _LONG.replace("seconds = 120", "seconds = 3")
        .replace("digits/1", "digits/2")
        .replace("rounds = 1", "rounds = 2")
    )
    with begin(tmp_path / "out", "run", scenario(tmp_path, text), *at(gateway)) as process:
        gateway.until(lambda: requests(gateway) > 100, within_s=60)
        gateway.stop()
        out, err = process.communicate(timeout=90)
    ended = Ended(process.returncode, out, err, tmp_path / "out")
    assert ended.status == 1
    row = ended.row("digits/2@onnxruntime")
    assert row.status == "failed"
    assert row.why.startswith("round 2: ")
    assert "connection" in {kind for run in row.runs for each in run.slices for kind in each.failures}


@pytest.mark.parametrize(("by", "number"), [(LOADTESTS, signal.SIGINT), (TORII, signal.SIGTERM)])
def test_ctrl_c_writes_what_was_measured_so_far_and_stops_everything(
    tmp_path: Path, by: Sequence[str], number: signal.Signals
) -> None:
    text = _LONG + '[gateway]\nrepository = "model_repo"\nmodel = { backends = ["onnxruntime"] }\n'
    with begin(tmp_path / "out", "run", scenario(tmp_path, text), by=by) as process:
        assert process.stderr is not None
        assert "round 1" in process.stderr.readline()
        started = until_generating(process)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    ended = Ended(process.returncode, out, err, tmp_path / "out")
    assert ended.status == 130, err
    assert any(mark.startswith("cut short: ") for mark in ended.result.marks)
    (run,) = ended.row(_ONNX).runs
    assert any(mark.startswith("cut short: ") for mark in run.marks)
    assert "Traceback" not in err
    assert all(gone(each.pid) for each in started)


def until_generating(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """All that a run has started, once its generator has used some CPU."""
    while True:
        assert process.poll() is None
        found = children(process.pid)
        for each in found:
            try:
                if "loadtests.engine" in each.cmdline() and each.cpu_times().user > 0.5:
                    return found
            except psutil.NoSuchProcess:
                continue


def requests(gateway: RunningGateway) -> int:
    """How many requests to models it has taken."""
    return sum(each["requests"] for each in gateway.status()["frontends"])


def test_the_commands_say_what_they_are_for(tmp_path: Path) -> None:
    for by, argv in ((TORII, ["--help"]), (TORII, ["run", "--help"]), (LOADTESTS, ["--help"])):
        with begin(tmp_path, *argv[:-1] or ["--help"], *(["--help"] if argv[:-1] else []), by=by) as process:
            out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert "run" in out
