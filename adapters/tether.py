"""Runs a command that the kernel ends when this command's parent dies: `python tether.py PARENT_PID COMMAND…`.

A file of its own, importing next to nothing, because it stands in front of every child process. On systems
without prctl (macOS) the command runs untethered; Torii's own workers also watch their stdin.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent, then become the command."""
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):  # the parent died before the tie was made
            sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606  # becoming the command is the point


if __name__ == "__main__":
    main()
