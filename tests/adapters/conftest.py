"""What the tests of the adapters share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop
from hypothesis import settings

from tests.waiting import Started, children

# The machines that run this are shared: how long one example took says nothing.
settings.register_profile("torii", deadline=None, max_examples=60)
settings.load_profile("torii")

_BOTH = ("test_process.py",)


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Child processes on both loops: `torii serve` runs on uvloop, whoever builds upon Torii may not."""
    if item.path.name in _BOTH:
        return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture
def started() -> Started:
    """What gives the processes that this test has started and that still run; wider fixtures have others."""
    before = {each.pid for each in children()}
    return lambda: [each for each in children() if each.pid not in before]
