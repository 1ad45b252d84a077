"""Memory that a gateway and a worker share, where big tensors cross without a socket (docs/decisions/0015)."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import socket
from collections import defaultdict
from collections.abc import Sequence
from threading import Lock

from adapters import wire
from adapters.wire import SHARED_BYTES

CAPACITY_BYTES = 1 << 28
"""What one direction of one connection may hold. Memory is taken as it is written to, and what does not fit goes by
the socket."""

_KEPT_BYTES = 1 << 25


_SEALS = getattr(fcntl, "F_SEAL_SHRINK", 0) | getattr(fcntl, "F_SEAL_GROW", 0) | getattr(fcntl, "F_SEAL_SEAL", 0)
"""A worker whose model has gone wild could shrink the memory else, and the gateway's next look at it would end it."""


class Slots:
    """Which parts of a memory are taken, and by whom: pure.

    Sizes are rounded up to powers of two from SHARED_BYTES on, so that what one tensor leaves fits the next.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._end = 0
        self._free: defaultdict[int, list[int]] = defaultdict(list)
        self._taken: dict[int, list[tuple[int, int]]] = {}
        self.owners = self._taken.keys()

    @property
    def end(self) -> int:
        """Beyond it, nothing was ever taken since the last time that all was free."""
        return self._end

    def take(self, owner: int, size_bytes: int) -> int | None:
        """Where `size_bytes` of the owner's may lie; None where there is no room."""
        rounded = max(SHARED_BYTES, 1 << (size_bytes - 1).bit_length())
        free = self._free[rounded]
        if free:
            at = free.pop()
        elif self._end + rounded <= self._capacity_bytes:
            at, self._end = self._end, self._end + rounded
        else:
            return None
        self._taken.setdefault(owner, []).append((rounded, at))
        return at

    def release(self, owner: int) -> bool:
        """Free all that an owner has; true where nothing at all is taken any more."""
        for rounded, at in self._taken.pop(owner, ()):
            self._free[rounded].append(at)
        if self._taken:
            return False
        self._free.clear()
        self._end = 0
        return True


class Arena:
    """The writing end: puts tensors into memory that another process maps. Several threads may."""

    def __init__(self, descriptor: int, capacity_bytes: int) -> None:
        self._memory = mmap.mmap(descriptor, capacity_bytes)
        self._view = memoryview(self._memory)
        self._slots = Slots(capacity_bytes)
        self._touched = 0
        self._lock = Lock()
        self.owners = self._slots.owners

    def place(self, owner: int, data: memoryview) -> int | None:
        """Copy bytes to where the other process will read them, until the owner's are released; None for no room."""
        with self._lock:
            at = self._slots.take(owner, len(data))
            self._touched = max(self._touched, self._slots.end)
        if at is not None:
            self._view[at : at + len(data)] = data
        return at

    def release(self, owner: int) -> None:
        """The other process has read what the owner placed, or never will."""
        with self._lock:
            if self._slots.release(owner) and self._touched > _KEPT_BYTES:
                with contextlib.suppress(OSError):  # memory that is not given back is no more than memory kept
                    self._memory.madvise(mmap.MADV_REMOVE, _KEPT_BYTES, self._touched - _KEPT_BYTES)
                self._touched = _KEPT_BYTES

    def close(self) -> None:
        """Let go of the memory."""
        self._view.release()
        self._memory.close()


class SharedMemory:
    """One end of a connection's two memories: what was `placed` in one, and what can be `read` in the other."""

    def __init__(self, placed: Arena, read: memoryview) -> None:
        self.placed = placed
        self.read = read

    @classmethod
    def offer(cls, connection: socket.socket, capacity_bytes: int = CAPACITY_BYTES) -> SharedMemory | None:
        """A gateway's end, after it has sent HELLO; None where this system has no such memory. Raises OSError."""
        if not hasattr(os, "memfd_create"):
            return None
        descriptors: list[int] = []
        try:
            for name in ("torii-inputs", "torii-outputs"):
                descriptors.append(os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))
                os.ftruncate(descriptors[-1], capacity_bytes)
                fcntl.fcntl(descriptors[-1], fcntl.F_ADD_SEALS, _SEALS)
            placed, read = Arena(descriptors[0], capacity_bytes), _readable(descriptors[1])
            socket.send_fds(connection, [wire.bare_frame(wire.Kind.HELLO)], descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return cls(placed, read)

    @classmethod
    def accept(cls, descriptors: Sequence[int]) -> SharedMemory:
        """A worker's end, by the descriptors that came with HELLO; takes them. Raises OSError."""
        try:
            inputs, outputs = descriptors
            return cls(Arena(outputs, os.fstat(outputs).st_size), _readable(inputs))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def close(self) -> None:
        """Let go of both."""
        self.placed.close()
        # What was read may still be in use somewhere: that memory goes with the last view of it.


def _readable(descriptor: int) -> memoryview:
    return memoryview(mmap.mmap(descriptor, 0, prot=mmap.PROT_READ))
