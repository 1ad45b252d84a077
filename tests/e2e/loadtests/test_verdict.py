"""`torii compare` against a real gateway: measured, told, written and kept."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from gateway.control.verdict_form import read_verdict
from loadtests.verdict.document import Estimate, decode
from tests.e2e.gateway import RunningGateway
from tests.e2e.loadtests.command import ROOT, at

_SHORT = ("--quick", "--rounds", "2", "--seconds", "0.25", "--latency-target", "1us", "--rate", "50")
"""A target that none meets needs no search, which takes long."""


def compare(*argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", "compare", *argv]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_what_is_ready_is_measured_told_written_and_shown_on_the_models_page(
    tmp_path: Path, serve: Callable[..., RunningGateway]
) -> None:
    version = tmp_path / "repository/digits/1"
    version.mkdir(parents=True)
    for name in ("model.onnx", "golden.npz"):
        shutil.copy(ROOT / "model_repo/digits/1" / name, version)
    (version / "model.tflite").write_text("no model")
    gateway = serve()
    files = tmp_path / "verdict.json", tmp_path / "verdict.html"
    ended = compare("digits/1", *_SHORT, *at(gateway), "--json", str(files[0]), "--html", str(files[1]))
    assert ended.returncode == 1, ended.stderr
    verdict = decode(files[0].read_bytes())
    right, broken = verdict.rows
    assert (right.backend, right.state, right.why) == ("onnxruntime", "measured", "")
    assert right.artifact_bytes == (version / "model.onnx").stat().st_size
    measured = (right.load_s, right.memory_bytes, right.alone_p50_ms, right.alone_p99_ms, right.p50_ms, right.p99_ms)
    assert all(measured)
    assert right.highest_rate == Estimate(0, 0, 0)
    assert right.accuracy
    assert right.accuracy.value == 1.0
    assert right.agreement
    assert (right.agreement.within, right.agreement.argmax) == (True, 1.0)
    assert verdict.reference == "golden outputs"
    assert (broken.backend, broken.state) == ("tflite", "not ready")
    told = " ".join(ended.stdout.split())
    assert "digits/1@tflite: not ready: FAILED" in told
    assert "digits/1@onnxruntime: no rate keeps its p99 within 0.00100 ms" in told
    assert "cost of a" in ended.stdout
    assert "<svg" in files[1].read_text()
    kept = gateway.client.get(f"{gateway.control}/v1/models/digits/versions/1/verdict")
    assert read_verdict(kept.text, "digits", 1) == read_verdict(files[0].read_text(), "digits", 1)
    page = gateway.client.get(f"{gateway.control}/models/digits", headers={"accept": "text/html"}).text
    assert "Which backend should serve it" in page
    assert "Highest rate, 1/s" in page
