"""What other programs say: asked briefly, without ever failing."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

_PATIENCE_S = 20.0


def said(*argv: str, patience_s: float = _PATIENCE_S) -> str:
    """What a program prints, on whichever of its streams; empty where it is not there, fails or hangs. Blocking."""
    try:
        answer = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=patience_s,
            check=True,
            text=True,
            errors="replace",
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return (answer.stdout or answer.stderr).strip()


def first_line(argv: Sequence[str]) -> str:
    """The first line of what a program prints."""
    return said(*argv).partition("\n")[0].strip()
