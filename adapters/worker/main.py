"""The child: loads one model, then serves it on a Unix socket until its parent goes away.

It is started by `adapters.worker.adapter`, which writes a `Job` to stdin and reads `Ready` or `Refused` from stdout.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import os
import signal
import socket
import sys
from pathlib import Path

import msgspec

from adapters.adaptive_limit import limit_for
from adapters.base import Runtime, Session, SharedSession
from adapters.batching import queue_for
from adapters.errors import LoadFailed
from adapters.worker.instance import Instance, first_line
from adapters.worker.job import Job, Ready, Refused
from adapters.worker.loop import Worker
from adapters.worker.rehearsal import rehearse
from adapters.worker.watchdog import Watchdog

_log = logging.getLogger(__name__)


def load(job: Job) -> tuple[list[Session], Ready]:
    """Load the job's model, a session for each instance, and rehearse it; raises LoadFailed."""
    module, _, name = job.runtime.partition(":")
    runtime: Runtime = getattr(importlib.import_module(module), name)()
    instances: int = job.options.get("instances", 1)
    try:
        session = runtime.load(Path(job.path), job.options)
        sessions = [session, *(_another(session, runtime, job) for _ in range(instances - 1))]
    except LoadFailed:
        raise
    except Exception as error:
        _log.exception("loading failed")
        raise LoadFailed(first_line(error)) from error
    max_rows = rehearse(session, Path(job.golden) if job.golden else None, job.batching)
    return sessions, Ready(session.signature, runtime.describe(), max_rows, instances)


def _another(session: Session, runtime: Runtime, job: Job) -> Session:
    return session.share() if isinstance(session, SharedSession) else runtime.load(Path(job.path), job.options)


def _serve(job: Job, sessions: list[Session], max_rows: int, listener: socket.socket) -> None:
    batching = job.batching
    limit, queue = limit_for(batching, max_rows), queue_for(batching, max_rows)
    instances = [Instance(each, batching.allowed_rows, limit) for each in sessions]
    if job.run_limit_s is not None:
        Watchdog(instances, job.run_limit_s).start()
    Worker(instances, queue, listener, sys.stdin.fileno(), limit).run()


def _yield_to_the_gateway() -> None:
    # A worker on the gateway's core waits until the gateway has nothing to do, instead of interrupting it for each
    # request: fewer switches and fuller batches. On a core of its own it makes no difference.
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def main() -> int:
    """Entry point of the child process."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _yield_to_the_gateway()
    answer_fd = os.dup(1)
    os.dup2(2, 1)  # native libraries print to stdout; only the answer may
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    try:
        sessions, ready = load(job)
    except LoadFailed as error:
        os.write(answer_fd, msgspec.json.encode(Refused(str(error))) + b"\n")
        return 0
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(job.socket)
        listener.listen()
        os.write(answer_fd, msgspec.json.encode(ready) + b"\n")
        os.close(answer_fd)
        gc.freeze()  # what loading left is there to stay: no collection need look at it again
        _serve(job, sessions, ready.max_rows, listener)
    return 0


if __name__ == "__main__":
    sys.exit(main())
