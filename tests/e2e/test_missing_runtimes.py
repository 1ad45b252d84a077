"""A runtime that is not installed leaves the other backends serving, and status says how to get it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.gateway import RunningGateway

ROOT = Path(__file__).resolve().parents[2]
HIDE = """
import importlib.machinery as machinery
hidden = {"ai_edge_litert", "tflite_runtime", "tensorflow", "tensorflow_serving", "torch", "ts", "aiohttp"}
find = machinery.PathFinder.find_spec
machinery.PathFinder.find_spec = classmethod(
    lambda cls, name, path=None, target=None: None if name.split(".")[0] in hidden else find(name, path, target)
)
"""


@pytest.fixture
def bare(serve: Callable[..., RunningGateway], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunningGateway:
    """A gateway in an environment that has ONNX Runtime alone."""
    (tmp_path / "hiding").mkdir()
    (tmp_path / "hiding" / "sitecustomize.py").write_text(HIDE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "hiding"), str(ROOT)]))
    return serve(ROOT / "model_repo")


@pytest.mark.parametrize(
    ("backend", "extra"), [("tflite", "tflite"), ("tfserving", "tensorflow"), ("torchserve", "torchserve")]
)
def test_status_says_what_is_missing_and_how_to_get_it(bare: RunningGateway, backend: str, extra: str) -> None:
    cure = f"pip install 'torii-gateway[{extra}]'"
    (missing,) = [each["missing"] for each in bare.status()["backends"] if each["backend"] == backend]
    assert cure in missing
    assert cure in bare.deployments()[f"digits/1@{backend}"]["reason"]
    response = bare.infer(f"digits@{backend}", image=np.zeros((1, 8, 8), np.float32))
    assert response.status_code == 503
    assert cure in response.json()["error"]
    served = bare.infer("digits/versions/1", image=np.zeros((1, 8, 8), np.float32))
    assert served.headers["torii-served-by"] == "digits/1@onnxruntime"
