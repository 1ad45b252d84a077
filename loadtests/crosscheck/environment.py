"""The environment of the tools that come as wheels: `make crosscheck-tools` makes it."""

from __future__ import annotations

from typing import Final

from loadtests.bench.processes import ROOT

FOLDER: Final = ROOT / ".crosscheck"
PYTHON: Final = FOLDER / "bin" / "python"


def missing() -> str | None:
    """Why nothing can be run from there, or None."""
    return None if (FOLDER / ".installed").exists() else "it is not installed (make crosscheck-tools)"
