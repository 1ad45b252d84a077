"""`locust -f loadtests/locustfile.py` as people run it, against a real gateway."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.e2e.gateway import RunningGateway, free_port
from tests.e2e.loadtests.command import ROOT
from tests.waiting import children, gone

TFLITE, ONNX = "digits/1@tflite", "digits/1@onnxruntime"


def locust(gateway: RunningGateway, *argv: str) -> subprocess.Popen[str]:
    """Locust, with what it says on its standard error."""
    port = gateway.grpc.rpartition(":")[2]
    fixed = (
        sys.executable,
        "-m",
        "locust",
        "-f",
        "loadtests/locustfile.py",
        "--host",
        gateway.url,
        "--grpc-port",
        port,
    )
    return subprocess.Popen([*fixed, *argv], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def headless(gateway: RunningGateway, *argv: str) -> tuple[int, str, dict[str, tuple[int, int]]]:
    """A run of two seconds: its exit status, what it says, and by name how many requests came, and failed."""
    with locust(gateway, "--headless", "--run-time", "2s", "--only-summary", *argv) as process:
        _, said = process.communicate(timeout=60)
    rows = re.findall(r"^(?:POST|gRPC)? +(\S.*?) +(\d+) +(\d+)\(", said, re.MULTILINE)
    return process.returncode, said, {name: (int(requests), int(failures)) for name, requests, failures in rows}


def succeeded(gateway: RunningGateway, deployment: str) -> int:
    name, _, version = deployment.partition("@")[0].partition("/")
    (told,) = gateway.get(f"/v2/models/{name}@{deployment.partition('@')[2]}/versions/{version}/stats").json()[
        "model_stats"
    ]
    return int(told["inference_stats"]["success"]["count"])


def within(condition: Callable[[], Any], seconds: float = 20) -> Any:
    give_up_s = time.monotonic() + seconds
    while True:
        try:
            if found := condition():
                return found
        except httpx.TransportError:
            pass
        assert time.monotonic() < give_up_s
        time.sleep(0.05)


def test_closed_users_ask_one_after_the_other_and_each_request_is_counted_once(digits: RunningGateway) -> None:
    before = succeeded(digits, TFLITE)
    status, said, rows = headless(digits, "-u", "2", "-r", "2", "--deployment", TFLITE)

    assert status == 0, said
    counted, failed = rows[f"{TFLITE} v2-json"]
    assert counted > 2
    assert failed == 0
    assert succeeded(digits, TFLITE) == before + counted + 1  # the probe that comes first


def test_open_users_of_several_processes_add_up(digits: RunningGateway) -> None:
    before = succeeded(digits, ONNX)
    argv = ("-u", "4", "-r", "4", "--processes", "2", "--deployment", ONNX, "--rate-per-user", "10", "V2GrpcOpen")
    status, said, rows = headless(digits, *argv)

    assert status == 0, said
    counted, failed = rows[f"{ONNX} v2-grpc"]
    assert 2 < counted < 200  # 40/s at most, by chance more
    assert failed == 0
    assert succeeded(digits, ONNX) == before + counted + 2


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("--deployment", "nothing"), "model 'nothing' is not in the repository"),
        (("--arrival", "open", "--rate-per-user", "nan"), "rate-per-user: expected"),
    ],
)
def test_a_load_that_cannot_begin_says_why_and_fails(digits: RunningGateway, argv: tuple[str, ...], told: str) -> None:
    status, said, _ = headless(digits, "-u", "1", *argv)

    assert status == 1
    assert told in said
    assert "Traceback" not in said


def test_the_web_page_asks_for_everything_starts_a_swarm_and_stops_it(digits: RunningGateway) -> None:
    port = free_port()
    page = f"http://127.0.0.1:{port}"
    process = locust(digits, "--web-host", "127.0.0.1", "--web-port", str(port))
    try:
        html = within(lambda: httpx.get(page).text)
        for option in ("deployment", "dialect", "payload", "arrival", "rate_per_user", "shape"):
            assert f'"{option}": {{"choices"' in html
        form = {"user_count": 2, "spawn_rate": 2, "host": digits.url, "deployment": TFLITE, "dialect": "tfs-rest"}
        assert httpx.post(f"{page}/swarm", data=form).json()["success"]
        within(lambda: requests(page).get(f"{TFLITE} tfs-rest", 0) > 2)
        (generator,) = [each for each in children(process.pid) if "loadtests.engine" in each.cmdline()]
        assert httpx.post(f"{page}/stop").json()["success"]
        within(lambda: gone(generator.pid))
        assert not httpx.get(f"{page}/stats/requests").json()["errors"]
    finally:
        process.terminate()
        _, said = process.communicate(timeout=20)
    assert "Traceback" not in said


def requests(page: str) -> dict[str, int]:
    told = httpx.get(f"{page}/stats/requests").json()["stats"]
    return {each["name"]: each["num_requests"] for each in told}
