"""The repository changes while the gateway serves: what appears, changes or goes is taken up within 5 s."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, publish, slow_model, withdraw
from tests.waiting import gone

X = np.array([[1, 2]], np.float32)
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """One for all tests; files are whole for it sooner than by default."""
    repository = tmp_path_factory.mktemp("quick") / "repository"
    repository.mkdir()
    with RunningGateway.running(repository, POLL_S="0.1", SETTLE_S="0.2") as running:
        running.wait_ready(within_s=60)
        yield running


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """One with the default settle time, with which 5 s are promised."""
    repository = tmp_path_factory.mktemp("patient") / "repository"
    repository.mkdir()
    with RunningGateway.running(repository, POLL_S="0.1", SETTLE_S="2") as running:
        running.wait_ready(within_s=60)
        yield running


@pytest.fixture
def model() -> str:
    """A name that no other test has."""
    return f"model-{next(_NUMBERS)}"


def answer(gateway: RunningGateway, model: str) -> float | None:
    response = gateway.infer(model, x=X)
    return response.json()["outputs"][0]["data"][0] - 1 if response.status_code == 200 else None


def served(gateway: RunningGateway, model: str, *versions: int) -> Path:
    """Versions that add their number, answering; gives the model's folder."""
    for number in versions:
        publish(gateway.repository, model, number, {"model.onnx": add_model(number)})
    gateway.until(
        lambda: all(gateway.state(f"{model}/{number}@onnxruntime") == "READY" for number in versions), within_s=10
    )
    return gateway.repository / model


def test_a_version_that_appears_is_served(patient: RunningGateway, model: str) -> None:
    assert patient.infer(model, x=X).status_code == 404
    publish(patient.repository, model, 1, {"model.onnx": add_model(1)})
    patient.until(lambda: answer(patient, model) == 1, within_s=5)
    publish(patient.repository, model, 2, {"model.onnx": add_model(2)})
    patient.until(lambda: answer(patient, model) == 2, within_s=5)
    assert answer(patient, f"{model}/versions/1") == 1


def test_a_version_that_goes_is_unloaded_and_the_older_one_answers(gateway: RunningGateway, model: str) -> None:
    served(gateway, model, 1, 2)
    pid = gateway.deployments()[f"{model}/2@onnxruntime"]["pid"]
    assert answer(gateway, model) == 2
    withdraw(gateway.repository, model, 2)
    gateway.until(lambda: answer(gateway, model) == 1, within_s=5)
    gateway.until(lambda: gateway.infer(f"{model}/versions/2", x=X).status_code == 404, within_s=5)
    gateway.until(lambda: gone(pid), within_s=5)


def test_a_version_that_changes_is_reloaded_without_a_failed_request(gateway: RunningGateway, model: str) -> None:
    folder = served(gateway, model, 1) / "1"
    digest = gateway.deployments()[f"{model}/1@onnxruntime"]["digest"]
    (folder / "new").write_bytes(add_model(7))
    (folder / "new").rename(folder / "model.onnx")
    seen: list[float | None] = [1.0]
    gateway.until(lambda: seen.append(answer(gateway, model)) or seen[-1] == 7, within_s=5)
    assert set(seen) == {1.0, 7.0}, "every answer is the old one or the new one"
    assert gateway.deployments()[f"{model}/1@onnxruntime"]["digest"] != digest


def test_a_half_written_file_is_not_loaded(patient: RunningGateway, model: str) -> None:
    folder = patient.repository / model / "1"
    folder.mkdir(parents=True)
    writing = threading.Thread(target=write_slowly, args=(folder / "model.onnx", add_model(3)))
    writing.start()
    states = set()
    while writing.is_alive():
        states.add(patient.state(f"{model}/1@onnxruntime"))
        assert patient.infer(model, x=X).status_code in (404, 503)
    assert states <= {None, "FOUND"}
    patient.until(lambda: answer(patient, model) == 3, within_s=5)
    assert "FAILED" not in patient.log.read_text()


def test_a_failed_reload_leaves_the_earlier_files_serving(gateway: RunningGateway, model: str) -> None:
    folder = served(gateway, model, 1) / "1"
    (folder / "model.onnx").write_bytes(b"no model")
    reason = gateway.until(lambda: gateway.deployments()[f"{model}/1@onnxruntime"]["reason"], within_s=6)
    assert "the earlier files keep serving" in reason
    assert answer(gateway, model) == 1
    (folder / "model.onnx").write_bytes(add_model(4))
    gateway.until(lambda: answer(gateway, model) == 4, within_s=6)
    assert gateway.deployments()[f"{model}/1@onnxruntime"]["reason"] == ""


def test_a_broken_new_version_leaves_the_older_one_as_the_default(gateway: RunningGateway, model: str) -> None:
    (gateway.repository / model).mkdir()
    (gateway.repository / model / "model.toml").write_text('versions = "latest:1"')
    served(gateway, model, 1)
    publish(gateway.repository, model, 2, {"model.onnx": b"no model"})
    gateway.until(lambda: gateway.state(f"{model}/2@onnxruntime") == "FAILED")
    assert answer(gateway, model) == 1
    response = gateway.infer(f"{model}/versions/2", x=X)
    assert response.status_code == 503
    assert "FAILED" in response.json()["error"]
    publish(gateway.repository, model, 3, {"model.onnx": add_model(3)})
    gateway.until(lambda: answer(gateway, model) == 3)
    gateway.until(lambda: gateway.state(f"{model}/1@onnxruntime") is None, within_s=5)


def test_a_running_request_is_answered_before_its_version_goes(gateway: RunningGateway, model: str) -> None:
    publish(gateway.repository, model, 1, {"model.onnx": slow_model()})
    gateway.until(lambda: gateway.state(f"{model}/1@onnxruntime") == "READY")
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(gateway.infer(model, n=np.array([2000])).status_code))
    asking.start()
    pid = gateway.deployments()[f"{model}/1@onnxruntime"]["pid"]
    gateway.until(lambda: gateway_is_busy(gateway, pid))
    withdraw(gateway.repository, model, 1)
    gateway.until(lambda: gateway.state(f"{model}/1@onnxruntime") in ("DRAINING", None))
    asking.join(60)
    assert answers == [200]
    gateway.until(lambda: gone(pid))


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


def test_a_label_named_stable_is_the_default(gateway: RunningGateway, model: str) -> None:
    folder = served(gateway, model, 1, 2)
    assert answer(gateway, model) == 2
    (folder / "labels.toml").write_text("stable = 1\n")
    gateway.until(lambda: answer(gateway, model) == 1, within_s=5)


def test_a_mistake_in_model_toml_is_told_and_what_serves_goes_on(gateway: RunningGateway, model: str) -> None:
    folder = served(gateway, model, 1)
    (folder / "model.toml").write_text("[limits]\nmax_queues = 3\n")
    file = f"{model}/model.toml"
    (problem,) = gateway.until(lambda: [each for each in gateway.status()["problems"] if file in each], within_s=5)
    assert "limits.max_queues" in problem
    assert answer(gateway, model) == 1
