"""The worker's loop: gather what has arrived, run one batch, answer; and again.

No event loop, and no hand-over between threads: of the instances' threads, one at a time leads (Leader/Followers,
Schmidt et al. 2000). It waits at the sockets, reads, takes a batch, lets the next one lead, and runs what it took.
While all of them run, the next batch gathers in the sockets.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
from collections.abc import Sequence
from threading import Lock, Thread
from time import monotonic_ns

from adapters import wire
from adapters.adaptive_limit import AdaptiveLimit
from adapters.batching import BatchQueue, Call
from adapters.worker.instance import Instance, Parts
from adapters.worker.peer import Peer

_log = logging.getLogger(__name__)

_READABLE = select.POLLIN | select.POLLHUP | select.POLLERR
_NS_PER_MS = 1_000_000


class Worker:
    """Serves one model to every peer that connects, until its lifeline closes."""

    def __init__(
        self,
        instances: Sequence[Instance],
        queue: BatchQueue,
        listener: socket.socket,
        lifeline: int,
        limit: AdaptiveLimit | None = None,
    ) -> None:
        """`queue` gets its `max_rows` from `limit`, if there is one."""
        self._instances = instances
        self._queue = queue
        self._limit = limit
        self._listener = listener
        self._alive = True
        self._leading = Lock()
        self._peers: dict[int, Peer] = {}
        self._timeout_ms: int | None = None
        self._waker, self._woken = os.pipe()[::-1]
        self._poll = select.poll()
        os.set_blocking(self._waker, False)
        listener.setblocking(False)
        for descriptor in (listener.fileno(), lifeline, self._woken):
            self._poll.register(descriptor, select.POLLIN)

    def run(self) -> None:
        """Serve until the lifeline closes, the first instance in this thread and each other in one of its own."""
        first, *others = self._instances
        threads = [Thread(target=self._serve_or_die, args=(each,), daemon=True) for each in others]
        for thread in threads:
            thread.start()
        self._serve(first)
        for thread in threads:
            thread.join()

    def _serve_or_die(self, instance: Instance) -> None:
        try:
            self._serve(instance)
        except BaseException:  # noqa: BLE001  # the worker would go on with one less, and nobody would know
            _log.exception("an instance of the model failed")
            os._exit(1)

    def _serve(self, instance: Instance) -> None:
        while batch := self._lead():
            answers: dict[Peer, Parts] = {}
            for call, frame in instance.answers(batch):
                answers.setdefault(call.token[0], []).extend(frame)
            for peer, parts in answers.items():  # one write for all that a peer gets out of this batch
                self._send(peer, b"".join(parts))

    def _lead(self) -> list[Call]:
        """Wait for something to run, and take it; nothing once the lifeline has closed."""
        with self._leading:
            while self._alive:
                self._look()
                if batch := self._take():
                    return batch
        return []

    def _look(self) -> None:
        for descriptor, events in self._poll.poll(self._timeout_ms):
            if peer := self._peers.get(descriptor):
                self._react(descriptor, peer, events)
            elif descriptor == self._listener.fileno():
                self._accept()
            elif descriptor == self._woken:
                os.read(self._woken, 4096)
            else:
                self._alive = False  # the lifeline: the parent is gone

    def _take(self) -> list[Call]:
        """What is to run now, if anything; says how long the next look may wait."""
        queue, now_ns = self._queue, monotonic_ns()
        if self._limit is not None:
            queue.max_rows = self._limit.rows
        batch: list[Call] = []
        wait_ns = queue.wait_ns(now_ns)
        if wait_ns == 0:
            batch, late = queue.take(now_ns)
            for call in late:  # their gateway tells the callers, at the same moment
                self._drop(*call.token)
            wait_ns = 0 if queue else None
        self._timeout_ms = None if wait_ns is None else -(-wait_ns // _NS_PER_MS)
        return batch

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # it left before it was let in
            connection = self._listener.accept()[0]
            self._peers[connection.fileno()] = Peer(connection, self._poll)

    def _react(self, descriptor: int, peer: Peer, events: int) -> None:
        try:
            if events & select.POLLOUT:
                peer.send(b"")
            if events & _READABLE:
                for frame in peer.receive():
                    self._receive(peer, frame)
        except (OSError, wire.BrokenFrame):
            self._queue.cancel_where(peer)
            del self._peers[descriptor]
            peer.close()

    def _receive(self, peer: Peer, frame: wire.Frame) -> None:
        if frame.kind is wire.Kind.INFER:
            tensors = frame.tensors(peer.shared) if frame.shares else frame.tensors()
            self._queue.add(Call((peer, frame.id), tensors, frame.sent_ns, frame.urgency))
        elif frame.kind is wire.Kind.RELEASE:
            peer.release(frame.id)
        elif frame.kind is wire.Kind.CANCEL:
            waiting = len(self._queue)
            self._queue.cancel((peer, frame.id))
            if len(self._queue) < waiting:
                self._drop(peer, frame.id)  # else it runs, or has run, and is answered like others

    def _drop(self, peer: Peer, request_id: int) -> None:
        self._send(peer, wire.bare_frame(wire.Kind.DROPPED, request_id))

    def _send(self, peer: Peer, data: bytes) -> None:
        with contextlib.suppress(OSError):  # it is gone: whoever leads sees that, too, and forgets it
            if not peer.send(data) and len(self._instances) > 1:
                with contextlib.suppress(BlockingIOError):  # it has been woken often enough
                    os.write(self._waker, b"\0")  # who leads now has to wait for this peer, too
