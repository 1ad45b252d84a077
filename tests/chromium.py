"""A Chromium of this machine, for tests of pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """A browser; the test is skipped where there is none."""
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
