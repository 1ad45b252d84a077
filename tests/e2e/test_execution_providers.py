"""Execution providers run models for real, in a worker of an environment that has them, or say why they do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from adapters.onnx_runtime import OnnxRuntime
from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, publish

ROOT = Path(__file__).resolve().parents[2]
OPENVINO = """
[backend.onnxruntime]
intra_op_threads = 1
execution_providers = ["OpenVINOExecutionProvider", "CPUExecutionProvider"]
"""


@pytest.fixture
def openvino() -> Path:
    """The interpreter of the environment that has OpenVINO."""
    if not (ROOT / ".hardware/openvino/.installed").exists():
        pytest.skip("the environment with OpenVINO is not installed: make hardware-openvino")
    return ROOT / ".hardware/openvino/bin/python"


@pytest.fixture
def repository(tmp_path: Path, test_data: Callable[[str], Path]) -> Path:
    """digits and mnist-8, to be run by OpenVINO."""
    folder = tmp_path / "repository"
    for model, path in (
        ("digits", ROOT / "model_repo/digits/1/model.onnx"),
        ("mnist", test_data("onnx/mnist-8/model.onnx")),
    ):
        publish(folder, model, 1, {"model.onnx": path.read_bytes()})
        (folder / model / "model.toml").write_text(OPENVINO)
    return folder


def test_openvino_gives_the_answers_of_the_cpu(
    openvino: Path, repository: Path, test_data: Callable[[str], Path]
) -> None:
    with np.load(ROOT / "model_repo/digits/1/golden.npz") as golden:
        images, right = golden["inputs/image"], golden["outputs/probabilities"]
    with RunningGateway.running(repository, openvino, SETTLE_S="0") as gateway:
        gateway.wait_ready(within_s=120)
        for rows in (1, 5, len(images)):
            answer = gateway.outputs("digits", image=images[:rows])["probabilities"]
            np.testing.assert_allclose(answer, right[:rows], atol=1e-4)
        on_cpu = OnnxRuntime().load(repository / "mnist/1/model.onnx", {"intra_op_threads": 1})
        for digit in range(10):
            image = Image.open(test_data(f"inputs/mnist_torchserve/{digit}.png")).convert("L")
            pixels = np.asarray(image, np.float32).reshape(1, 1, 28, 28)
            (scores,) = gateway.outputs("mnist", Input3=pixels).values()
            np.testing.assert_allclose(scores, on_cpu.run({"Input3": pixels})["Plus214_Output_0"], atol=1.0)
            assert scores.argmax() == digit
        worker = psutil.Process(gateway.deployments()["mnist/1@onnxruntime"]["pid"])
        assert any("libopenvino" in each.path for each in worker.memory_maps())


def test_a_provider_that_is_not_installed_fails_the_version_with_those_that_are(
    serve: Callable[..., RunningGateway], tmp_path: Path
) -> None:
    publish(tmp_path / "repository", "add", 1, {"model.onnx": add_model(1)})
    (tmp_path / "repository/add/model.toml").write_text(OPENVINO)
    gateway = serve(SETTLE_S="0")
    told = gateway.deployments()["add/1@onnxruntime"]
    assert told["state"] == "FAILED"
    assert "OpenVINOExecutionProvider not in this onnxruntime, which has" in told["reason"]
