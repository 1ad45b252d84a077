"""The browser client, built as people build it, and a browser to run it in; skipped where one of them is missing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.chromium import running_chromium
from tests.edge.browser.site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[3]
CLIENT = ROOT / "edge" / "browser"


@pytest.fixture(scope="session")
def installed() -> Path:
    """The folder of the client, with the packages that it is built from."""
    for program in ("node", "npm", "make"):
        if not shutil.which(program):
            pytest.skip(f"no {program} on this machine, which the browser client is built with")
    made = _make("edge/browser/node_modules/.installed")
    if made.returncode != 0:
        pytest.skip(f"npm could not install the browser client's packages: {made.stderr[-500:]}")
    return CLIENT


@pytest.fixture(scope="session")
def built(installed: Path) -> Path:
    """The folder that the edge server serves as the demo page."""
    made = _make("browser-client")
    assert made.returncode == 0, made.stderr
    return installed / "dist"


def _make(target: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "--silent", target], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")  # playwright's own event loop must be gone before asynchronous tests of other modules
def browser() -> Iterator[Browser]:
    """A Chromium of this machine."""
    with running_chromium() as found:
        yield found


@pytest.fixture(scope="module")
def running_site(built: Path) -> Iterator[Site]:
    """A server that tests tell what to answer."""
    found = Site(built)
    with found.running():
        yield found


@pytest.fixture
def site(running_site: Site) -> Site:
    """The same, with a repository of its own."""
    running_site.reset()
    return running_site
