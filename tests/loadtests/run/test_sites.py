"""Which deployments and settings a scenario comes to."""

from __future__ import annotations

from typing import Any

import pytest

from loadtests import scenario
from loadtests.run.sites import resolved, sites


def of(**changes: Any) -> scenario.Scenario:
    return scenario.read("open", {"gateway": {"repository": "model_repo"}, **changes})


def standing(backend: str, state: str) -> dict[str, Any]:
    return {"deployment": f"digits/1@{backend}", "model": "digits", "version": 1, "state": state}


def test_all_of_a_version_are_those_that_failed_too_and_not_those_that_were_taken_away() -> None:
    status = {
        "deployments": [standing("onnxruntime", "READY"), standing("tflite", "FAILED"), standing("x", "UNLOADED")]
    }

    assert resolved(of(deployments="all of digits/1"), status) == ["digits/1@onnxruntime", "digits/1@tflite"]
    assert resolved(of(deployments="all of digits/2"), status) == []


def test_a_setting_that_no_backend_has_is_told() -> None:
    with pytest.raises(ValueError, match=r"hardware: 'CUDAA': expected some of .*CPU, 1 thread"):
        sites(of(hardware=["CPU, 1 thread", "CUDAA"]), ["digits/1@onnxruntime"], 1)


def test_a_setting_needs_a_backend() -> None:
    with pytest.raises(ValueError, match=r"expected MODEL\[/VERSION\]@BACKEND where hardware is set; got 'digits'"):
        sites(of(hardware=["CPU, 1 thread"]), ["digits/1@onnxruntime", "digits"], 1)
