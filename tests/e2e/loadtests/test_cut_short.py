"""A run that ends before its end writes what was measured, and leaves nothing running."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pytest

from tests.e2e.gateway import RunningGateway
from tests.e2e.loadtests.command import LOADTESTS, TORII, Ended, at, begin, end, requests, scenario
from tests.e2e.models import add_model, publish
from tests.waiting import children, command, gone

_ONE = "add/1@onnxruntime"
_LOAD = f'kind = "load"\ndeployments = ["{_ONE}"]\npayload = "invented"\nlevels = [2]\nwarm_up_s = 0\n'


def test_a_gateway_that_dies_in_the_middle_leaves_a_result(
    tmp_path: Path, serve: Callable[..., RunningGateway]
) -> None:
    publish(tmp_path / "repository", "add", 1, {"model.onnx": add_model(1)})
    gateway = serve()
    file = scenario(tmp_path, f"{_LOAD}seconds = 2\nrounds = 2\n")
    with begin(tmp_path / "out", "run", file, *at(gateway)) as process:
        gateway.until(lambda: requests(gateway) > 100, within_s=60)
        gateway.stop()
        ended = end(process, tmp_path / "out")
    assert ended.status == 1
    row = ended.row(_ONE)
    assert row.status == "failed"
    assert row.why.startswith("round 2: ")
    assert "connection" in {kind for run in row.runs for each in run.slices for kind in each.failures}


_BY = {"loadtests, SIGINT": (LOADTESTS, signal.SIGINT), "torii, SIGTERM": (TORII, signal.SIGTERM)}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, additions: Path) -> dict[str, tuple[Ended, list[psutil.Process]]]:
    """Runs that a signal has ended, and all that they had started; both at once, since they mostly wait."""
    folders = {name: tmp_path_factory.mktemp("cut") for name in _BY}
    own = f'repository = "{additions}"\nsettings = {{ poll_s = 0.1, settle_s = 0.1 }}\n'
    text = f"{_LOAD}seconds = 120\nrounds = 1\n[gateway]\n{own}"
    begun, started = {}, {}
    with ExitStack() as kept:
        for name, (by, _) in _BY.items():
            begun[name] = begin(folders[name] / "out", "run", scenario(folders[name], text), by=by)
            kept.enter_context(begun[name])
            kept.callback(begun[name].terminate)  # where the other one fails
        for name, process in begun.items():
            started[name] = until_generating(process)
            process.send_signal(_BY[name][1])
        return {name: (end(process, folders[name] / "out"), started[name]) for name, process in begun.items()}


@pytest.mark.parametrize("name", _BY)
def test_ctrl_c_writes_what_was_measured_so_far_and_stops_everything(
    ended: Mapping[str, tuple[Ended, list[psutil.Process]]], name: str
) -> None:
    run, started = ended[name]
    assert run.status == 130, run.err
    assert run.err.startswith("round 1")
    assert any(mark.startswith("cut short: ") for mark in run.result.marks)
    (measured,) = run.row(_ONE).runs
    assert any(mark.startswith("cut short: ") for mark in measured.marks)
    assert "Traceback" not in run.err
    assert all(gone(each.pid) for each in started)


def until_generating(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """All that a run has started, once the gateway among it has taken requests."""
    while True:
        assert process.poll() is None
        found = children(process.pid)
        for argv in (command(each) for each in found):
            if "serve" in argv and asked(argv[argv.index("--control-port") + 1]) > 500:
                return found
        time.sleep(0.02)


def asked(control_port: str) -> int:
    """How many requests the gateway has taken; none where it does not answer yet."""
    try:
        status = httpx.get(f"http://127.0.0.1:{control_port}/v1/status").json()
    except httpx.TransportError:
        return 0
    return sum(each["requests"] for each in status["frontends"])
