"""Ctrl-C and SIGTERM: the first of them is a KeyboardInterrupt of the main greenlet, and the rest are not heard."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import greenlet  # type: ignore[import-untyped]


class Interruption:
    """What asks this process to end, and when it may be told.

    Python raises a signal's exception in whatever greenlet happens to run. In gevent's hub it would be printed as an
    error, and in the one that reads a generator's slices it would lose them: only the main one knows how to end.
    """

    def __init__(self) -> None:
        """Nothing is heard before `listen`."""
        self.main: greenlet.greenlet | None = None
        """The one that is told."""

        self._asked = False
        self._due = False
        self._holds = 0
        self._numbers: tuple[signal.Signals, ...] = ()

    def listen(self) -> None:
        """Hear from now on; called by the main greenlet, which gets the KeyboardInterrupt."""
        self.main = greenlet.getcurrent()
        self._numbers = (signal.SIGINT, signal.SIGTERM)
        for number in self._numbers:
            signal.signal(number, self.hear)

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Called with a signal, in any greenlet."""
        if self._asked:
            return
        self._asked = self._due = True
        if self._holds:
            return
        if greenlet.getcurrent() is self.main:
            self._due = False
            raise KeyboardInterrupt
        self._tell_as_it_waits()

    @contextmanager
    def held(self) -> Iterator[None]:
        """What must not be broken off: what is heard meanwhile is told once the main greenlet waits after it."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            if self._due and not self._holds:
                self._tell_as_it_waits()

    @contextmanager
    def heard(self) -> Iterator[None]:
        """What may be broken off, in the middle of what must not be."""
        holds, self._holds = self._holds, 0
        try:
            if self._due:
                self._due = False
                raise KeyboardInterrupt
            yield
        finally:
            self._holds = holds

    def ignore(self) -> None:
        """All is done but the last words: nothing more is heard or told."""
        self._asked, self._due = True, False
        for number in self._numbers:
            signal.signal(number, signal.SIG_IGN)  # Python itself, as it ends, makes deadly again what it handled

    def _tell_as_it_waits(self) -> None:
        import gevent  # noqa: PLC0415  # there are other greenlets, so it is there; to import it costs a second

        gevent.get_hub().loop.run_callback(self._tell)

    def _tell(self) -> None:
        """In the hub, so while the main greenlet waits for something: as gevent's own timeouts do it."""
        if self._due and not self._holds and self.main is not None:
            self._due = False
            self.main.throw(KeyboardInterrupt)


INTERRUPTION: Final = Interruption()
"""Signals are the process's: so is this."""
