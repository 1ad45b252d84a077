"""schemathesis, unmodified: requests made up from our own OpenAPI document, right ones and wrong ones."""

from __future__ import annotations

from pathlib import Path

from tests.clients.openapi import ask
from tests.e2e.gateway import RunningGateway


def test_nothing_that_schemathesis_makes_up_is_answered_with_a_server_error(
    digits: RunningGateway, tmp_path: Path
) -> None:
    report, said = ask(digits, tmp_path, examples=8, within_s=100)
    assert report["failures"] == report["errors"] == [], said
    assert report["exit_code"] == 0, said
    assert report["test_cases"]["generated"] >= 800, said
    assert digits.process.poll() is None
