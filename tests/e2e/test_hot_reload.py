"""The repository changes while the gateway serves: what appears, changes or goes is taken up within 5 s."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, publish, slow_model, withdraw

X = np.array([[1, 2]], np.float32)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    return folder


def answer(gateway: RunningGateway, model: str = "add") -> float | None:
    response = gateway.infer(model, x=X)
    return response.json()["outputs"][0]["data"][0] - 1 if response.status_code == 200 else None


def test_a_version_that_appears_is_served(serve: Callable[..., RunningGateway], repository: Path) -> None:
    gateway = serve()
    assert gateway.infer("add", x=X).status_code == 404
    publish(repository, "add", 1, {"model.onnx": add_model(1)})
    gateway.until(lambda: answer(gateway) == 1, within_s=5)
    publish(repository, "add", 2, {"model.onnx": add_model(2)})
    gateway.until(lambda: answer(gateway) == 2, within_s=5)
    assert answer(gateway, "add/versions/1") == 1


def test_a_version_that_goes_is_unloaded_and_the_older_one_answers(
    serve: Callable[..., RunningGateway], repository: Path
) -> None:
    for number in (1, 2):
        publish(repository, "add", number, {"model.onnx": add_model(number)})
    gateway = serve()
    assert answer(gateway) == 2
    withdraw(repository, "add", 2)
    gateway.until(lambda: answer(gateway) == 1, within_s=5)
    gateway.until(lambda: gateway.infer("add/versions/2", x=X).status_code == 404, within_s=5)
    gateway.until(lambda: len(gateway.children()) == 1, within_s=5)


def test_a_version_that_changes_is_reloaded_without_a_failed_request(
    serve: Callable[..., RunningGateway], repository: Path
) -> None:
    folder = publish(repository, "add", 1, {"model.onnx": add_model(1)})
    gateway = serve()
    digest = gateway.deployments()["add/1@onnxruntime"]["digest"]
    (folder / "new").write_bytes(add_model(7))
    (folder / "new").rename(folder / "model.onnx")
    seen: list[float | None] = [1.0]
    gateway.until(lambda: seen.append(answer(gateway)) or seen[-1] == 7, within_s=5)
    assert set(seen) == {1.0, 7.0}, "every answer is the old one or the new one"
    assert gateway.deployments()["add/1@onnxruntime"]["digest"] != digest


def test_a_half_written_file_is_not_loaded(serve: Callable[..., RunningGateway], repository: Path) -> None:
    gateway = serve()
    folder = repository / "add" / "1"
    folder.mkdir(parents=True)
    writing = threading.Thread(target=write_slowly, args=(folder / "model.onnx", add_model(3)))
    writing.start()
    states = set()
    while writing.is_alive():
        states.add(gateway.state("add/1@onnxruntime"))
        assert gateway.infer("add", x=X).status_code in (404, 503)
    assert states <= {None, "FOUND"}
    gateway.until(lambda: answer(gateway) == 3, within_s=5)
    assert "FAILED" not in gateway.log.read_text()


def test_a_failed_reload_leaves_the_earlier_files_serving(
    serve: Callable[..., RunningGateway], repository: Path
) -> None:
    folder = publish(repository, "add", 1, {"model.onnx": add_model(1)})
    gateway = serve()
    (folder / "model.onnx").write_bytes(b"no model")
    reason = gateway.until(lambda: gateway.deployments()["add/1@onnxruntime"]["reason"], within_s=6)
    assert "the earlier files keep serving" in reason
    assert answer(gateway) == 1
    (folder / "model.onnx").write_bytes(add_model(4))
    gateway.until(lambda: answer(gateway) == 4, within_s=6)
    assert gateway.deployments()["add/1@onnxruntime"]["reason"] == ""


def test_a_broken_new_version_leaves_the_older_one_as_the_default(
    serve: Callable[..., RunningGateway], repository: Path
) -> None:
    (repository / "add").mkdir()
    (repository / "add" / "model.toml").write_text('versions = "latest:1"')
    publish(repository, "add", 1, {"model.onnx": add_model(1)})
    gateway = serve()
    publish(repository, "add", 2, {"model.onnx": b"no model"})
    gateway.until(lambda: gateway.state("add/2@onnxruntime") == "FAILED")
    assert answer(gateway) == 1
    response = gateway.infer("add/versions/2", x=X)
    assert response.status_code == 503
    assert "FAILED" in response.json()["error"]
    publish(repository, "add", 3, {"model.onnx": add_model(3)})
    gateway.until(lambda: answer(gateway) == 3)
    gateway.until(lambda: gateway.state("add/1@onnxruntime") is None, within_s=5)


def test_a_running_request_is_answered_before_its_version_goes(
    serve: Callable[..., RunningGateway], repository: Path
) -> None:
    publish(repository, "slow", 1, {"model.onnx": slow_model()})
    gateway = serve()
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(gateway.infer("slow", n=np.array([4000])).status_code))
    asking.start()
    pid = gateway.deployments()["slow/1@onnxruntime"]["pid"]
    gateway.until(lambda: gateway_is_busy(gateway, pid))
    withdraw(repository, "slow", 1)
    gateway.until(lambda: gateway.state("slow/1@onnxruntime") in ("DRAINING", None))
    asking.join(60)
    assert answers == [200]
    gateway.until(lambda: not gateway.children())


def write_slowly(file: Path, content: bytes) -> None:
    """In pieces, for longer than the settle time of 2 s, with no pause as long as that."""
    pause = threading.Event()
    with file.open("wb") as stream:
        for piece in range(4):
            stream.write(content[piece * len(content) // 4 : (piece + 1) * len(content) // 4])
            stream.flush()
            pause.wait(0.9)


def gateway_is_busy(gateway: RunningGateway, pid: int) -> bool:
    return any(child.pid == pid and child.cpu_percent(0.05) > 20 for child in gateway.children())


def test_a_label_named_stable_is_the_default(serve: Callable[..., RunningGateway], repository: Path) -> None:
    for number in (1, 2):
        publish(repository, "add", number, {"model.onnx": add_model(number)})
    gateway = serve()
    assert answer(gateway) == 2
    (repository / "add" / "labels.toml").write_text("stable = 1\n")
    gateway.until(lambda: answer(gateway) == 1, within_s=5)


def test_a_mistake_in_model_toml_is_told_and_what_serves_goes_on(
    serve: Callable[..., RunningGateway], repository: Path
) -> None:
    publish(repository, "add", 1, {"model.onnx": add_model(1)})
    gateway = serve()
    (repository / "add" / "model.toml").write_text("[limits]\nmax_queues = 3\n")
    (problem,) = gateway.until(lambda: gateway.status()["problems"], within_s=5)
    assert "add/model.toml" in problem
    assert "limits.max_queues" in problem
    assert answer(gateway) == 1
