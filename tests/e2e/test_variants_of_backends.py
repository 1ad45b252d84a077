"""Quantized and converted files beside a plain one: each a deployment of its own, and none the default by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort

from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model

X = np.array([[1, 2]], np.float32)


def as_ort(model: bytes, file: Path) -> None:
    """What `.ort` files are: the same model, as ONNX Runtime keeps it for phones."""
    settings = ort.SessionOptions()
    settings.optimized_model_filepath = str(file)
    settings.add_session_config_entry("session.save_model_format", "ORT")
    ort.InferenceSession(model, settings)


def test_variants_are_served_beside_the_plain_file_and_asked_for_by_name(
    tmp_path: Path, serve: Callable[..., RunningGateway]
) -> None:
    folder = tmp_path / "repository" / "m" / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(add_model(1))
    (folder / "model.int8.onnx").write_bytes(add_model(2))
    as_ort(add_model(3), folder / "model.ort")
    only = tmp_path / "repository" / "n" / "1"
    only.mkdir(parents=True)
    (only / "model.int8.onnx").write_bytes(add_model(4))
    gateway = serve(SETTLE_S="0")
    assert {name: each["state"] for name, each in gateway.deployments().items()} == {
        "m/1@onnxruntime": "READY",
        "m/1@onnxruntime-int8": "READY",
        "m/1@onnxruntime-ort": "READY",
        "n/1@onnxruntime-int8": "READY",
    }
    asked = {"m": 1, "m@onnxruntime": 1, "m@onnxruntime-int8": 2, "m@onnxruntime-ort": 3, "n": 4}
    for model, constant in asked.items():
        assert gateway.outputs(model, x=X)["y"].tolist() == [[1 + constant, 2 + constant]]
    assert gateway.infer("n", x=X).headers["torii-served-by"] == "n/1@onnxruntime-int8"
    metrics = gateway.client.get(f"{gateway.control}/metrics").text
    assert (
        'backend="onnxruntime-int8",model="m"' in metrics
        or 'model="m",version="1",backend="onnxruntime-int8"' in metrics
    )
    (folder / "model.onnx").unlink()
    gateway.until(lambda: gateway.infer("m", x=X).headers["torii-served-by"] == "m/1@onnxruntime-int8")
