"""An alarm that rings on the microsecond: event loops round their timers to milliseconds."""

from __future__ import annotations

import asyncio
import ctypes
import math
import os
import sys
import time
from collections.abc import Callable
from typing import Final, Protocol

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_CLOCK_MONOTONIC: Final = 1
_ABSOLUTE: Final = 1
_NONBLOCK_CLOEXEC: Final = 0o2004000


class Alarm(Protocol):
    """Rings at the moment that it is set to; who is rung sets it again."""

    def set(self, at_s: float) -> None:
        """Ring at a moment of time.perf_counter, at once where it is past; never, where it is infinite."""

    def close(self) -> None:
        """Never ring again."""


def alarm(ring: Callable[[], None]) -> Alarm:
    """The best one that this system has."""
    return TimerFile(ring) if sys.platform == "linux" else LoopTimer(ring)


class LoopTimer:
    """By the event loop's own timers: as late as it likes, which the generator then tells."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def set(self, at_s: float) -> None:
        """See Alarm."""
        self.close()
        if math.isfinite(at_s):
            self._timer = self._loop.call_later(max(0.0, at_s - time.perf_counter()), self._ring)

    def close(self) -> None:
        """See Alarm."""
        if self._timer is not None:
            self._timer.cancel()


class _Timerspec(ctypes.Structure):
    _fields_ = [("every", ctypes.c_long * 2), ("at", ctypes.c_long * 2)]  # ctypes wants a list


class TimerFile:
    """By a timer of Linux's that can be read like a file; perf_counter is its clock."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._file = _LIBC.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._spec = _Timerspec()
        self._at = self._spec.at
        self._pointer = ctypes.byref(self._spec)
        self._settime = _LIBC.timerfd_settime
        self._loop.add_reader(self._file, ring)  # setting it anew clears it: it need not be read

    def set(self, at_s: float) -> None:
        """See Alarm."""
        whole_s = int(at_s) if math.isfinite(at_s) else 0
        self._at[0] = whole_s
        self._at[1] = int((at_s - whole_s) * 1e9) if whole_s else 0  # zeros stop the timer
        self._settime(self._file, _ABSOLUTE, self._pointer, None)

    def close(self) -> None:
        """See Alarm."""
        self._loop.remove_reader(self._file)
        os.close(self._file)
