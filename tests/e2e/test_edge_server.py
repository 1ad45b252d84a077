"""The edge server as users start it: beside a gateway, and by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from gateway.edge.channel_file import Channel
from tests.e2e.gateway import RunningGateway, free_port
from tests.gateway.edge.server.folder import Folder, rollout
from tests.proofs.edge_server import serving
from tests.waiting import command

TARGET = "digits/2/digits-2-android.zip"


def _folder(path: Path) -> Folder:
    folder = Folder(path)
    for version in (1, 2):
        folder.bundle("digits", version, b"%d" % version * 1000)
    folder.write()
    folder.channels("digits", stable=Channel(current=1, rollout=rollout(2, percent=100)))
    return folder


def _report(device: str, passed: bool) -> dict[str, Any]:
    return {"id": device, "model": "digits", "version": 2, "target": TARGET, "kind": "self_check", "passed": passed}


def _version(url: str) -> int:
    answer = httpx.get(f"{url}/edge/v1/models/digits/check", params={"os": "android", "id": "a"}, timeout=30)
    return int(answer.json()["version"])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningGateway, str]]:
    """A gateway without models that delivers to devices, and where these ask."""
    place, port = tmp_path_factory.mktemp("edge"), free_port()
    (place / "repository").mkdir()
    settings = {"EDGE": str(_folder(place / "edge").path), "EDGE_PORT": str(port)}
    with RunningGateway.running(place / "repository", **settings) as gateway:
        yield gateway, f"http://127.0.0.1:{port}"


def test_a_gateway_serves_devices_shows_it_on_a_page_and_takes_a_rollout_back(
    running: tuple[RunningGateway, str],
) -> None:
    gateway, url = running
    assert gateway.until(lambda: _version(url)) == 2
    reports = [_report(f"device-{number}", passed=True) for number in range(7)]
    answer = httpx.post(f"{url}/edge/v1/reports", json={"reports": reports}, timeout=30)
    assert answer.json() == {"accepted": 7, "duplicates": 0, "refused": []}

    def page() -> str:
        return gateway.client.get(f"{gateway.control}/edge").text

    gateway.until(
        lambda: "digits, channel stable" in page() and '<td data-label="Devices that judged" class="n">7' in page()
    )
    metrics = gateway.client.get(f"{gateway.control}/metrics").text
    counted = 'torii_edge_reports_total{channel="stable",kind="judged",model="digits",passed="true",version="2"} 7.0'
    assert counted in metrics

    [act] = [line for line in page().splitlines() if 'value="halt:' in line]
    form = {"act": act.split('value="')[1].split('"')[0], "model": "digits", "channel": "stable", "reason": "too big"}
    done = gateway.client.post(f"{gateway.control}/edge", data=form)
    assert (done.status_code, done.headers["location"]) == (303, "/edge?done=halt#notice")
    gateway.until(lambda: _version(url) == 1)
    again = gateway.client.post(f"{gateway.control}/edge", data=form)
    assert again.status_code == 409
    gateway.until(lambda: "rollout halted" in page() and "too big" in page())


def test_an_edge_server_that_is_killed_comes_back_and_ends_with_its_gateway(
    running: tuple[RunningGateway, str],
) -> None:
    gateway, url = running

    def child() -> psutil.Process:
        [found] = [each for each in gateway.children() if "gateway.edge.server.main" in command(each)]
        return found

    gateway.until(lambda: _version(url) == 1)
    before = child().pid
    os.kill(before, signal.SIGKILL)
    gateway.until(lambda: _version(url) == 1)  # connections wait in the socket meanwhile
    after = child()
    assert after.pid != before
    assert gateway.stop() == 0
    assert not after.is_running()


def test_by_itself_it_ends_in_order_and_keeps_what_was_reported(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "edge")
    with serving(folder.path) as server:
        body = {"reports": [_report("a", passed=True)]}
        assert httpx.post(f"{server.url}/edge/v1/reports", json=body, timeout=30).status_code == 202
        assert server.stop() == 0
        server.start()
        assert httpx.post(f"{server.url}/edge/v1/reports", json=body, timeout=30).status_code == 202

        def saved() -> dict[str, Any] | None:
            status = httpx.get(f"{server.url}/edge/v1/status", timeout=30).json()
            evidence: dict[str, Any] = status["models"]["digits"]["stable"]["evidence"]["2"]
            return evidence if status["reports"]["waiting"] == 0 else None

        [evidence] = server.until(saved).values()
        assert evidence == {"judged": 1, "self_check_passed": 1}


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "edge", "serve", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "has no folder metadata; torii edge init" in done.stderr
