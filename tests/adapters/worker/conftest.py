"""Workers for a test, stopped after it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import uvloop

from tests.adapters.worker.workers import Gated, Workers
from tests.waiting import bound


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that `torii serve` runs on."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """No test of this folder hangs."""
    bound(items, Path(__file__).parent, within_s=60)


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    """The folder's path is short enough for sockets, which pytest's own may not be."""
    folder = Path(tempfile.mkdtemp(prefix="torii-"))
    workers = Workers(folder)
    yield workers
    await workers.close()
    shutil.rmtree(folder)


@pytest.fixture
async def gated(workers: Workers, tmp_path: Path) -> Gated:
    """A worker whose model batches up to 8 rows, and whose every run waits to be let through."""
    return await Gated.load(workers, tmp_path / "gate", max_rows=8)
