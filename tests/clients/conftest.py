"""Gateways for other people's clients, and their scripts as black boxes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.echoes import publish_echoes
from tests.clients.environments import ROOT, SCRIPTS
from tests.e2e.gateway import RunningGateway

Play = Callable[[str, str, RunningGateway, str], None]


@pytest.fixture(scope="session")
def play() -> Play:
    """Plays one case of a script with an interpreter, and fails with the client's own words.

    A script is run once for each gateway, all its cases in one process: importing a client takes seconds.
    """
    played: dict[tuple[str, str], dict[str, str | None]] = {}

    def case(script: str, interpreter: str, gateway: RunningGateway, name: str) -> None:
        key = script, gateway.url
        if key not in played:
            played[key] = _run(SCRIPTS / script, interpreter, gateway)
        errors = played[key]
        assert name in errors, f"the script ended before it came to this case: {errors.get('', '')}"
        assert errors[name] is None, errors[name]

    return case


def _run(script: Path, interpreter: str, gateway: RunningGateway, within_s: float = 120) -> dict[str, str | None]:
    """The error of each case that ended, by name; under "", the script's last words where it did not end well."""
    process = subprocess.Popen(
        [interpreter, str(script), gateway.url, gateway.grpc, gateway.control],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    last = ""
    try:
        output, last = process.communicate(timeout=within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        output, last = process.communicate()
        last += f"\nended after {within_s} s"
    lines = [json.loads(line) for line in output.splitlines() if line.startswith('{"case"')]
    return {line["case"]: line["error"] for line in lines} | {"": f"exit code {process.returncode}\n{last[-4000:]}"}


@pytest.fixture(scope="session")
def echoes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway whose models answer what they are sent, one for each datatype; clients may load and unload there."""
    repository = tmp_path_factory.mktemp("echoes") / "repository"
    publish_echoes(repository)
    with RunningGateway.running(repository, POLL_S="0.1", SETTLE_S="0", MODEL_CONTROL="true") as gateway:
        gateway.wait_ready(within_s=120)
        yield gateway


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway over a copy of the digits, on ONNX Runtime alone; stable = 1, canary = 2."""
    with labelled_gateway(tmp_path_factory.mktemp("labelled")) as gateway:
        yield gateway


@contextlib.contextmanager
def labelled_gateway(folder: Path) -> Iterator[RunningGateway]:
    """Such a gateway, over a repository in a folder that is the caller's to change; its management is open."""
    model = folder / "repository" / "digits"
    shutil.copytree(ROOT / "model_repo" / "digits", model)
    (model / "model.toml").write_text('backends = ["onnxruntime"]\n')
    (model / "labels.toml").write_text("stable = 1\ncanary = 2\n")
    with RunningGateway.running(model.parent, POLL_S="0.1", SETTLE_S="0", MODEL_CONTROL="true") as gateway:
        gateway.wait_ready(within_s=60)
        yield gateway
