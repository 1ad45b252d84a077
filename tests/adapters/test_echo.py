"""The model that answers its inputs, for tests and measurements."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.echo import EchoRuntime
from adapters.errors import LoadFailed

X = {"name": "x", "datatype": "FP32", "shape": [None, 2]}


def test_every_answer_is_its_input(tmp_path: Path) -> None:
    (tmp_path / "echo.json").write_text(json.dumps({"inputs": [X]}))
    session = EchoRuntime().load(tmp_path / "echo.json", {})
    assert session.signature.inputs == session.signature.outputs
    inputs = {"x": np.ones((3, 2), np.float32)}
    session.signature.check(inputs)
    assert session.run(inputs)["x"] is inputs["x"]


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ({}, "inputs"),
        ({"inputs": [{**X, "datatype": "FP99"}]}, "FP99"),
        ({"inputs": [{**X, "shape": ["n"]}]}, "shape"),
        ({"inputs": [X], "delay_s": 1}, "delay_s"),
        ([], "object"),
    ],
)
def test_a_plan_that_is_wrong_is_refused_with_its_key(tmp_path: Path, plan: Any, says: str) -> None:
    (tmp_path / "echo.json").write_text(json.dumps(plan))
    with pytest.raises(LoadFailed, match=rf"^echo\.json: .*{says}"):
        EchoRuntime().load(tmp_path / "echo.json", {})
