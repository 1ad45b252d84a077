"""Reports, each made once: pictures take their time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from loadtests.comparison.matching import Source
from loadtests.report.page import html
from loadtests.report.writing import Report, report
from tests.chromium import running_chromium
from tests.loadtests.report.results import frameworks, hostile

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def made() -> Report:
    """Of two machines, the second of which is twice as fast."""
    return report([Source("a.json", frameworks()), Source("b.json", frameworks("H100-16c", 2.0))])


@pytest.fixture(scope="session")
def page(made: Report) -> str:
    return html(made)


@pytest.fixture(scope="session")
def attacked() -> Report:
    return report([Source("evil.json", hostile())])


@pytest.fixture(scope="session")
def attacked_page(attacked: Report) -> str:
    return html(attacked)


@pytest.fixture(scope="module")  # playwright's own event loop must be gone before tests of other modules
def browser() -> Iterator[Browser]:
    with running_chromium() as found:
        yield found
