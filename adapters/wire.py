"""Frames between a gateway and its workers: bytes in, frames out; no sockets here.

A frame is a fixed prefix, a MessagePack head, and the tensors' bytes. Every part is padded to 8 bytes, so that
tensors of a frame can be used where they lie. Big tensors may lie in memory that both ends share; then the head says
where. Every INFER is answered once: by RESULT, ERROR or DROPPED. The prefix says when an INFER was sent and what a
RESULT's execution cost; in other frames these are zero.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum
from functools import lru_cache
from math import prod
from typing import Annotated, Any, TypeAlias

import msgspec
import numpy as np

from adapters import errors
from adapters.base import ROUTINE, Urgency
from adapters.executions import Execution
from adapters.tensors import DataType, Tensor, Tensors, from_bytes, to_bytes

_PREFIX = struct.Struct("<BB?xIQQQQ40x")
_EXECUTION = struct.Struct("<QQQQQ?7x")
_EXECUTION_AT = _PREFIX.size - _EXECUTION.size
_ALIGNMENT = 8
_MAX_HEAD_BYTES = 1 << 20
_NS_BITS = 50
_PADDING = [bytes(n) for n in range(_ALIGNMENT)]

MAX_FRAME_BYTES = 2**32
"""A frame that claims more is refused before anything is allocated for it."""


Place: TypeAlias = Callable[[int, memoryview], int | None]
"""Puts bytes into shared memory on behalf of a request, and says where; None where there is no room."""

SHARED_BYTES = 1 << 16
"""Below it, a socket is as fast as shared memory (docs/decisions/0015)."""


class Kind(IntEnum):
    """What a frame is."""

    INFER = 1
    CANCEL = 2
    RESULT = 3
    ERROR = 4
    DROPPED = 5
    """Nobody waited for an answer any more: the model was not run."""
    HELLO = 6
    """A gateway's first frame. With it come the descriptors of two memories: for its tensors, and for the worker's."""
    RELEASE = 7
    """The tensors of a RESULT that lie in shared memory have been read."""


_KINDS = {int(kind): kind for kind in Kind}


class _TensorHead(msgspec.Struct, array_like=True, frozen=True):
    name: str
    datatype: str
    shape: tuple[int, ...]
    length: Annotated[int, msgspec.Meta(ge=0)]
    shared_at: Annotated[int, msgspec.Meta(ge=0)] | None = None


_heads = msgspec.msgpack.Decoder(tuple[_TensorHead, ...])
_failure = msgspec.msgpack.Decoder(tuple[str, str])
_encode = msgspec.msgpack.Encoder().encode


class BrokenFrame(Exception):
    """The peer sent bytes that are no frame: the connection is of no use any more."""


_UNTOLD = Execution()
_NOTHING_SHARED = memoryview(b"")


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One frame as received, in `data`: its head from `head_at` to `head_end`, its body from `body_at` to `end`.

    `shares` is whether tensors of it lie in shared memory. `sent_ns` is when an INFER frame was sent, by the machine's
    monotonic clock, and `urgency` how much it presses; `execution` is what a RESULT frame says that it cost.
    """

    kind: Kind
    id: int
    data: memoryview
    head_at: int
    head_end: int
    body_at: int
    end: int
    shares: bool = False
    sent_ns: int = 0
    urgency: Urgency = ROUTINE
    execution: Execution = _UNTOLD

    def tensors(self, shared: memoryview = _NOTHING_SHARED, copied: bool = False) -> dict[str, Tensor]:
        """The tensors of an INFER or RESULT frame, as read-only views where alignment allows.

        `shared` is the memory that the other end writes big tensors to, from which they are to be `copied` or not.

        Raises:
            BrokenFrame: head and body disagree.
        """
        data, offset, end = self.data, self.body_at, self.end
        tensors: dict[str, Tensor] = {}
        try:
            for name, datatype, shape, length, dtype, shared_at in _layout(bytes(data[self.head_at : self.head_end])):
                if shared_at is not None:
                    if shared_at + length > len(shared):
                        raise BrokenFrame(f"tensor {name!r:.80} of {length} bytes goes beyond the shared memory")
                    seen = shared[shared_at : shared_at + length]
                    tensors[name] = from_bytes(datatype, shape, bytes(seen) if copied else seen)
                    continue
                last = offset + length
                if last > end:
                    raise BrokenFrame(f"tensor {name!r:.80} of {length} bytes goes beyond the frame")
                if dtype is not None:
                    tensors[name] = np.ndarray(shape, dtype, data, offset)
                else:
                    tensors[name] = from_bytes(datatype, shape, data[offset:last])
                offset = last + -length % _ALIGNMENT
        except (msgspec.MsgspecError, ValueError, errors.InvalidInput) as error:
            raise BrokenFrame(f"malformed tensors: {error}") from error
        return tensors

    def error(self) -> errors.ServingError:
        """The error of an ERROR frame; a kind that is not known here is an InferenceFailed."""
        try:
            name, text = _failure.decode(self.data[self.head_at : self.head_end])
        except msgspec.MsgspecError as error:
            raise BrokenFrame(f"malformed error: {error}") from error
        return _ERRORS.get(name, errors.InferenceFailed)(text)


@lru_cache(maxsize=256)
def _layout(head: bytes) -> tuple[tuple[str, DataType, tuple[int, ...], int, np.dtype[Any] | None, int | None], ...]:
    """Name, datatype, shape and length of each tensor, its dtype if that is all there is to it, and where it is shared.

    Requests for a model are alike, and so are their heads.
    """
    return tuple(
        (each.name, DataType(each.datatype), each.shape, each.length, _dtype_if_plain(each), each.shared_at)
        for each in _heads.decode(head)
    )


def _dtype_if_plain(head: _TensorHead) -> np.dtype[Any] | None:
    """The dtype of a tensor whose bytes are its elements, every one of them right."""
    datatype = DataType(head.datatype)
    if datatype in (DataType.BYTES, DataType.BOOL) or not all(size > 0 for size in head.shape):
        return None
    return datatype.dtype if head.length == prod(head.shape) * datatype.dtype.itemsize else None


_ERRORS: dict[str, type[errors.ServingError]] = {
    error.__name__: error for error in (errors.InvalidInput, errors.InferenceFailed, errors.BackendUnavailable)
}


def tensors_frame(
    kind: Kind,
    request_id: int,
    tensors: Tensors,
    sent_ns: int = 0,
    urgency: Urgency = ROUTINE,
    place: Place | None = None,
) -> list[bytes | memoryview]:
    """An INFER or RESULT frame, as parts to be written one after the other.

    `sent_ns` is the moment by the monotonic clock, which all processes of a machine share. `place` is asked to put
    tensors of SHARED_BYTES and more into shared memory.
    """
    heads: list[tuple[Any, ...]] = []
    body: list[bytes | memoryview] = []
    body_bytes = 0
    shares = False
    for name, tensor in tensors.items():
        data = to_bytes(tensor)
        length = len(data)
        if length >= SHARED_BYTES and place is not None and (at := place(request_id, memoryview(data))) is not None:
            heads.append((name, DataType.of(tensor.dtype), tensor.shape, length, at))
            shares = True
            continue
        heads.append((name, DataType.of(tensor.dtype), tensor.shape, length))
        body.append(data)
        padding = -length % _ALIGNMENT
        if padding:
            body.append(_PADDING[padding])
        body_bytes += length + padding
    head = _encode(heads)
    lengths = len(head), request_id, body_bytes
    prefix = _PREFIX.pack(kind, urgency.priority, shares, *lengths, sent_ns, urgency.deadline_ns)
    return [prefix, _padded(head), *body]


def stamp(
    frame: list[bytes | memoryview],
    queue_ns: int,
    input_ns: int,
    run_ns: int,
    output_ns: int,
    batch_rows: int,
    first: bool,
) -> None:
    """Write an Execution into a RESULT frame: it is known only once every frame of its batch is encoded."""
    execution = _EXECUTION.pack(queue_ns, input_ns, run_ns, output_ns, batch_rows, first)
    frame[0] = b"".join((frame[0][:_EXECUTION_AT], execution))


def bare_frame(kind: Kind, request_id: int = 0) -> bytes:
    """A frame that has nothing but its kind and an id: CANCEL, DROPPED, HELLO, RELEASE."""
    return _PREFIX.pack(kind, 0, False, 0, request_id, 0, 0, 0)


def error_frame(request_id: int, error: errors.ServingError) -> bytes:
    """An ERROR frame: the error's class and text."""
    head = _encode((type(error).__name__, str(error)))
    return _PREFIX.pack(Kind.ERROR, 0, False, len(head), request_id, 0, 0, 0) + _padded(head)


def _padded(head: bytes) -> bytes:
    return head + _PADDING[-len(head) % _ALIGNMENT]


class FrameReader:
    """Cuts a stream of bytes into frames; keeps what is not yet complete."""

    def __init__(self) -> None:
        self._partial = memoryview(b"")
        self._filled = 0
        self._wanted = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes of the stream, and give the frames that they complete.

        Raises:
            BrokenFrame: the bytes are no frame.
        """
        frames: list[Frame] = []
        view = memoryview(data)
        if self._filled:
            view = self._complete(view, frames)
        start, end = 0, len(view)
        while end - start >= _PREFIX.size:
            frame, start = _cut(view, start)
            if frame is None:
                break
            frames.append(frame)
        if start < end:
            self._begin(view[start:])
        return frames

    def _begin(self, view: memoryview) -> None:
        # One allocation of the right size as soon as the size is known: big tensors are copied once, not repeatedly.
        self._wanted = _frame_bytes(view) if len(view) >= _PREFIX.size else _PREFIX.size
        self._partial = _room(self._wanted)
        self._partial[: len(view)] = view
        self._filled = len(view)

    def _complete(self, view: memoryview, frames: list[Frame]) -> memoryview:
        while len(view) and self._filled:
            taken = min(len(view), self._wanted - self._filled)
            self._partial[self._filled : self._filled + taken] = view[:taken]
            self._filled += taken
            view = view[taken:]
            if self._filled < self._wanted:
                break
            if self._wanted == _PREFIX.size and (length := _frame_bytes(self._partial)) > _PREFIX.size:
                prefix, self._partial, self._wanted = self._partial, _room(length), length
                self._partial[: _PREFIX.size] = prefix
                continue
            frame, _ = _cut(self._partial, 0)
            assert frame is not None
            frames.append(frame)
            self._partial, self._filled = memoryview(b""), 0
        return view


def _room(size_bytes: int) -> memoryview:
    # Not a bytearray: that is written over at once, and a mere claim of gigabytes would really take them.
    return np.empty(size_bytes, np.uint8).data


def _frame_bytes(view: memoryview) -> int:
    _, _, _, head_bytes, _, body_bytes, _, _ = _PREFIX.unpack_from(view)
    length: int = _PREFIX.size + head_bytes + -head_bytes % _ALIGNMENT + body_bytes
    _check_sizes(head_bytes, length)
    return length


def _check_sizes(head_bytes: int, length: int) -> None:
    if length > MAX_FRAME_BYTES or head_bytes > _MAX_HEAD_BYTES:
        raise BrokenFrame(
            f"a frame of {length} bytes, with a head of {head_bytes}; at most {MAX_FRAME_BYTES} and {_MAX_HEAD_BYTES} "
            "are taken"
        )


def _cut(view: memoryview, start: int) -> tuple[Frame | None, int]:
    """The frame that begins at `start` and where the next one does; None while it is not all there."""
    kind, priority, shares, head_bytes, request_id, body_bytes, sent_ns, deadline_ns = _PREFIX.unpack_from(view, start)
    head = start + _PREFIX.size
    head_end = head + head_bytes
    body = head_end + -head_bytes % _ALIGNMENT
    end = body + body_bytes
    _check_sizes(head_bytes, end - start)
    if end > len(view):
        return None, start
    if kind not in _KINDS:
        raise BrokenFrame(f"unknown kind of frame {kind}")
    known = _KINDS[kind]
    if known is Kind.RESULT:
        execution = Execution(*_EXECUTION.unpack_from(view, start + _EXECUTION_AT))
        if (execution.queue_ns | execution.input_ns | execution.run_ns | execution.output_ns) >> _NS_BITS:
            raise BrokenFrame(f"an execution that took weeks: {execution}")  # whose sum no counter would hold
        return Frame(known, request_id, view, head, head_end, body, end, shares, 0, ROUTINE, execution), end
    urgency = Urgency(deadline_ns, priority)
    return Frame(known, request_id, view, head, head_end, body, end, shares, sent_ns, urgency), end
