"""Ends a server, paused or not, whose benchmark is gone.

`python -m loadtests.bench.warden PID` waits until its standard input ends, which the benchmark holds open.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable

import psutil


def each(processes: Iterable[psutil.Process], act: Callable[[psutil.Process], None]) -> None:
    """Do something to every process that is still there."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            act(process)


def main() -> None:
    """Wait, and kill that process with all its children."""
    sys.stdin.read()
    with contextlib.suppress(psutil.NoSuchProcess):
        server = psutil.Process(int(sys.argv[1]))
        each([server, *server.children(recursive=True)], psutil.Process.kill)


if __name__ == "__main__":
    main()
