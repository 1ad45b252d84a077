"""What the tests of the gateway share."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from tests.waiting import bound

# The machines that run this are shared: how long one example took says nothing.
settings.register_profile("torii", deadline=None, max_examples=60)
settings.load_profile("torii")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """No test of this folder hangs."""
    bound(items, Path(__file__).parent, within_s=30)
