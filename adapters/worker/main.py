"""The child: loads one model, then answers frames on a Unix socket until its parent goes away.

One thread and no event loop: while a batch runs, the next one gathers in the sockets. It is started by
`adapters.worker.adapter`, which writes one line of JSON (`Job`) to stdin and reads one (`Ready` or `Refused`) from
stdout.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from adapters import wire
from adapters.base import Runtime, Session
from adapters.batching import BatchQueue, Call, gather, scatter
from adapters.errors import InferenceFailed, InvalidInput, LoadFailed, ServingError
from adapters.tensors import Signature
from adapters.worker.rehearsal import rehearse

_log = logging.getLogger(__name__)

_RECEIVE_BYTES = 1 << 18


class Job(msgspec.Struct):
    """What the parent wants loaded. `runtime` is "module:Class"; `max_rows` None leaves the choice to the rehearsal."""

    runtime: str
    path: str
    socket: str
    options: dict[str, Any]
    golden: str | None
    max_rows: int | None


class Ready(msgspec.Struct, tag=True):
    """The model is loaded and the socket listens."""

    signature: Signature
    runtime: str
    max_rows: int


class Refused(msgspec.Struct, tag=True):
    """The artifact is no model that the runtime can execute; the worker exits."""

    reason: str


class Peer:
    """One connection: cuts frames out of what comes in, and never blocks on what goes out."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection = connection
        self._reader = wire.FrameReader()
        self._unsent = bytearray()

    def receive(self) -> list[wire.Frame] | None:
        """The frames that have arrived; None once the peer is gone."""
        try:
            data = self.connection.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            return None
        return self._reader.feed(data) if data else None

    def send(self, data: bytes) -> None:
        """Send, or keep what the peer does not take yet. Raises OSError where it is gone."""
        if not self._unsent:
            try:
                sent = self.connection.send(data)
            except BlockingIOError:
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        self._unsent += data

    def flush(self) -> None:
        """Send more of what was kept."""
        with contextlib.suppress(BlockingIOError):
            sent = self.connection.send(self._unsent)
            del self._unsent[:sent]

    @property
    def interest(self) -> int:
        """What the selector should watch this connection for."""
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)


class Worker:
    """The loop: gather what has arrived, run one batch, answer; and again."""

    def __init__(self, session: Session, listener: socket.socket, lifeline: int, max_rows: int) -> None:
        self._session = session
        self._queue = BatchQueue(max_rows)
        self._selector = selectors.DefaultSelector()
        self._listener = listener
        self._alive = True
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        self._selector.register(lifeline, selectors.EVENT_READ, self._orphaned)

    def run(self) -> None:
        """Serve until the lifeline closes."""
        while self._alive:
            for key, events in self._selector.select(0 if self._queue else None):
                key.data(events)
            batch = self._queue.take()
            if batch:
                self._run(batch)

    def _accept(self, _events: int) -> None:
        connection, _ = self._listener.accept()
        peer = Peer(connection)
        self._selector.register(connection, selectors.EVENT_READ, self._reactor(peer))

    def _reactor(self, peer: Peer) -> Callable[[int], None]:
        def react(events: int) -> None:
            try:
                if events & selectors.EVENT_WRITE:
                    peer.flush()
                    self._selector.modify(peer.connection, peer.interest, react)
                if events & selectors.EVENT_READ:
                    frames = peer.receive()
                    if frames is None:
                        raise ConnectionError
                    for frame in frames:
                        self._take(peer, frame)
            except (OSError, wire.BrokenFrame):
                self._forget(peer)

        return react

    def _take(self, peer: Peer, frame: wire.Frame) -> None:
        if frame.kind is wire.Kind.INFER:
            self._queue.add(Call((peer, frame.id), frame.tensors()))
        elif frame.kind is wire.Kind.CANCEL:
            self._queue.cancel((peer, frame.id))

    def _forget(self, peer: Peer) -> None:
        self._queue.cancel_where(peer)
        with contextlib.suppress(KeyError, ValueError):  # forgotten already; ValueError where it is closed, too
            self._selector.unregister(peer.connection)
        peer.connection.close()

    def _orphaned(self, _events: int) -> None:
        self._alive = False

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
            peer.send(data)
            if peer.interest & selectors.EVENT_WRITE:
                key = self._selector.get_key(peer.connection)
                self._selector.modify(peer.connection, peer.interest, key.data)
        except (OSError, KeyError, ValueError):
            self._forget(peer)


def _infer(session: Session, batch: list[Call]) -> list[list[bytes | memoryview]]:
    """Run a batch; gives the frame that answers each call. Raises InvalidInput or InferenceFailed."""
    try:
        outputs = session.run(gather(batch))
    except InvalidInput:
        raise
    except Exception as error:  # whatever a model throws is that model's failure
        _log.exception("the model failed")
        raise InferenceFailed(f"the model failed: {_first_line(error)}") from error
    answers = scatter(outputs, batch)
    try:
        return [
            wire.tensors_frame(wire.Kind.RESULT, call.token[1], answer)  # type: ignore[index]
            for call, answer in zip(batch, answers, strict=True)
        ]
    except Exception as error:
        raise InferenceFailed(f"the model's answer cannot be sent: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:500]


def load(job: Job) -> tuple[Session, Ready]:
    """Load the job's model and rehearse it; raises LoadFailed."""
    module, _, name = job.runtime.partition(":")
    runtime: Runtime = getattr(importlib.import_module(module), name)()
    try:
        session = runtime.load(Path(job.path), job.options)
    except LoadFailed:
        raise
    except Exception as error:
        _log.exception("loading failed")
        raise LoadFailed(_first_line(error)) from error
    max_rows = rehearse(session, Path(job.golden) if job.golden else None, job.max_rows)
    return session, Ready(session.signature, runtime.describe(), max_rows)


def main() -> int:
    """Entry point of the child process."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "SCHED_BATCH"):
        # A worker on the gateway's core waits until the gateway has nothing to do, instead of interrupting it for each
        # request: fewer switches and fuller batches. On a core of its own it makes no difference.
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    answer_fd = os.dup(1)
    os.dup2(2, 1)  # native libraries print to stdout; only the answer may
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    try:
        session, ready = load(job)
    except LoadFailed as error:
        os.write(answer_fd, msgspec.json.encode(Refused(str(error))) + b"\n")
        return 0
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(job.socket)
        listener.listen()
        os.write(answer_fd, msgspec.json.encode(ready) + b"\n")
        os.close(answer_fd)
        Worker(session, listener, sys.stdin.fileno(), ready.max_rows).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
