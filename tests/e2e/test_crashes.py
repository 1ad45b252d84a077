"""What breaks, breaks alone: crashed workers, corrupt artifacts, quarantine."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, publish, slow_model

ROOT = Path(__file__).resolve().parents[2]
X = np.array([[1, 2]], np.float32)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    return folder


def test_a_worker_killed_during_a_request_costs_that_request_alone(
    serve: Callable[..., RunningGateway], repository: Path
) -> None:
    publish(repository, "slow", 1, {"model.onnx": slow_model()})
    gateway = serve()
    pid = gateway.deployments()["slow/1@onnxruntime"]["pid"]
    answers: list[tuple[int, str]] = []

    def ask() -> None:
        response = gateway.infer("slow", n=np.array([100_000]))
        answers.append((response.status_code, response.text))

    asking = threading.Thread(target=ask)
    asking.start()
    gateway.until(lambda: psutil.Process(pid).cpu_percent(0.05) > 20)
    os.kill(pid, signal.SIGKILL)
    asking.join(10)
    assert answers[0][0] == 502
    assert "died" in answers[0][1]
    gateway.until(lambda: gateway.infer("slow", n=np.array([1])).status_code == 200, within_s=10)
    assert gateway.deployments()["slow/1@onnxruntime"]["pid"] != pid


def test_a_worker_that_keeps_dying_is_quarantined_and_a_new_file_frees_it(
    serve: Callable[..., RunningGateway], repository: Path
) -> None:
    folder = publish(repository, "add", 1, {"model.onnx": add_model(1)})
    publish(repository, "other", 1, {"model.onnx": add_model(5)})
    gateway = serve()

    def kill() -> bool:
        deployment = gateway.deployments()["add/1@onnxruntime"]
        if deployment["pid"]:
            os.kill(deployment["pid"], signal.SIGKILL)
        return "quarantined" in deployment["reason"]

    gateway.until(kill, within_s=30)
    response = gateway.infer("add", x=X)
    assert response.status_code == 503
    assert "5 deaths" in response.json()["error"]
    assert gateway.infer("other", x=X).status_code == 200
    (folder / "model.onnx").write_bytes(add_model(2))
    gateway.until(lambda: gateway.infer("add", x=X).status_code == 200, within_s=6)


@pytest.mark.parametrize(
    ("backend", "name"),
    [
        ("onnxruntime", "model.onnx"),
        ("tflite", "model.tflite"),
        ("torchserve", "model.pt"),
        ("torchserve", "model.mar"),
    ],
)
@pytest.mark.parametrize("content", [b"", b"no model at all", None], ids=["empty", "garbage", "truncated"])
def test_a_corrupt_artifact_fails_alone_and_says_why(
    corrupt: RunningGateway, backend: str, name: str, content: bytes | None
) -> None:
    model = corrupt_name(name, content)
    (deployment,) = [each for each in corrupt.deployments().values() if each["model"] == model]
    assert deployment["state"] == "FAILED"
    assert deployment["backend"] == backend
    assert len(deployment["reason"]) > 20
    response = corrupt.infer(model, x=X)
    assert response.status_code == 503
    assert deployment["reason"] in response.json()["error"]


def test_good_models_serve_beside_corrupt_ones(corrupt: RunningGateway) -> None:
    for backend in ("onnxruntime", "tflite", "tfserving", "torchserve"):
        image = np.zeros((1, 8, 8), np.float32)
        assert corrupt.infer(f"digits@{backend}", image=image).status_code == 200, backend


def test_a_corrupt_saved_model_fails_alone(corrupt: RunningGateway) -> None:
    deployment = corrupt.deployments()["saved/1@tfserving"]
    assert deployment["state"] == "FAILED"
    assert deployment["reason"]


CONTENTS: dict[str, bytes | None] = {"empty": b"", "garbage": b"no model at all", "truncated": None}


def corrupt_name(name: str, content: bytes | None) -> str:
    kind = next(each for each, value in CONTENTS.items() if value == content)
    return f"{kind}-{name.partition('.')[2]}"


def settled(gateway: RunningGateway) -> list[dict[str, Any]]:
    deployments = list(gateway.deployments().values())
    return deployments if not any("trying again" in each["reason"] for each in deployments) else [{"state": ""}]


@pytest.fixture(scope="module")
def corrupt(tmp_path_factory: pytest.TempPathFactory):
    """A gateway over every sort of corrupt artifact, and good ones."""
    repository = tmp_path_factory.mktemp("corrupt")
    sample = ROOT / "model_repo" / "digits" / "1"
    for name in ("model.onnx", "model.tflite", "model.pt", "model.mar"):
        for content in CONTENTS.values():
            folder = repository / corrupt_name(name, content) / "1"
            folder.mkdir(parents=True)
            whole = (sample / name).read_bytes() if name != "model.mar" else (sample / "model.pt").read_bytes()
            (folder / name).write_bytes(whole[: len(whole) // 2] if content is None else content)
    shutil.copytree(sample, repository / "digits" / "1")
    (repository / "saved" / "1").mkdir(parents=True)
    (repository / "saved" / "1" / "saved_model.pb").write_bytes(b"no model at all")
    with RunningGateway.start(repository, ALLOW_CODE="true") as gateway:
        gateway.wait_ready(within_s=240)
        # TorchServe may be restarted while these load, and what failed with it is tried again.
        gateway.until(lambda: all(each["state"] in ("READY", "FAILED") for each in settled(gateway)), within_s=60)
        yield gateway
