"""Which source was measured: the git revision of the checkout."""

from __future__ import annotations

import subprocess
from typing import Any

from loadtests.bench.processes import ROOT


def revision() -> dict[str, Any]:
    """`revision` and whether something is `modified`; empty outside a checkout, and where there is no git."""
    if not (ROOT / ".git").exists():
        return {}
    try:
        head = _git("rev-parse", "HEAD").strip()
        changed = bool(_git("status", "--porcelain", "--untracked-files=no").strip())
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"revision": head, "modified": changed}


def _git(*argv: str) -> str:
    asked = ["git", "-C", str(ROOT), *argv]
    return subprocess.run(
        asked, capture_output=True, text=True, timeout=20, check=True, start_new_session=True
    ).stdout  # a session of its own: Ctrl-C is not for it
