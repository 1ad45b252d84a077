"""Models that others made, dropped into a folder, answer as their makers say."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from tests.e2e.gateway import RunningGateway


@pytest.fixture(scope="module")
def others(test_data: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    repository = tmp_path_factory.mktemp("others")
    for source, target in {
        "onnx/mnist-8/model.onnx": "mnist-8/1/model.onnx",
        "tflite/coral/mobilenet_v2_1.0_224_quant.tflite": "mobilenet/1/mobilenet_v2_1.0_224_quant.tflite",
    }.items():
        (repository / target).parent.mkdir(parents=True)
        shutil.copy(test_data(source), repository / target)
    shutil.copytree(test_data("tf/serving/saved_model_half_plus_two_cpu"), repository / "half_plus_two")
    with RunningGateway.start(repository) as gateway:
        gateway.wait_ready(within_s=60)
        yield gateway


def test_mnist_answers_as_its_test_set_says(others: RunningGateway, test_data: Callable[[str], Path]) -> None:
    def tensor(name: str) -> np.ndarray:
        return numpy_helper.to_array(onnx.load_tensor(test_data(f"onnx/mnist-8/test_data_set_0/{name}.pb")))

    (answer,) = others.outputs("mnist-8", Input3=tensor("input_0")).values()
    np.testing.assert_allclose(answer, tensor("output_0"), atol=1e-2)


@pytest.mark.parametrize("digit", range(10))
def test_mnist_reads_the_ten_digits(others: RunningGateway, test_data: Callable[[str], Path], digit: int) -> None:
    image = np.asarray(Image.open(test_data(f"inputs/mnist_torchserve/{digit}.png")).convert("L"), np.float32)
    (answer,) = others.outputs("mnist-8", Input3=image.reshape(1, 1, 28, 28)).values()
    assert int(np.argmax(answer)) == digit


def test_half_plus_two_halves_and_adds_two(others: RunningGateway) -> None:
    metadata = others.get("/v2/models/half_plus_two").json()
    assert metadata["versions"] == ["123"]
    name = metadata["inputs"][0]["name"]
    (answer,) = others.outputs("half_plus_two/versions/123", **{name: np.array([[1], [2], [5]], np.float32)}).values()
    np.testing.assert_allclose(answer.ravel(), [2.5, 3.0, 4.5])


def test_mobilenet_sees_the_cat(others: RunningGateway, test_data: Callable[[str], Path]) -> None:
    name = others.get("/v2/models/mobilenet").json()["inputs"][0]["name"]
    cat = Image.open(test_data("inputs/cat.bmp")).convert("RGB").resize((224, 224), Image.Resampling.LANCZOS)
    (answer,) = others.outputs("mobilenet", **{name: np.asarray(cat, np.uint8)[np.newaxis]}).values()
    labels = test_data("tflite/coral/imagenet_labels.txt").read_text().splitlines()
    best = int(np.argmax(answer))
    assert "Egyptian cat" in labels[best]
    assert answer.ravel()[best] / 256 == pytest.approx(0.746, abs=0.01)
