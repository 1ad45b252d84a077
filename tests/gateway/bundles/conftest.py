"""Certificates beside artifacts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gateway.exports.certificates import certify


@pytest.fixture
def certified() -> Callable[[Path, str], None]:
    """Writes a certificate that passed beside a version's only artifact of a backend."""
    return certify
