"""The worker's loop: gather what has arrived, run one batch, answer; and again.

One thread and no event loop: while a batch runs, the next one gathers in the sockets.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
from collections.abc import Iterator
from time import monotonic_ns

from adapters import wire
from adapters.base import Session
from adapters.batching import BatchQueue, Call, gather, scatter
from adapters.errors import InferenceFailed, InvalidInput, ServingError

_log = logging.getLogger(__name__)

_RECEIVE_BYTES = 1 << 18
_READABLE = select.POLLIN | select.POLLHUP | select.POLLERR


class Peer:
    """One connection: cuts frames out of what comes in, and never blocks on what goes out."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection = connection
        self._reader = wire.FrameReader()
        self._unsent = bytearray()

    def receive(self) -> list[wire.Frame]:
        """The frames that have arrived. Raises OSError where the peer is gone, BrokenFrame where it sends nonsense."""
        try:
            data = self.connection.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return []
        if not data:
            raise ConnectionError("the peer closed the connection")
        return self._reader.feed(data)

    def send(self, data: bytes | bytearray) -> bool:
        """Send, after what was kept before; what the peer does not take yet is kept. True where nothing is left.

        Raises:
            OSError: the peer is gone.
        """
        if self._unsent:
            self._unsent += data
            data = self._unsent
        try:
            sent = self.connection.send(data)
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


class Worker:
    """Serves one model to every peer that connects, until its lifeline closes."""

    def __init__(self, session: Session, listener: socket.socket, lifeline: int, max_rows: int) -> None:
        self._session = session
        self._queue = BatchQueue(max_rows)
        self._listener = listener
        self._alive = True
        self._poll = select.poll()
        self._peers: dict[int, Peer] = {}
        listener.setblocking(False)
        self._poll.register(listener.fileno(), select.POLLIN)
        self._poll.register(lifeline, select.POLLIN)

    def run(self) -> None:
        """Serve until the lifeline closes."""
        while self._alive:
            for descriptor, events in self._poll.poll(0 if self._queue else None):
                if peer := self._peers.get(descriptor):
                    self._react(peer, events)
                elif descriptor == self._listener.fileno():
                    self._accept()
                else:
                    self._alive = False  # the lifeline: the parent is gone
            batch = self._queue.take()
            if batch:
                self._run(batch)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # it left before it was let in
            peer = Peer(self._listener.accept()[0])
            self._peers[peer.connection.fileno()] = peer
            self._poll.register(peer.connection.fileno(), select.POLLIN)

    def _react(self, peer: Peer, events: int) -> None:
        try:
            if events & select.POLLOUT and peer.send(b""):
                self._poll.modify(peer.connection.fileno(), select.POLLIN)
            if events & _READABLE:
                for frame in peer.receive():
                    self._take(peer, frame)
        except (OSError, wire.BrokenFrame):
            self._forget(peer)

    def _take(self, peer: Peer, frame: wire.Frame) -> None:
        if frame.kind is wire.Kind.INFER:
            self._queue.add(Call((peer, frame.id), frame.tensors(), frame.sent_ns))
        elif frame.kind is wire.Kind.CANCEL:
            self._queue.cancel((peer, frame.id))

    def _forget(self, peer: Peer) -> None:
        self._queue.cancel_where(peer)
        descriptor = peer.connection.fileno()
        if self._peers.pop(descriptor, None):
            self._poll.unregister(descriptor)
        peer.connection.close()

    def _run(self, batch: list[Call]) -> None:
        answers: dict[Peer, list[bytes | memoryview]] = {}
        for call, frame in self._answers(batch):
            peer: Peer = call.token[0]  # type: ignore[index]
            answers.setdefault(peer, []).extend(frame)
        for peer, parts in answers.items():  # one write for all that a peer gets out of this batch
            self._send(peer, b"".join(parts))

    def _answers(self, batch: list[Call]) -> Iterator[tuple[Call, list[bytes | memoryview]]]:
        try:
            frames = _infer(self._session, batch)
        except ServingError as error:
            if len(batch) == 1:
                yield batch[0], [wire.error_frame(batch[0].token[1], error)]  # type: ignore[index]
            else:  # one bad row fails alone
                for call in batch:
                    yield from self._answers([call])
            return
        yield from zip(batch, frames, strict=True)

    def _send(self, peer: Peer, data: bytes) -> None:
        try:
            if not peer.send(data):
                self._poll.modify(peer.connection.fileno(), select.POLLIN | select.POLLOUT)
        except (OSError, ValueError):  # ValueError: it was forgotten, and its socket closed
            self._forget(peer)


def _infer(session: Session, batch: list[Call]) -> list[list[bytes | memoryview]]:
    """Run a batch; gives the frame that answers each call. Raises InvalidInput or InferenceFailed."""
    taken_ns = monotonic_ns()
    try:
        inputs = gather(batch)
        gathered_ns = monotonic_ns()
        outputs = session.run(inputs)
    except InvalidInput:
        raise
    except Exception as error:  # whatever a model throws is that model's failure
        _log.exception("the model failed")
        raise InferenceFailed(f"the model failed: {first_line(error)}") from error
    ran_ns = monotonic_ns()
    answers = scatter(outputs, batch)
    try:
        frames = [
            wire.tensors_frame(wire.Kind.RESULT, call.token[1], answer)  # type: ignore[index]
            for call, answer in zip(batch, answers, strict=True)
        ]
    except Exception as error:
        raise InferenceFailed(f"the model's answer cannot be sent: {first_line(error)}") from error
    input_ns, run_ns, output_ns = gathered_ns - taken_ns, ran_ns - gathered_ns, monotonic_ns() - ran_ns
    rows = session.signature.rows(inputs)
    for call, frame in zip(batch, frames, strict=True):
        # The wait begins where the call was sent: it lies in the socket, unread, while another batch runs.
        queue_ns = max(0, taken_ns - call.sent_ns)
        wire.stamp(frame, queue_ns, input_ns, run_ns, output_ns, rows, call is batch[0])
    return frames


def first_line(error: Exception) -> str:
    """What an exception says, without the lines of a native stack behind it."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:500]
