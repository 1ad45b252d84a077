"""The pages in the test's own loop; and one browser and one site for the tests that look at them as people do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.chromium import running_chromium
from tests.gateway.control.pages.served import Served, served
from tests.gateway.control.pages.sockets import OnSockets, on_sockets

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")  # playwright's own event loop must be gone before asynchronous tests of other modules
def browser() -> Iterator[Browser]:
    """A Chromium of this machine; tests are skipped where there is none."""
    with running_chromium() as found:
        yield found


@pytest.fixture(scope="module")
def site_on_sockets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnSockets]:
    """The pages on a socket."""
    folder: Path = tmp_path_factory.mktemp("pages")
    with on_sockets(folder) as found:
        yield found


@pytest.fixture
def pages(site_on_sockets: OnSockets) -> OnSockets:
    """The same, with all experiments as they were."""
    site_on_sockets.reset()
    return site_on_sockets


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Served]:
    """The pages, asked without a socket."""
    async with served(tmp_path) as found:
        yield found
