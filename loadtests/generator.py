"""A generator process from the outside: it is given a plan and levels, and tells slices."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

from loadtests.engine.messages import Unpacker, pack
from loadtests.engine.plan import Command, End, Level, Plan, Slice, Told

_ROOT: Final = Path(__file__).resolve().parents[1]
_STOP_S: Final = 2.0
_LONGEST_S: Final = 1e6


class GeneratorFailed(Exception):
    """The generator could not go on; the text says why."""


class Generator:
    """A process that sends what a plan says; leaving the context ends it for sure.

    It works in plain Python and under gevent's patches, for it only reads and writes pipes.
    """

    def __init__(self, plan: Plan) -> None:
        """Start it; nothing is sent before the first level.

        Raises:
            ValueError: the plan is none: no request, no connection, a time that is not positive.
        """
        _check(plan)
        argv = [sys.executable, "-m", "loadtests.engine"]
        # A session of its own: a terminal's Ctrl-C is for its parent, which wants to hear its last slices.
        self._process = subprocess.Popen(
            argv, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True
        )
        self.pid = self._process.pid
        self._write(pack(plan))

    def level(self, level: float) -> None:
        """From now on so many connections (closed) or requests a second (open); raises GeneratorFailed, ValueError."""
        if not 0 <= level < math.inf:
            raise ValueError(f"level: expected a number, 0 or more, got {level}")
        self._command(Level(level))

    def end(self) -> None:
        """Send nothing more; `slices` ends once what is under way has ended; raises GeneratorFailed."""
        self._command(End())

    def _command(self, command: Command) -> None:
        self._write(pack(command))

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        view = memoryview(data)
        try:
            while view:
                view = view[self._process.stdin.write(view) or 0 :]
        except (BrokenPipeError, ValueError):
            raise GeneratorFailed(self._epitaph()) from None

    def slices(self) -> Iterator[Slice]:
        """What it tells, as it comes; blocks for the next one. One at a time may iterate.

        Raises:
            GeneratorFailed: it could not go on.
        """
        assert self._process.stdout is not None
        unpacker: Unpacker[Told] = Unpacker(Told)
        while data := self._process.stdout.read(1 << 16):
            for told in unpacker.feed(data):
                if isinstance(told, Slice):
                    yield told
                elif told.reason:
                    raise GeneratorFailed(told.reason)
                else:
                    return
        raise GeneratorFailed(self._epitaph())

    def _epitaph(self) -> str:
        try:
            status = self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            return "the generator's process has closed its pipes"
        return f"the generator's process ended before it was told to, with status {status}"

    def close(self) -> None:
        """End the process, whatever it is doing."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Generator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check(plan: Plan) -> None:
    if not plan.requests:
        raise ValueError("plan.requests: expected one or more, got none")
    if plan.connections < 1:
        raise ValueError(f"plan.connections: expected 1 or more, got {plan.connections}")
    for name in ("timeout_s", "slice_s"):
        if not 0 < getattr(plan, name) <= _LONGEST_S:
            raise ValueError(f"plan.{name}: expected seconds, more than 0, got {getattr(plan, name)}")
