"""What the tests share: other people's models, and real gateways over real sockets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.gateway import RunningGateway

ROOT = Path(__file__).resolve().parents[1]
for _size in ("COLUMNS", "LINES"):  # pytest-xdist sets them, and what prints tables takes them once and for ever
    os.environ.pop(_size, None)

TEST_DATA = Path(os.environ.get("TORII_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def test_data() -> Callable[[str], Path]:
    """Gives a file of the test data, or skips the test where it is not there."""

    def find(name: str) -> Path:
        path = TEST_DATA / name
        if not path.exists():
            pytest.skip(f"test data {name} is not in {TEST_DATA} (set TORII_TEST_DATA)")
        return path

    return find


@pytest.fixture(scope="session")
def digits() -> Iterator[RunningGateway]:
    """A gateway over the sample models, with all four backends, ready."""
    with RunningGateway.start(ROOT / "model_repo") as gateway:
        gateway.wait_ready(within_s=120)
        yield gateway


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., RunningGateway]]:
    """Starts a gateway over a folder, quick to notice changes and to take files for whole; stopped after the test."""
    running: list[RunningGateway] = []

    def start(repository: Path | None = None, **settings: str) -> RunningGateway:
        folder = repository or tmp_path / "repository"
        folder.mkdir(exist_ok=True)
        gateway = RunningGateway.start(folder, **{"POLL_S": "0.1", "SETTLE_S": "0.2", **settings})
        running.append(gateway)
        gateway.wait_ready(within_s=60)
        return gateway

    yield start
    for gateway in running:
        gateway.stop()
