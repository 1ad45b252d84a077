"""What the tests of the frontends share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.versions import Restarts
from tests.gateway.frontends.world import World


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is tried again is tried at once."""
    monkeypatch.setattr(Restarts, "FIRST_DELAY_S", 0.001)
    monkeypatch.setattr(Restarts, "MAX_DELAY_S", 0.002)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Two frontends that serve."""
    async with World().running() as running:
        yield running
