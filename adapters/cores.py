"""How many cores this process may use, and how they are shared out."""

import os
from collections.abc import Mapping
from typing import Any


def usable_cores() -> int:
    """The cores that the scheduler lets this process run on; all of the machine's where it cannot tell (macOS)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_each(options: Mapping[str, Any]) -> int:
    """Threads within one run, so that the `instances` of a model's options do not fight for the cores."""
    return max(1, usable_cores() // int(options.get("instances", 1)))
