"""What users of other servers complain about (batches mixed up, idle workers that spin, overhead) does not happen."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from tests.e2e.gateway import RunningGateway, free_port
from tests.e2e.models import add_model, publish
from tests.proofs.tagged import ROOT, doubling

_ROWS = 4
_FULL = f"[batching]\nmax_rows = {_ROWS}\nmax_delay_ms = 2000\n"
"""A batch waits for its last row for so long that whoever is in it came in time."""

_REQUESTS = 400


@pytest.fixture
def gateway(serve: Callable[..., RunningGateway], tmp_path: Path) -> RunningGateway:
    """Serves `doubling` in batches that wait until they are full."""
    repository = tmp_path / "repository"
    publish(repository, "doubling", 1, {"model.onnx": doubling().publish(0)})
    (repository / "doubling" / "model.toml").write_text(_FULL)
    return serve(repository)


def ask_together(gateway: RunningGateway, asks: Sequence[dict[str, Any]]) -> list[dict[str, list[float]]]:
    """The outputs that callers get who come at the same time, row by row."""

    def ask(body: dict[str, Any]) -> dict[str, list[float]]:
        answer = httpx.post(f"{gateway.url}/v2/models/doubling/infer", json=body, timeout=30)
        assert answer.status_code == 200, answer.text
        return {each["name"]: each["data"] for each in answer.json()["outputs"]}

    with ThreadPoolExecutor(len(asks)) as pool:
        return list(pool.map(ask, asks))


def rows_of(number: int, rows: int = 1) -> dict[str, Any]:
    """A tensor whose rows are of that number."""
    return {"name": "x", "datatype": "FP32", "shape": [rows, 8], "data": [float(number)] * 8 * rows}


def batch_sizes(gateway: RunningGateway) -> dict[int, int]:
    """How many batches ran, of how many rows."""
    (model,) = gateway.get("/v2/models/doubling/stats").json()["model_stats"]
    return {each["batch_size"]: each["compute_infer"]["count"] for each in model["batch_stats"]}


def test_of_several_callers_in_one_batch_each_gets_its_own_row_and_no_other(gateway: RunningGateway) -> None:
    answers = ask_together(gateway, [{"inputs": [rows_of(number)]} for number in range(_ROWS)])
    assert [each["y"] for each in answers] == [[2.0 * number] * 8 for number in range(_ROWS)]
    assert batch_sizes(gateway) == {_ROWS: 1}, "they did run together"


def test_callers_in_one_batch_get_the_outputs_that_each_asked_for(gateway: RunningGateway) -> None:
    wishes = [["y"], ["total"], ["total", "y"], []]
    asks = [{"inputs": [rows_of(1)], "outputs": [{"name": name} for name in wish]} for wish in wishes]
    answers = ask_together(gateway, asks)
    assert [list(each) for each in answers] == [wish or ["y", "total"] for wish in wishes]
    assert batch_sizes(gateway) == {_ROWS: 1}, "they did run together"


def test_no_batch_is_larger_than_it_may_be_and_no_request_is_cut(gateway: RunningGateway) -> None:
    sizes = [1, 3, 2, 2, 3, 1, 4, 6]
    answers = ask_together(gateway, [{"inputs": [rows_of(number, rows)]} for number, rows in enumerate(sizes)])
    assert [each["total"] for each in answers] == [[8.0 * number] * rows for number, rows in enumerate(sizes)]
    assert max(rows for rows in batch_sizes(gateway) if rows != 6) <= _ROWS, "what has more rows runs alone"


def test_the_batch_mates_of_a_caller_that_hung_up_are_answered(gateway: RunningGateway) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{gateway.url}/v2/models/doubling/infer", json={"inputs": [rows_of(9, 2)]}, timeout=0.3)
    answers = ask_together(gateway, [{"inputs": [rows_of(number)]} for number in range(_ROWS)])
    assert [each["y"] for each in answers] == [[2.0 * number] * 8 for number in range(_ROWS)]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how often each thread of a process has run")
def test_parallel_instances_that_have_nothing_to_do_do_not_even_wake_up(
    serve: Callable[..., RunningGateway], tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    for name in ("busy", "idle"):
        publish(repository, name, 1, {"model.onnx": add_model(1)})
    (repository / "idle" / "model.toml").write_text("[backend.onnxruntime]\ninstances = 4\n")
    gateway = serve(repository)
    pids = {name: gateway.deployments()[f"{name}/1@onnxruntime"]["pid"] for name in ("busy", "idle")}
    before = {name: wake_ups(pid) for name, pid in pids.items()}
    x = np.ones((1, 2), np.float32)
    while wake_ups(pids["busy"]) - before["busy"] < 300:  # so long as the other one takes to do some work
        assert gateway.infer("busy", x=x).status_code == 200
    assert wake_ups(pids["idle"]) - before["idle"] < 30, "its watchdog looks now and then"


def test_the_gateway_and_its_worker_cost_no_multiple_of_a_plain_fastapi_app(
    serve: Callable[..., RunningGateway], tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    publish(repository, "mlp", 1, {"model.onnx": add_model(1)})
    gateway = serve(repository)
    (worker,) = gateway.children()
    ours_s = cost_s(gateway.url, [gateway.process.pid, worker.pid])
    port = free_port()
    argv = [sys.executable, "-m", "loadtests.bench.programs.plain_fastapi"]
    model = repository / "mlp" / "1" / "model.onnx"
    with subprocess.Popen([*argv, str(model), str(port)], cwd=ROOT) as plain:
        try:
            url = f"http://127.0.0.1:{port}"
            gateway.until(lambda: httpx.get(f"{url}/openapi.json").status_code == 200, within_s=60)
            theirs_s = cost_s(url, [plain.pid])
        finally:
            plain.kill()
    assert ours_s < 2 * theirs_s, "measured: 0.75 to 1.5 times, requests one by one; the kernel's clock is coarse"


def cost_s(url: str, pids: Sequence[int]) -> float:
    """The processor time of a number of requests, in seconds; others on the machine disturb it less than the clock."""
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]}]}
    with httpx.Client(base_url=url) as client:
        for count in (20, _REQUESTS):  # the first ones warm up
            before_s = sum(map(cpu_s, pids))
            for _ in range(count):
                assert client.post("/v2/models/mlp/infer", json=body).status_code == 200
    return sum(map(cpu_s, pids)) - before_s


def cpu_s(pid: int) -> float:
    """The processor time of a process, in seconds."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def wake_ups(pid: int) -> int:
    """How often the threads of a process have gone to sleep."""
    statuses = (each.read_text() for each in Path(f"/proc/{pid}/task").glob("*/status"))
    return sum(int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0]) for status in statuses)
