"""What else the machine did during a run, and when that is too much to trust the figures."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import psutil

from loadtests.results.schema import Noise

STEAL_LIMIT: Final = 0.02
"""Share of the cores' time that a hypervisor may take: more, and the highest percentiles are its own."""

OTHERS_LIMIT: Final = 0.05
"""Share of the cores' time that other processes may take: a tenth of a core where there are two."""

Key: TypeAlias = tuple[int, float]
"""A process: its id, and when it began, for ids come again."""


def marks(noise: Noise) -> tuple[str, ...]:
    """Why to mistrust a run; nothing where the machine was quiet.

    The load before is no reason: the run before, which was ours, is in it.
    """
    shares = ((noise.steal, STEAL_LIMIT, "steal"), (noise.others, OTHERS_LIMIT, "other processes"))
    return tuple(
        f"busy machine: {share:.0%} {what}" for share, limit, what in shares if share is not None and share > limit
    )


@dataclass(frozen=True, slots=True)
class Used:
    """CPU seconds of a process: its own, and those of its children that have ended and that it has waited for."""

    parent: int
    own_s: float
    children_s: float = 0.0

    @property
    def all_s(self) -> float:
        """Both."""
        return self.own_s + self.children_s


class Watch:
    """What the machine does from now on beside some processes and all that they start. Not for several threads."""

    def __init__(self, ours: Sequence[int] | None) -> None:
        """`ours` are ids of processes that are not noise; None: some of those that matter are on another machine.

        The process that watches and all that it starts, as the generator, are not noise either.
        """
        self._ours = None if ours is None else [os.getpid(), *ours]
        self._load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        self._known: set[Key] = set()
        self._machine = _Machine.now()
        self._begun = self._ours_now()

    def read(self) -> Noise:
        """Shares since this began. Blocking, milliseconds: looks at every process."""
        machine = _Machine.now()
        all_s = machine.all_s - self._machine.all_s
        if all_s <= 0:
            return Noise(None, None, self._load)
        steal = _share(machine.steal_s - self._machine.steal_s, all_s) if psutil.LINUX else None
        if self._ours is None:
            return Noise(steal, None, self._load)
        others_s = machine.busy_s - self._machine.busy_s - used_between(self._begun, self._ours_now())
        return Noise(steal, _share(others_s, all_s), self._load)

    def _ours_now(self) -> dict[Key, Used]:
        if self._ours is None:
            return {}
        processes = _processes()
        roots = {key for key in processes if key[0] in self._ours} if not self._known else self._known
        found = tree(processes, roots)
        self._known |= found.keys()
        return found


def tree(processes: Mapping[Key, Used], roots: Collection[Key]) -> dict[Key, Used]:
    """Those of the roots that are there, and all that descends from them."""
    found = {key: used for key, used in processes.items() if key in roots}
    while True:
        pids = {pid for pid, _ in found}
        more = {key: used for key, used in processes.items() if used.parent in pids and key not in found}
        if not more:
            return found
        found |= more


def used_between(begun: Mapping[Key, Used], now: Mapping[Key, Used]) -> float:
    """CPU seconds that processes used between two looks at them, those that came and went included.

    What one had used before the first look and took with it when it ended is in its parent's account at the second
    look, if that parent has waited for it: it is taken out again.
    """
    used_s = sum(used.all_s - (begun[key].all_s if key in begun else 0.0) for key, used in now.items())
    there = {pid for pid, _ in now}
    used_s -= sum(used.all_s for key, used in begun.items() if key not in now and used.parent in there)
    return max(0.0, used_s)


def _processes() -> dict[Key, Used]:
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error), process.oneshot():
            times = process.cpu_times()
            children_s = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
            used = Used(process.ppid(), times.user + times.system, children_s)
            found[process.pid, process.create_time()] = used
    return found


def _share(part_s: float, all_s: float) -> float:
    return min(1.0, max(0.0, part_s / all_s))


@dataclass(frozen=True, slots=True)
class _Machine:
    """CPU seconds of all cores since the machine began."""

    all_s: float
    busy_s: float
    steal_s: float

    @classmethod
    def now(cls) -> _Machine:
        times = psutil.cpu_times()
        # Interrupts are mostly those of our own loopback, and no process's: they are neither side's.
        busy_s = times.user + getattr(times, "nice", 0.0) + times.system
        steal_s = getattr(times, "steal", 0.0)
        beside = sum(getattr(times, name, 0.0) for name in ("idle", "iowait", "irq", "softirq"))
        return cls(busy_s + steal_s + beside, busy_s, steal_s)
