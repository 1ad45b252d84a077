"""One connection of a worker: frames come in, and nothing that goes out ever blocks."""

from __future__ import annotations

import select
import socket
from threading import Lock

from adapters import wire
from adapters.worker.arena import SharedMemory

_RECEIVE_BYTES = 1 << 16  # above 128 kB, the allocator would map and unmap the memory each time: 12 µs


class Peer:
    """Cuts frames out of what comes in, and keeps what the other end does not take yet.

    One thread receives; any may send. The poll object is told when to say that the other end takes more.
    """

    def __init__(self, connection: socket.socket, poll: select.poll) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._reader = wire.FrameReader()
        self._poll = poll
        self._sending = Lock()
        self._unsent = bytearray()
        self._behind = False
        self._greeted = False
        self._memory: SharedMemory | None = None
        poll.register(connection.fileno(), select.POLLIN)

    def receive(self) -> list[wire.Frame]:
        """The frames that have arrived. Raises OSError where the peer is gone, BrokenFrame where it sends nonsense."""
        try:
            data = self._connection.recv(_RECEIVE_BYTES) if self._greeted else self._receive_first()
        except BlockingIOError:
            return []
        if not data:
            raise ConnectionError("the peer closed the connection")
        return self._reader.feed(data)

    def _receive_first(self) -> bytes:
        """What comes first brings the memory that is to be shared, where there is some."""
        data, descriptors, _, _ = socket.recv_fds(self._connection, _RECEIVE_BYTES, 2)
        self._greeted = True
        if descriptors:
            self._memory = SharedMemory.accept(descriptors)
        return data

    @property
    def shared(self) -> memoryview:
        """Where the other end puts its big tensors."""
        return self._memory.read if self._memory else memoryview(b"")

    def place(self, request_id: int, data: memoryview) -> int | None:
        """Put the bytes of an answer where the other end reads them; None where they do not fit there."""
        memory = self._memory  # another thread may let go of it meanwhile
        return memory.placed.place(request_id, data) if memory is not None else None

    def release(self, request_id: int) -> None:
        """The other end has read what was placed for a request."""
        memory = self._memory
        if memory is not None:
            memory.placed.release(request_id)

    def send(self, data: bytes | bytearray) -> bool:
        """Send, after what was kept before; what the peer does not take yet is kept. True where nothing is left.

        Raises:
            OSError: the peer is gone.
        """
        with self._sending:
            done = self._write(data)
            if done is self._behind:
                self._behind = not done
                events = select.POLLIN if done else select.POLLIN | select.POLLOUT
                self._poll.modify(self._connection.fileno(), events)
            return done

    def _write(self, data: bytes | bytearray) -> bool:
        if self._unsent:
            self._unsent += data
            data = self._unsent
        try:
            sent = self._connection.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            if data is self._unsent:
                del self._unsent[:sent]  # moves nothing, unlike a copy of the rest: that may be long, and come often
            else:
                self._unsent = bytearray(memoryview(data)[sent:])
            return False
        self._unsent = bytearray()
        return True

    def close(self) -> None:
        """Close the connection; not in the middle of another thread's `send`, which would then meet a stranger."""
        with self._sending:
            self._poll.unregister(self._connection.fileno())
            self._connection.close()
            self._memory = None  # it goes with the last thread that has a place in it
