from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def test_tools_and_our_generator_take_turns_on_a_real_gateway(tmp_path: Path) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("the cross-check needs two cores")
    output = tmp_path / "crosscheck.json"
    argv = [sys.executable, "-m", "loadtests.crosscheck", "--only", "JSON", "gRPC, 1", "--rounds", "1"]
    ended = subprocess.run(
        [*argv, "--seconds", "0.2", "--output", str(output), "--markdown", str(tmp_path / "page.md")],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert output.exists(), ended.stderr
    scenarios = json.loads(output.read_text())["scenarios"]
    assert [each["name"] for each in scenarios] == ["V2 JSON, 8 connections", "V2 gRPC, 1 connection"]
    for each in scenarios:
        (ours,) = each["turns"]["torii"]
        assert ours["measured"]["failures"] == 0
        assert ours["measured"]["throughput"] > 0
        for tool, why in each["left_out"].items():
            assert "make crosscheck-tools" in why, f"{tool} could not measure: {why}"
            assert f"{tool} is left out" in ended.stdout
            assert f"{tool} is left out" in (tmp_path / "page.md").read_text()


def test_a_model_that_is_not_there_is_said_without_a_traceback(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "loadtests.crosscheck", "--deployment", "nosuch/1@onnxruntime"]
    ended = subprocess.run(argv, cwd=ROOT, check=False, capture_output=True, text=True, timeout=120)

    assert ended.returncode == 1
    assert "nosuch" in ended.stderr
    assert "Traceback" not in ended.stderr
