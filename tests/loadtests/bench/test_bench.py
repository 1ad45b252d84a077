from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the benchmark needs two cores")
def test_every_protocol_answers_the_benchmark(tmp_path: Path) -> None:
    output = tmp_path / "mlp.json"
    arguments = ["--seconds", "0.1", "--rounds", "1", "--connections", "1", "--output", str(output)]
    command = [sys.executable, "-m", "loadtests.bench", "mlp", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)

    assert ended.returncode == 0, ended.stderr
    found = json.loads(output.read_text())
    contenders = {row["contender"] for row in found["rows"]}
    assert {"Torii V2 JSON", "Torii V2 binary", "Torii V2 gRPC", "Torii TF Serving JSON"} < contenders
    assert all(row["medians"]["requests"] > 0 for row in found["rows"])
    assert found["command"].startswith("python -m loadtests.bench mlp")
