"""A model is tried in a process of its own, which it may take with it."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.edge_client.repository import golden_data, make_bundle
from torii_edge.bundle import unpack
from torii_edge.self_check import Checked, check_here, check_in_child, difference

PLUGIN = """
import os, time
import numpy as np
from torii_edge import runtimes

class Rogue:
    def __init__(self, path, manifest):
        self.act = path.read_text()
    def run(self, inputs):
        print("a runtime that talks", flush=True)
        if self.act == "crashes":
            os.abort()
        if self.act == "hangs":
            time.sleep(600)
        if self.act == "exits":
            os._exit(7)
        if self.act == "raises":
            raise RuntimeError("cannot run this")
        return {"y": inputs["x"] * 1.5}

runtimes._MODULES = {"rogue": (("os",), Rogue)}
"""


@pytest.mark.parametrize(
    ("act", "within_s", "reason"),
    [
        ("works", 60, ""),
        ("crashes", 60, "SIGABRT"),
        ("exits", 60, "status 7"),
        ("raises", 60, "RuntimeError: cannot run this"),
        ("hangs", 3, "did not finish its golden data within 3 s"),
    ],
)
def test_whatever_a_model_does_to_its_process_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: str, within_s: float, reason: str
) -> None:
    golden = golden_data({"x": np.ones((1, 2), "f4")}, {"y": np.full((1, 2), 1.5, "f4")})
    (tmp_path / "bundle.zip").write_bytes(make_bundle(1, act.encode(), golden=golden, runtime="rogue"))
    (tmp_path / "into").mkdir()
    unpack(tmp_path / "bundle.zip", tmp_path / "into")
    (tmp_path / "sitecustomize.py").write_text(PLUGIN)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    checked = check_in_child(tmp_path / "into", within_s)
    assert checked.passed is (act == "works")
    assert reason in checked.reason
    assert bool(checked.latency_ms) is checked.passed


def test_a_bundle_of_a_runtime_that_is_not_here_does_not_pass(tmp_path: Path) -> None:
    (tmp_path / "bundle.zip").write_bytes(make_bundle(1, b"1.5", runtime="abacus"))
    (tmp_path / "into").mkdir()
    unpack(tmp_path / "bundle.zip", tmp_path / "into")
    assert check_here(tmp_path / "into", {}) == Checked(False, "runtime 'abacus' is not installed; there is none")


F = np.array([[0.1, 0.9], [0.8, 0.2]], "f4")


@pytest.mark.parametrize(
    ("expected", "got", "tolerance", "reason"),
    [
        (F, F + np.float32(1e-4), {"max_abs": 1e-3, "argmax": 1.0}, ""),
        (F, F + np.float32(0.01), {"max_abs": 1e-3}, "differs by 0.01"),
        (F, F[:, ::-1], {"max_abs": 1.0, "argmax": 1.0}, "same largest value in 0.0% of the rows"),
        (F, F[:, ::-1], {"max_abs": 1.0}, ""),
        (F, F[:1], {"max_abs": 1.0}, r"expected shape \[2, 2\], got \[1, 2\]"),
        (F, F * np.nan, {"max_abs": 1e9}, "differs by inf"),
        (F * np.nan, F * np.nan, {"max_abs": 0.0}, ""),
        (F * np.inf, F * np.inf, {"max_abs": 0.0}, ""),
        (F * np.inf, F, {}, "differs by inf"),
        (np.array([1, 2]), np.array([1, 3]), {}, "differs by 1"),
        (np.array([1, 2]), np.array([1, 3]), {"max_abs": 1.0}, ""),
        (np.array([True]), np.array([False]), {"max_abs": 1.0}, "other values"),
        (np.array(["a"], object), np.array([b"a"], object), {}, ""),
        (np.array(["a"], object), np.array([b"b"], object), {}, "other values"),
    ],
)
def test_answers_are_held_against_the_golden_ones(
    expected: Any, got: Any, tolerance: Mapping[str, float], reason: str
) -> None:
    told = difference({"y": expected}, {"y": got}, tolerance)
    assert re.search(reason, told) if reason else told == ""


def test_an_output_that_is_missing_is_told() -> None:
    assert difference({"y": F}, {}, {}) == "output 'y' is missing"
