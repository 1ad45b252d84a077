"""What the tests of load tests share: a gateway of one small model, which starts in a moment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, publish


@pytest.fixture(scope="session")
def additions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of ONNX models: of `add` versions 1 and 2, with a variant `other` of version 1."""
    repository = tmp_path_factory.mktemp("additions") / "repository"
    publish(repository, "add", 1, {"model.onnx": add_model(1), "model.other.onnx": add_model(1)})
    publish(repository, "add", 2, {"model.onnx": add_model(2)})
    return repository


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """One for a file, over `add/1` with its variant `other`; quick to notice changes."""
    repository = tmp_path_factory.mktemp("gateway") / "repository"
    publish(repository, "add", 1, {"model.onnx": add_model(1), "model.other.onnx": add_model(1)})
    with RunningGateway.start(repository, POLL_S="0.1", SETTLE_S="0.1") as running:
        running.wait_ready(within_s=60)
        yield running
