"""How often a process that answers requests looks for garbage."""

from __future__ import annotations

import gc

_COLLECT_AFTER = 10_000
"""New objects between two collections; requests leave next to no cycles behind."""


def collect_rarely() -> None:
    """Have what was imported and built so far stay, and look for garbage less often from now on.

    Collections make the slowest requests slow, and need not look at what stays again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


def keep() -> None:
    """Have what was imported since stay as well, without a look for garbage: somebody is being answered just now."""
    gc.freeze()
