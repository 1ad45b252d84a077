"""How the tests start Python of their own: with this checkout's `adapters`, from whatever folder pytest runs in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from adapters import tether

_ROOT = Path(__file__).resolve().parents[3]
_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(_ROOT)}


def run_python(*arguments: str | Path, limit_s: float = 120.0) -> str:
    """Run to the end, which must be a good one, and give what was printed."""
    done = subprocess.run(
        [sys.executable, *arguments], env=_ENVIRONMENT, capture_output=True, text=True, check=False, timeout=limit_s
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def start_embedded(*flags: str) -> subprocess.Popen[bytes]:
    """Start the embedded server; it ends with this process, however that ends."""
    tied = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid())]
    command = [sys.executable, "-m", "adapters.tfserving.embedded", *flags]
    return subprocess.Popen([*tied, *command], env=_ENVIRONMENT, stderr=subprocess.DEVNULL)
