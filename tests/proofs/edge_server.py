"""A real edge server in a process of its own, over a folder of bundles."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.gateway import free_port


@dataclass
class EdgeProcess:
    """`torii edge serve`; `prefix` are words before the command, as `taskset -c 1`."""

    folder: Path
    store: str
    prefix: Sequence[str] = ()
    port: int = 0

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.port = self.port or free_port()
        command = [*self.prefix, sys.executable, "-m", "gateway", "edge", "serve", str(self.folder)]
        with self.folder.with_suffix(".log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port)],
                env={**os.environ, "TORII_STORE": self.store, "TORII_STORE_NAME": "proof"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.until(lambda: httpx.get(f"{self.url}/edge/v1/metadata/timestamp.json").status_code == 200)

    def until(self, condition: Callable[[], Any], within_s: float = 60.0) -> Any:
        """Wait for a condition, and give its value; fails with the server's log."""
        give_up_s = time.monotonic() + within_s
        while True:
            with contextlib.suppress(httpx.TransportError):
                if value := condition():
                    return value
            waiting = self.process.poll() is None and time.monotonic() < give_up_s
            assert waiting, self.log()
            time.sleep(0.02)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def log(self) -> str:
        """The end of its log."""
        return self.folder.with_suffix(".log").read_text()[-4000:]

    def kill(self) -> None:
        """SIGKILL, in the middle of whatever it does."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; gives the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode


@contextlib.contextmanager
def serving(folder: Path, prefix: Sequence[str] = ()) -> Iterator[EdgeProcess]:
    """A server over a folder, stopped at the end."""
    server = EdgeProcess(folder, f"sqlite:///{folder.with_suffix('.db')}", prefix)
    server.start()
    try:
        yield server
    finally:
        server.stop()
