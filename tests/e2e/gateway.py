"""A real gateway in a process of its own, for tests that talk to it as its users do."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from loadtests.bench.processes import free_ports

_DATATYPES = {"float32": "FP32", "int64": "INT64", "uint8": "UINT8", "float64": "FP64", "int32": "INT32"}


class RunningGateway:
    """`torii serve` over a repository, on free ports of loopback."""

    def __init__(self, process: subprocess.Popen[bytes], repository: Path, ports: Sequence[int], log: Path) -> None:
        self.process = process
        self.repository = repository
        self.url = f"http://127.0.0.1:{ports[0]}"
        self.control = f"http://127.0.0.1:{ports[1]}"
        self.grpc = f"127.0.0.1:{ports[2]}"
        self.log = log
        self.client = httpx.Client(timeout=60)

    @classmethod
    @contextlib.contextmanager
    def running(cls, repository: Path, python: Path | None = None, **settings: str) -> Iterator[RunningGateway]:
        """As `start`, and stopped at the end."""
        gateway = cls.start(repository, python, **settings)
        try:
            yield gateway
        finally:
            gateway.stop()

    @classmethod
    def start(cls, repository: Path, python: Path | None = None, **settings: str) -> RunningGateway:
        """Start one; `settings` are TORII_… variables. What it keeps of experiments goes beside its log.

        `python` is another environment's than that of the tests.
        """
        ports = free_ports(3)
        log = Path(tempfile.mkstemp(prefix="torii-test-", suffix=".log")[1])
        settings = {"STORE": f"sqlite:///{log.with_suffix('.db')}", **settings}
        environment = {f"TORII_{name}": value for name, value in settings.items()}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *(str(python or sys.executable), "-m", "gateway", "serve", str(repository)),
                    *("--http-port", str(ports[0]), "--control-port", str(ports[1]), "--grpc-port", str(ports[2])),
                ],
                env={**os.environ, "TORII_LOG_LEVEL": "debug", **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return cls(process, repository, ports, log)

    def __enter__(self) -> RunningGateway:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def wait_ready(self, within_s: float) -> None:
        """Wait until everything that is in the repository is loaded or has failed."""
        self.until(lambda: self.get("/v2/health/ready").status_code == 200, within_s)

    def until(self, condition: Callable[[], Any], within_s: float = 10.0) -> Any:
        """Wait for a condition, and give its value; fails with the gateway's log."""
        give_up_s = time.monotonic() + within_s
        while True:
            with contextlib.suppress(httpx.TransportError):
                if value := condition():
                    return value
            waiting = self.process.poll() is None and time.monotonic() < give_up_s
            assert waiting, self.log.read_text()[-4000:]
            time.sleep(0.02)

    def get(self, path: str) -> httpx.Response:
        """GET of the inference API."""
        return self.client.get(self.url + path)

    def post(self, path: str, **arguments: Any) -> httpx.Response:
        """POST to the inference API."""
        return self.client.post(self.url + path, **arguments)

    def infer(self, model: str, **inputs: np.ndarray) -> httpx.Response:
        """A V2 inference request; `model` may be `digits`, `digits@tflite`, `digits/versions/2`."""
        tensors = [
            {"name": name, "shape": each.shape, "datatype": _DATATYPES[str(each.dtype)], "data": each.ravel().tolist()}
            for name, each in inputs.items()
        ]
        return self.post(f"/v2/models/{model}/infer", json={"inputs": tensors})

    def outputs(self, model: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs of an inference request that has to succeed."""
        response = self.infer(model, **inputs)
        assert response.status_code == 200, response.text
        return {each["name"]: np.array(each["data"]).reshape(each["shape"]) for each in response.json()["outputs"]}

    def status(self) -> dict[str, Any]:
        """The control API's status."""
        answer: dict[str, Any] = self.client.get(f"{self.control}/v1/status").json()
        return answer

    def deployments(self) -> dict[str, dict[str, Any]]:
        """The deployments of the status, by name."""
        return {each["deployment"]: each for each in self.status()["deployments"]}

    def state(self, deployment: str) -> str | None:
        """A deployment's state; None where it is not there."""
        found = self.deployments().get(deployment)
        return found["state"] if found else None

    def children(self) -> list[psutil.Process]:
        """Every process below the gateway's."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def rss_bytes(self) -> int:
        """Resident memory of the gateway's own process."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def stop(self) -> int:
        """SIGTERM, and wait; gives the exit code. Anything that is left behind is killed, and fails the test."""
        if self.process.poll() is None:
            children = self.children()
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
            _, left = psutil.wait_procs(children, timeout=1)
            for child in left:
                child.kill()
            assert not left, f"left behind: {left}"
        self.client.close()
        return self.process.returncode


def free_port() -> int:
    """A TCP port of loopback that nothing listens on."""
    return free_ports(1)[0]
