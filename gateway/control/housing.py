"""Which processes a deployment lives in, what memory they hold, and which server it shares with others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import psutil

from adapters.base import RUNTIMES_OWN, Endpoint, plain_backend


@dataclass(frozen=True, slots=True)
class Housing:
    """Resident memory in bytes of a deployment's processes, and of the server beside them, where there is one.

    `shared` is the pid of the process that other deployments may be in, or may need, as well; 0 where there is none.
    """

    rss_bytes: int | None = None
    server_rss_bytes: int | None = None
    shared: int = 0


NOWHERE: Final = Housing()
"""Of what is not on this machine, or not loaded."""


def housing(endpoint: Endpoint) -> Housing:
    """Where an endpoint lives. Blocking: /proc.

    A local runtime has a process of its own; TF Serving holds all its models in one; TorchServe has processes for each
    model, below the Java process that answers for them.
    """
    if endpoint.pid is None:
        return NOWHERE
    if plain_backend(endpoint.backend) in RUNTIMES_OWN:
        return Housing(rss_bytes([endpoint.pid]))
    workers = [int(each) for each in endpoint.remote.get("pids", "").split()]
    if not workers:
        return Housing(rss_bytes([endpoint.pid]), shared=endpoint.pid)
    server = _parent(workers[0])
    return Housing(rss_bytes(workers), rss_bytes([server]) if server else None, server)


def rss_bytes(pids: Sequence[int]) -> int | None:
    """Resident memory of some processes together; None where one of them is gone."""
    try:
        return sum(psutil.Process(each).memory_info().rss for each in pids)
    except psutil.Error:
        return None


def _parent(pid: int) -> int:
    """The parent, if it is a server of ours: no orphan's, and not the gateway. 0: there is none."""
    try:
        parent: int = psutil.Process(pid).ppid()
    except psutil.Error:
        return 0
    return parent if parent not in (0, 1, os.getpid()) else 0
