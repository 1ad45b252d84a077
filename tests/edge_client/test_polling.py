"""When a device asks again, and what it imports."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.edge_client.repository import EdgeServer
from torii_edge import Device
from torii_edge.command import _parser, _watch
from torii_edge.offers import poll_s_of
from torii_edge.polling import next_wait


def test_the_servers_wish_is_obeyed_with_some_jitter() -> None:
    assert [next_wait(100, 0, chance) for chance in (0, 0.5, 1)] == pytest.approx([80, 100, 120])


def test_each_failure_doubles_the_wait_up_to_a_day() -> None:
    assert [next_wait(100, failures, 0.5) for failures in (1, 2, 6, 7, 5000)] == pytest.approx(
        [200, 400, 6400, 6400, 6400]
    )
    assert next_wait(3600, 20, 0.5) == pytest.approx(86400)
    assert next_wait(7 * 86400, 3, 0.5) == pytest.approx(7 * 86400), "but never sooner than the server wishes"


def test_who_never_reached_a_server_tries_soon() -> None:
    assert next_wait(None, 1, 0.5) == pytest.approx(120)


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        (60, 60.0),
        (0, 1.0),
        (-5, 1.0),
        (10**12, 7 * 86400.0),
        (float("nan"), None),
        ("60", None),
        (True, None),
        (None, None),
    ],
)
def test_a_wish_is_taken_within_reason(said: object, taken: float | None) -> None:
    assert poll_s_of(said) == taken


def test_watch_updates_as_often_as_the_server_wishes_until_it_is_told_to_stop(
    server: EdgeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waits: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0)
            if len(waits) == 2:
                server.stop()
            if len(waits) == 4:
                self.set()
            return self.is_set()

    monkeypatch.setattr("torii_edge.command.Event", Stop)
    monkeypatch.setattr("torii_edge.command.signal.signal", lambda *_: None)
    server.offered = None
    root = tmp_path / "root.json"
    root.write_bytes(server.repository.trusted_root)
    given = ["watch", str(tmp_path / "kept"), "--url", server.url, "--model", "digits", "--root", str(root)]
    _watch(_parser().parse_args(given))
    assert 0.8 * 3600 <= waits[0] <= 1.2 * 3600
    assert waits[3] > waits[2] > 0, "it backs off while the server is away"
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 2, "what does not change is said once"
    assert told[0].startswith("nothing for this device")
    assert told[1].startswith("offline")


def test_a_device_knows_itself() -> None:
    facts = dict(Device(app="2.1").facts("tflite"))
    assert facts["os"] in {"linux", "macos", "windows"}
    assert facts["runtime"] == "tflite"
    assert int(facts["ram_mb"]) > 100
    assert "id" not in facts
    assert dict(Device("linux", "", None).facts("tflite")) == {"os": "linux", "runtime": "tflite"}


def test_the_client_needs_nothing_of_the_gateway() -> None:
    source = Path(__file__).resolve().parents[2] / "edge/python"
    program = (
        f"import sys; sys.path.insert(0, {str(source)!r}); import torii_edge.command\n"
        "found = {each.partition('.')[0] for each in sys.modules}\n"
        "heavy = {'gateway', 'adapters', 'torch', 'tensorflow', 'onnxruntime', 'pydantic', 'httpx', 'msgspec'}\n"
        "assert not found & heavy, found & heavy"
    )
    ended = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
