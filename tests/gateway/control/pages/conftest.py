"""The pages in the test's own loop; and one browser and one site for the tests that look at them as people do."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.gateway.control.pages.served import Served, served
from tests.gateway.control.pages.sockets import OnSockets, on_sockets

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")  # playwright's own event loop must be gone before asynchronous tests of other modules
def browser() -> Iterator[Browser]:
    """A Chromium of this machine; tests are skipped where there is none."""
    sync_api: Any = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = os.environ.get("TORII_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no chromium on this machine (apt install chromium, or set TORII_TEST_CHROMIUM)")
    with sync_api.sync_playwright() as playwright:
        # Chromium's own sandbox does not work for root, as containers mostly run.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        started = playwright.chromium.launch(executable_path=found, args=arguments)
        yield started
        started.close()


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
