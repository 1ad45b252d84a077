"""What a gateway and all its processes take of the machine."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import psutil

from tests.e2e.gateway import RunningGateway


@dataclass(frozen=True)
class Footprint:
    """`memory_bytes` is what its processes have to themselves (USS): what they share with others says nothing of them.

    `descriptors` are those without TCP connections, which are the clients' doing; `sockets` are files.
    """

    memory_bytes: int
    gateway_bytes: int
    processes: int
    threads: int
    descriptors: int
    sockets: int

    def more_than(self, before: Footprint) -> list[str]:
        """Everything but memory that has become more."""
        counts = [each.name for each in fields(self) if not each.name.endswith("bytes")]
        pairs = [(name, getattr(before, name), getattr(self, name)) for name in counts]
        return [f"{was} {name} became {now}" for name, was, now in pairs if now > was]


def footprint(gateway: RunningGateway) -> Footprint:
    """At this moment, or a little later where a process is just ending."""
    while True:
        try:
            return _footprint(gateway)
        except psutil.NoSuchProcess:
            continue


def _footprint(gateway: RunningGateway) -> Footprint:
    own = psutil.Process(gateway.process.pid)
    children = [each for each in own.children(recursive=True) if each.status() != psutil.STATUS_ZOMBIE]
    everyone = [own, *children]
    paths = [address for each in children for address in _socket_files(each)]
    folders = {path.rpartition("/")[0] for path in paths}
    return Footprint(
        memory_bytes=sum(each.memory_full_info().uss for each in everyone),
        gateway_bytes=own.memory_full_info().uss,
        processes=len(everyone),
        threads=sum(each.num_threads() for each in everyone),
        descriptors=sum(each.num_fds() - len(each.net_connections("tcp")) for each in everyone),
        sockets=sum(_files(folder) for folder in folders),
    )


def _socket_files(process: psutil.Process) -> list[str]:
    return [each.laddr for each in process.net_connections("unix") if each.laddr.startswith("/")]


def _files(folder: str) -> int:
    return sum(1 for _ in Path(folder).iterdir())
