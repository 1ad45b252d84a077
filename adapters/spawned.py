"""A process started without holding up the event loop, and its pipes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Thread
from typing import IO, Any

_LINE_BYTES = 2**22

_SPAWNER = ThreadPoolExecutor(1, "spawner")
"""One thread that lives as long as this process: the kernel's tie to a parent is one to the thread that forked."""


class _ToItsEnd(asyncio.StreamReaderProtocol):
    """Reads a pipe that is closed once its other end is: by itself, the reader would keep it open."""

    def eof_received(self) -> bool:
        """Called by the event loop."""
        super().eof_received()
        return False


class _Lent:
    """A pipe's descriptor, for a loop that closes it by its number.

    uvloop does that, and closes the file as well (0.23): by then the number may be of something that another
    thread has opened, and that would be closed.
    """

    def __init__(self, pipe: IO[bytes]) -> None:
        self._descriptor = os.dup(pipe.fileno())
        pipe.close()

    def fileno(self) -> int:
        """Asked by the event loop."""
        return self._descriptor

    def close(self) -> None:
        """Called by the event loop, which has closed the descriptor, or is about to."""


class Spawned:
    """A process with pipes for stdin, stdout and stderr. `returncode` is None while it runs."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._loop = asyncio.get_running_loop()
        self._popen = popen
        self._ended = asyncio.Event()
        self.returncode: int | None = None
        self.pid = popen.pid
        self.stdout = asyncio.StreamReader(_LINE_BYTES)
        self.stderr = asyncio.StreamReader(_LINE_BYTES)
        self.stdin: asyncio.WriteTransport

    @classmethod
    async def start(
        cls, argv: Sequence[str], env: Mapping[str, str], cwd: Path | None, pass_fds: Sequence[int]
    ) -> Spawned:
        """Start it in a session of its own; raises OSError. A start that is cancelled leaves no process.

        An event loop that forks by itself stands still until the child is another program: 10 ms for a gateway's size.
        """
        begun = _SPAWNER.submit(_begin, argv, env, cwd, pass_fds)
        try:
            popen = await asyncio.shield(asyncio.wrap_future(begun))
        except asyncio.CancelledError:
            begun.add_done_callback(_end)
            raise
        process = cls(popen)
        try:
            await process._connect()
        except BaseException:
            popen.kill()  # its pipes are closed by who reads them, or with the last reference to them
            _SPAWNER.submit(popen.wait)
            raise
        return process

    async def _connect(self) -> None:
        assert self._popen.stdin is not None
        for reader, pipe in ((self.stdout, self._popen.stdout), (self.stderr, self._popen.stderr)):
            assert pipe is not None
            await self._loop.connect_read_pipe(partial(_ToItsEnd, reader), self._owned(pipe))
        self.stdin, _ = await self._loop.connect_write_pipe(asyncio.BaseProtocol, self._owned(self._popen.stdin))
        Thread(target=self._watch, name=f"end of {self.pid}", daemon=True).start()

    def _owned(self, pipe: IO[bytes]) -> Any:
        """A pipe as the loop may take it over."""
        return _Lent(pipe) if type(self._loop).__module__.partition(".")[0] == "uvloop" else pipe

    def _watch(self) -> None:
        code = self._popen.wait()
        with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody asks any more
            self._loop.call_soon_threadsafe(self._end, code)

    def _end(self, code: int) -> None:
        self.returncode = code
        self.stdin.close()
        self._ended.set()

    async def wait(self) -> int:
        """Wait for its end; gives its exit code, negative for the signal that ended it."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode


def _begin(
    argv: Sequence[str], env: Mapping[str, str], cwd: Path | None, pass_fds: Sequence[int]
) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        argv,
        bufsize=0,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        env=env,
        cwd=cwd,
        start_new_session=True,
        pass_fds=pass_fds,
    )


def _end(begun: Future[subprocess.Popen[bytes]]) -> None:
    if begun.cancelled() or begun.exception() is not None:
        return
    popen = begun.result()
    for pipe in (popen.stdin, popen.stdout, popen.stderr):
        if pipe is not None:
            pipe.close()
    popen.kill()
    popen.wait()
