"""How many cores this process may use, and how they are shared out."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_ROOT = Path("/")


def usable_cores() -> int:
    """The cores that the scheduler lets this process run on, but no more than its control group has time for.

    All of the machine's where it cannot tell (macOS).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    # Rounded down: a thread too many uses the group's time up early, and then all of them stand still.
    return cores if quota is None else max(1, min(cores, int(quota)))


def threads_each(options: Mapping[str, Any]) -> int:
    """Threads within one run, so that the `instances` of a model's options do not fight for the cores."""
    return max(1, usable_cores() // int(options.get("instances", 1)))


def cpu_quota(root: Path = _ROOT) -> float | None:
    """Cores' worth of time that this process's control group has, and those around it; None: no limit, or not Linux.

    A container's limit (`docker run --cpus 2`) is one, and leaves the affinity as it was. `root` is where the files
    of /proc and /sys are looked for.
    """
    return min(_quotas(root), default=None)


def _quotas(root: Path) -> Iterator[float]:
    groups = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        mount = groups / "cpu" if controllers else groups
        if controllers and "cpu" not in controllers.split(","):
            continue
        # A container may see the path that its host has, which is not there, and its limit at the top.
        for folder in (mount / path.lstrip("/"), *(mount / path.lstrip("/")).parents):
            if not folder.is_relative_to(mount):
                break
            allowed = _read(folder / "cpu.max") or _old(folder)
            time, _, period = allowed.partition(" ")
            if time.isdecimal() and period.strip().isdecimal() and int(time) and int(period):
                yield int(time) / int(period)


def _old(folder: Path) -> str:
    """What version 1 says, as version 2 would."""
    return f"{_read(folder / 'cpu.cfs_quota_us').strip()} {_read(folder / 'cpu.cfs_period_us').strip()}"


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
