"""Starting and stopping: ports that are taken, signals, and what is left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, publish, slow_model
from tests.proofs.memory import cycle

X = np.array([[1, 2]], np.float32)


def test_a_second_gateway_on_the_same_port_says_so_and_exits_with_1(
    serve: Callable[..., RunningGateway], tmp_path: Path
) -> None:
    gateway = serve()
    port = gateway.url.rpartition(":")[2]
    second = subprocess.run(
        [sys.executable, "-m", "gateway", "serve", str(gateway.repository), "--http-port", port],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 1
    assert f"port {port}" in second.stderr
    assert "--http-port" in second.stderr
    assert "Traceback" not in second.stderr


def test_sigterm_answers_what_was_accepted_and_leaves_no_process(
    serve: Callable[..., RunningGateway], tmp_path: Path
) -> None:
    publish(tmp_path / "repository", "slow", 1, {"model.onnx": slow_model()})
    gateway = serve()
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(gateway.infer("slow", n=np.array([3000])).status_code))
    asking.start()
    children = gateway.children()
    gateway.until(lambda: any(child.cpu_percent(0.05) > 20 for child in children))
    gateway.process.send_signal(signal.SIGTERM)
    asking.join(30)
    assert answers == [200]
    assert gateway.process.wait(20) == 0
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive


def test_workers_do_not_outlive_a_gateway_that_was_killed(serve: Callable[..., RunningGateway], tmp_path: Path) -> None:
    publish(tmp_path / "repository", "add", 1, {"model.onnx": add_model(1)})
    gateway = serve()
    children = gateway.children()
    assert children
    gateway.process.kill()
    gateway.process.wait()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


def test_a_repository_that_is_not_there_is_named(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "gateway", "serve", str(tmp_path / "nowhere")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 1
    assert "nowhere" in run.stderr


def test_check_names_every_mistake_with_file_and_key(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    publish(repository, "add", 1, {"model.onnx": add_model(1)})
    publish(repository, "empty", 1, {"readme.md": b"nothing"})
    (repository / "add" / "model.toml").write_text("[limits]\ntimeout_ms = 'soon'\n")
    run = subprocess.run(
        [sys.executable, "-m", "gateway", "check", str(repository)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 1
    assert "add/1@onnxruntime" in run.stdout
    assert "add/model.toml: limits.timeout_ms" in run.stdout
    assert "'soon'" in run.stdout
    assert "empty/1: no artifact" in run.stdout


def test_memory_comes_back_after_cycles_of_load_and_unload(
    serve: Callable[..., RunningGateway], tmp_path: Path
) -> None:
    """A short one; `make proof-memory` runs 50 cycles."""
    gateway = serve(SETTLE_S="0")
    for _ in range(2):
        cycle(gateway)
    before = gateway.rss_bytes()
    for _ in range(5):
        cycle(gateway)
    assert gateway.rss_bytes() - before < 5 * 2**20
