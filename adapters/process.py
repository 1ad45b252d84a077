"""A child process that ends with its parent, whose last words are kept, and that is stopped for sure."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import socket
import sys
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from adapters import tether
from adapters.spawned import Spawned

_log = logging.getLogger(__name__)

_TAIL_LINES = 20
_LINE_CHARACTERS = 300

_PORTS = range(15_000, 32_000)
"""Below those that Linux (from 32768) and macOS (from 49152) give to connections: who gets one starts slowly."""


class Child:
    """A running child process, in a session of its own so that a terminal's Ctrl-C reaches the gateway alone."""

    def __init__(self, process: Spawned, name: str) -> None:
        self._process = process
        self._name = name
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._reading = asyncio.create_task(self._read_stderr(), name=f"stderr of {name}")

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        *,
        name: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        pass_fds: Sequence[int] = (),
        inherited: Collection[str] | None = None,
    ) -> Child:
        """Start `argv`; `name` is what log lines call it. stdin and stdout are pipes for the caller's use.

        It inherits the descriptors `pass_fds`, under their numbers, and of the variables of this process's environment
        those that `inherited` names, or all of them; `env` comes on top.
        """
        tied = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), *argv]
        known = {name: value for name, value in os.environ.items() if inherited is None or name in inherited}
        return cls(await Spawned.start(tied, {**known, **(env or {})}, cwd, pass_fds), name)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """False once the process has ended."""
        return self._process.returncode is None

    async def send_line(self, line: bytes) -> None:
        """Write a line to its stdin, which stays open. A child that died already is found out by `read_line`."""
        if not self._process.stdin.is_closing():
            self._process.stdin.write(line + b"\n")

    async def read_line(self) -> bytes:
        """The next line of its stdout; empty once it has closed it."""
        return (await self._process.stdout.readline()).rstrip(b"\n")

    async def discard_stdout(self) -> None:
        """Read stdout into the log until its end, so that a talkative child never blocks on a full pipe."""
        await self._read(self._process.stdout)

    async def wait(self) -> str:
        """Wait for its end, and say how it ended, with the last lines of its stderr."""
        code = await self._process.wait()
        await asyncio.wait([self._reading], timeout=1.0)
        how = f"killed by {_signal_name(-code)}" if code < 0 else f"exit code {code}"
        return f"{how}; last lines of stderr: {self.tail()}" if self._tail else how

    @property
    def exit_code(self) -> int | None:
        """The code that it ended with, negative for the signal that ended it; None while it runs."""
        return self._process.returncode

    def tail(self, lines: int = 4) -> str:
        """The last lines that it wrote to stderr, joined by ' | '."""
        return " | ".join(list(self._tail)[-lines:])

    async def stop(self, grace_s: float) -> None:
        """End it and everything in its session: SIGTERM, and SIGKILL for what is left after `grace_s`."""
        try:
            if self.alive:
                self._signal(signal.SIGTERM)
                await asyncio.wait_for(self._process.wait(), grace_s)
        except TimeoutError:
            if grace_s:
                _log.warning("%s did not end within %.1f s of SIGTERM; killing it", self._name, grace_s)
        finally:
            self._signal(signal.SIGKILL)
            await self._process.wait()
            await asyncio.wait([self._reading], timeout=1.0)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def _read_stderr(self) -> None:
        await self._read(self._process.stderr)

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while chunk := await _line(stream):
            line = chunk.decode(errors="replace").strip()[:_LINE_CHARACTERS]
            if line:
                self._tail.append(line)
                _log.debug("%s: %s", self._name, line)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # the real-time signals have no names of their own
        return f"signal {number}"


async def _line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readline()
    except ValueError:  # a line beyond the reader's limit: drop it, go on with the next
        return b"\n"


def python_argv(module: str) -> list[str]:
    """The command that runs a module of ours.

    Without the working folder on its path: that may be a model repository, and no file of one is ever code.
    """
    return [sys.executable, "-P", "-m", module]


def python_environment() -> dict[str, str]:
    """Variables with which a Python child imports `adapters` from where this process has it."""
    root = str(Path(__file__).resolve().parents[1])
    path = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([root, path]) if path else root}


def free_port() -> int:
    """A TCP port of loopback that nothing listens on, and that no outgoing connection is given meanwhile."""
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError(f"no TCP port from {_PORTS.start} to {_PORTS.stop - 1} of 127.0.0.1 is free")
