"""Requests that come at the same time run together, whatever executes them, and nobody gets another's answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from sklearn.datasets import load_digits

from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model

SERVERS = ["tfserving", "torchserve"]
BACKENDS = ["onnxruntime", "tflite", *SERVERS]
_REQUESTS, _AT_ONCE = 300, 40


def statistics(gateway: RunningGateway, backend: str) -> dict[str, Any]:
    answer: dict[str, Any] = gateway.get(f"/v2/models/digits@{backend}/versions/1/stats").json()["model_stats"][0]
    return answer


@pytest.mark.parametrize("backend", BACKENDS)
def test_many_images_at_once_share_batches_and_each_gets_its_own_answer(digits: RunningGateway, backend: str) -> None:
    images = load_digits().images.astype(np.float32)[:_REQUESTS]
    right = np.concatenate(
        [digits.outputs("digits@onnxruntime/versions/1", image=each)["probabilities"] for each in np.split(images, 3)]
    )
    before = statistics(digits, backend)
    with ThreadPoolExecutor(_AT_ONCE) as callers:
        answers = list(
            callers.map(
                lambda image: digits.outputs(f"digits@{backend}/versions/1", image=image[None])["probabilities"][0],
                images,
            )
        )
    np.testing.assert_allclose(answers, right, atol=1e-4)
    after = statistics(digits, backend)
    assert after["inference_count"] - before["inference_count"] == _REQUESTS
    if backend in SERVERS:  # a worker may well be quicker than these callers
        assert after["execution_count"] - before["execution_count"] < _REQUESTS
    assert digits.deployments()[f"digits/1@{backend}"]["max_rows"] == 32


def test_instances_and_batching_are_what_model_toml_says(serve: Any, tmp_path: Path) -> None:
    folder = tmp_path / "repository" / "add"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").write_bytes(add_model(10.0))
    (folder / "model.toml").write_text(
        "[backend.onnxruntime]\ninstances = 2\n[batching]\nallowed_rows = [1, 4]\nmax_delay_ms = 1\n"
    )
    gateway: RunningGateway = serve()
    status = gateway.deployments()["add/1@onnxruntime"]
    assert (status["instances"], status["max_rows"]) == (2, 4)
    with ThreadPoolExecutor(8) as callers:
        x = np.arange(200, dtype=np.float32).reshape(100, 1, 2)
        answers = list(callers.map(lambda each: gateway.outputs("add", x=each)["y"], x))
    np.testing.assert_array_equal(answers, x + 10)


def test_a_server_s_model_that_may_not_batch_gets_every_request_by_itself(serve: Any, tmp_path: Path) -> None:
    folder = tmp_path / "repository" / "digits"
    folder.mkdir(parents=True)
    source = Path(__file__).resolve().parents[2] / "model_repo" / "digits" / "1"
    (folder / "1").symlink_to(source)
    (folder / "model.toml").write_text('backends = ["tfserving"]\n[batching]\nmax_rows = 1\n')
    gateway: RunningGateway = serve()
    assert gateway.deployments()["digits/1@tfserving"]["max_rows"] == 1
    image = np.zeros((1, 8, 8), np.float32)
    with ThreadPoolExecutor(16) as callers:
        list(callers.map(lambda _: gateway.outputs("digits", image=image), range(60)))
    assert statistics(gateway, "tfserving")["execution_count"] == 60


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_request_that_does_not_fit_fails_alone(digits: RunningGateway, backend: str) -> None:
    image = np.zeros((1, 8, 8), np.float32)

    def ask(number: int) -> int:
        wrong = {"image": image} if number % 4 else {"image": image[:, :5]}
        response: httpx.Response = digits.infer(f"digits@{backend}/versions/1", **wrong)
        return response.status_code

    with ThreadPoolExecutor(16) as callers:
        assert list(callers.map(ask, range(64))) == [200 if number % 4 else 400 for number in range(64)]
