"""Tables for people: what others wrote into a name cannot style or break them."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console, RenderableType

from gateway.terminal import tables


def shown(*what: RenderableType, width: int = 160) -> str:
    console = Console(file=StringIO(), width=width, color_system=None)
    for each in what:
        console.print(each)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def deployment(name: str, state: str = "READY", reason: str = "") -> dict[str, Any]:
    runtime = {"runtime": "onnxruntime 1.32", "pid": 7, "rss_bytes": 50 * 2**20, "digest": "ab" * 32}
    return {"deployment": name, "state": state, "reason": reason, **runtime}


def test_a_status_shows_each_deployment_on_its_line_and_why_it_is_not_ready() -> None:
    status = {
        "repository": "models [v2]",
        "deployments": [deployment("digits/1@tflite"), deployment("digits/2@onnxruntime", "FAILED", "no [bold]graph")],
    }
    lines = shown(tables.deployments(status), *tables.reasons(status)).splitlines()
    assert lines[0].strip() == "Repository models [v2]"
    assert [line.split()[:2] for line in lines if "onnxruntime 1.32" in line] == [
        ["digits/1@tflite", "READY"],
        ["digits/2@onnxruntime", "FAILED"],
    ]
    assert "50 MB" in lines[-3]
    assert "abababababab" in lines[-3]
    assert lines[-1] == "digits/2@onnxruntime: no [bold]graph"


def test_several_frontends_have_a_line_each_and_a_single_one_has_none() -> None:
    serving = {"number": 1, "state": "serving", "pid": 7, "rss_bytes": 2**20, "requests": 5, "deaths": 0}
    starting = {"number": 2, "state": "starting", "pid": None, "rss_bytes": None, "requests": 0, "deaths": 3}
    assert tables.frontends({"frontends": [serving, starting]}) == [
        "frontend 1: serving, pid 7, RSS 1 MB, requests 5",
        "frontend 2: starting, died 3 times",
    ]
    assert tables.frontends({"frontends": [serving]}) == []


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(None, ""), (0, "0 kB"), (2048, "2 kB"), (2**20, "1 MB"), (3 * 2**30, "3072 MB")]
)
def test_sizes_are_written_as_people_read_them(size_bytes: int | None, text: str) -> None:
    assert tables.size(size_bytes) == text


@pytest.mark.parametrize(
    ("output", "answers"),
    [
        ({"datatype": "FP32", "shape": [1, 4], "data": [0.1, 0.7, 0.15, 0.05]}, ["argmax 1 (0.7), 2 (0.15), 0 (0.1)"]),
        ({"datatype": "FP32", "shape": [2, 2], "data": [1.0, 0.0, 0.0, 1.0]}, ["argmax 0 (1)", "argmax 1 (1)"]),
        ({"datatype": "FP32", "shape": [1, 2], "data": ["NaN", 1.0]}, ["NaN, 1.0"]),
        ({"datatype": "INT64", "shape": [3], "data": [7, 8, 9]}, ["7, 8, 9"]),
        ({"datatype": "BYTES", "shape": [1], "data": ["[red]seven"]}, ["[red]seven"]),
        ({"datatype": "INT64", "shape": [20], "data": list(range(20))}, ["0, 1, 2, 3, 4, 5, 6, 7, … 20 values"]),
        ({"datatype": "FP32", "shape": [0, 2], "data": []}, []),
    ],
    ids=str,
)
def test_an_answer_is_shown_row_by_row(output: dict[str, Any], answers: list[str]) -> None:
    text = shown(tables.outputs({"outputs": [{"name": "y", **output}]}))
    assert all(answer in text for answer in answers)
    assert len(text.splitlines()) == 4 + len(answers)


def test_what_a_name_says_is_no_markup() -> None:
    row = ("digits/1@tflite", "[link=http://evil]1/model.tflite[/link]", "1 kB", "would fail: [/] odd")
    text = shown(tables.plans([row]))
    assert "[link=http://evil]1/model.tflite[/link]" in text
    assert "would fail: [/] odd" in text
