from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest

from loadtests.bench.__main__ import chosen
from loadtests.bench.comparisons import Part

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the benchmark needs two cores")
def test_every_protocol_answers_the_benchmark(tmp_path: Path) -> None:
    output = tmp_path / "mlp.json"
    arguments = ["--seconds", "0.1", "--rounds", "1", "--connections", "1", "--output", str(output)]
    parts = ["--only", "raw,torii,asgi,fastapi"]
    command = [sys.executable, "-m", "loadtests.bench", "mlp", *arguments, *parts]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)

    assert ended.returncode == 0, ended.stderr
    found = json.loads(output.read_text())
    contenders = {row["contender"] for row in found["rows"]}
    torii = {"Torii V2 JSON", "Torii V2 binary", "Torii V2 gRPC", "Torii TF Serving JSON"}
    assert contenders == torii | {"raw onnxruntime", "bare ASGI app", "plain FastAPI"}
    assert set(found["servers"]) == {"Torii", "bare ASGI", "plain FastAPI"}
    assert all(row["medians"]["requests"] > 0 for row in found["rows"])
    assert found["command"].startswith("python -m loadtests.bench mlp")


def part(name: str, why: str | None = None) -> Part:
    return Part(name, lambda: nullcontext([]), lambda: why)


PARTS = (part("raw"), part("torii"), part("triton", "it is not installed"))


def test_what_cannot_run_is_left_out_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert [each.name for each in chosen(PARTS, (), ())] == ["raw", "torii"]
    assert capsys.readouterr().err == "triton is left out: it is not installed\n"


@pytest.mark.parametrize(
    ("only", "skip", "left"),
    [(("torii",), (), ["torii"]), ((), ("torii", "triton"), ["raw"]), (("raw", "torii"), ("raw",), ["torii"])],
)
def test_parts_are_chosen_by_name(
    only: Sequence[str], skip: Sequence[str], left: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert [each.name for each in chosen(PARTS, only, skip)] == left
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("only", "skip", "says"),
    [(("toril",), (), "out of raw, torii, triton; got toril"), (("raw",), ("raw",), "nothing is left")],
)
def test_a_choice_that_leaves_nothing_is_refused(only: Sequence[str], skip: Sequence[str], says: str) -> None:
    with pytest.raises(SystemExit, match=says):
        chosen(PARTS, only, skip)
