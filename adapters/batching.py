"""Which waiting calls run together, and when: pure decisions, no clock, no socket, no event loop."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from itertools import accumulate, chain
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np

from adapters.base import ROUTINE, Batching, Urgency
from adapters.errors import InferenceFailed
from adapters.tensors import Signature, Tensors

Key: TypeAlias = tuple[tuple[str, str, tuple[int, ...]], ...]

_NEVER_NS = 2**63
_NS_PER_MS = 1_000_000


class Call:
    """One request that waits for the model since `sent_ns`. `token` is the caller's: whom to answer.

    `rows` is the size of the batch axis (axis 0), None where the inputs do not share one.
    """

    __slots__ = ("_key", "inputs", "rows", "sent_ns", "token", "urgency")

    def __init__(self, token: Any, inputs: Tensors, sent_ns: int = 0, urgency: Urgency = ROUTINE) -> None:
        self.token = token
        self.inputs = inputs
        self.sent_ns = sent_ns
        self.urgency = urgency
        self.rows = _rows(inputs)
        self._key: Key | None = None

    @property
    def key(self) -> Key:
        """Calls of equal keys may share a batch: the same names, datatypes and trailing shapes."""
        if self._key is None:  # not before it is asked for: a call that finds nobody else runs without
            self._key = tuple([(name, tensor.dtype.char, tensor.shape[1:]) for name, tensor in self.inputs.items()])
        return self._key

    def is_late(self, now_ns: int) -> bool:
        """Whether nobody waits for it any more."""
        return 0 < self.urgency.deadline_ns <= now_ns


def _rows(inputs: Tensors) -> int | None:
    rows: int | None = None
    for tensor in inputs.values():
        shape = tensor.shape
        if not shape or (rows is not None and rows != shape[0]):
            return None
        rows = shape[0]
    return rows


class BatchQueue:
    """Calls in the order in which they are served: by priority, equals in order of arrival.

    `take` gives the first and whatever may run together with it, `max_rows` at most; a larger call runs alone.
    `max_rows` may be set at any time; 1 batches nothing. What is there is taken, unless `max_delay_ns` is given: then
    `wait_ns` says for how long a batch that is not full shall wait. All moments are by one clock, the callers' own.
    """

    def __init__(self, max_rows: int, max_delay_ns: int = 0) -> None:
        self.max_rows = max_rows
        self._max_delay_ns = max_delay_ns
        self._lanes: dict[int, deque[Call]] = {ROUTINE.priority: deque()}  # by priority, the first to be served first
        self._waiting_rows: Counter[Key] = Counter()
        self._due_ns = _NEVER_NS

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    def add(self, call: Call) -> None:
        """Queue a call."""
        priority = call.urgency.priority
        lane = self._lanes.get(priority)
        if lane is None:
            self._lanes = dict(sorted([*self._lanes.items(), (priority, lane := deque())], key=itemgetter(0)))
        lane.append(call)
        if self._max_delay_ns:
            self._count(call)

    def cancel(self, token: Any) -> None:
        """Drop the call of that token where it still waits; its batch-mates do not notice."""
        self._keep(lambda call: call.token != token)

    def cancel_where(self, owner: Any) -> None:
        """Drop every call whose token is a pair that begins with `owner`: its connection is gone."""
        self._keep(lambda call: call.token[0] != owner)

    def clear(self) -> list[Call]:
        """Drop every call, and give them."""
        calls = list(chain.from_iterable(self._lanes.values()))
        self._keep(lambda _: False)
        return calls

    def wait_ns(self, now_ns: int) -> int | None:
        """How long to wait for more before `take`: 0 for not at all, None while nothing waits."""
        lane = next(filter(None, self._lanes.values()), None)
        if lane is None:
            return None
        if not self._max_delay_ns or self.max_rows == 1:
            return 0
        first = lane[0]
        if first.rows is None or self._waiting_rows[first.key] >= self.max_rows:
            return 0
        return max(0, self._due_ns - now_ns)

    def take(self, now_ns: int) -> tuple[list[Call], list[Call]]:
        """The next batch, and the calls that were dropped because they are late; either may be empty."""
        batch: list[Call] = []
        late: list[Call] = []
        for lane in self._lanes.values():
            if self._fill(batch, late, lane, now_ns) <= 0:
                break
        if self._max_delay_ns:
            self._recount()
        return batch, late

    def _fill(self, batch: list[Call], late: list[Call], lane: deque[Call], now_ns: int) -> int:
        """Move what may run with the batch into it, oldest first; gives the rows that there is room for yet."""
        room = self.max_rows - _joint_rows(batch) if batch else self.max_rows
        passed: list[Call] = []
        while lane and room > 0:
            call = lane.popleft()
            if 0 < call.urgency.deadline_ns <= now_ns:
                late.append(call)
            elif not batch:
                batch.append(call)
                room = 0 if call.rows is None else room - call.rows
            elif call.rows is not None and call.rows <= room and call.key == batch[0].key:
                batch.append(call)
                room -= call.rows
            else:
                passed.append(call)
        if passed:
            lane.extendleft(reversed(passed))
        return room

    def _keep(self, wanted: Callable[[Call], bool]) -> None:
        self._lanes = {priority: deque(filter(wanted, lane)) for priority, lane in self._lanes.items()}
        if self._max_delay_ns:
            self._recount()

    def _recount(self) -> None:
        self._waiting_rows.clear()
        self._due_ns = _NEVER_NS
        for call in chain.from_iterable(self._lanes.values()):
            self._count(call)

    def _count(self, call: Call) -> None:
        self._waiting_rows[call.key] += call.rows or 0
        due_ns = call.sent_ns + self._max_delay_ns
        if call.is_late(due_ns):
            due_ns = call.sent_ns  # it would be late by then: it has no time for company
        self._due_ns = min(self._due_ns, due_ns)


def queue_for(batching: Batching, max_rows: int) -> BatchQueue:
    """The queue of a deployment that batches so many rows at most."""
    return BatchQueue(max_rows, round(batching.max_delay_ms * _NS_PER_MS))


def padded_rows(rows: int, allowed_rows: Sequence[int]) -> int:
    """The smallest of the allowed sizes (ascending) that holds so many rows; the rows themselves where none does."""
    return next((size for size in allowed_rows if size >= rows), rows) if rows else 0


def joint_rows(calls: Sequence[Call], signature: Signature) -> int:
    """How many rows run when these calls do, for statistics: of a call alone, by what the model says of its axes."""
    return signature.rows(calls[0].inputs) if len(calls) == 1 else _joint_rows(calls)


def gather(calls: Sequence[Call], allowed_rows: Sequence[int] = ()) -> Tensors:
    """One set of inputs out of the calls' inputs, joined along axis 0.

    Where sizes are given it is filled up to the next one with copies of its own rows: nothing else is sure to be valid.
    """
    if len(calls) == 1:
        inputs = calls[0].inputs
    else:
        inputs = {name: np.concatenate([call.inputs[name] for call in calls]) for name in calls[0].inputs}
    rows = _joint_rows(calls) if allowed_rows else 0
    size = padded_rows(rows, allowed_rows)
    if size == rows:
        return inputs
    return {name: np.resize(tensor, (size, *tensor.shape[1:])) for name, tensor in inputs.items()}


def _joint_rows(calls: Sequence[Call]) -> int:
    return sum([call.rows or 0 for call in calls])


def scatter(outputs: Tensors, calls: Sequence[Call], allowed_rows: Sequence[int] = ()) -> list[Tensors]:
    """Each call's rows of the outputs, in the order of `calls`; `allowed_rows` are those of `gather`.

    Raises:
        InferenceFailed: an output does not have one row for each row of the inputs.
    """
    if len(calls) == 1 and not allowed_rows:
        return [outputs]
    rows = [call.rows or 0 for call in calls]
    ends = list(accumulate(rows))
    size = padded_rows(ends[-1], allowed_rows)
    if len(calls) == 1 and size == ends[-1]:
        return [outputs]
    for name, tensor in outputs.items():
        if tensor.ndim == 0 or tensor.shape[0] != size:
            raise InferenceFailed(
                f"output '{name}' of a batch of {size} rows has shape {list(tensor.shape)}: "
                "the model has no batch axis there; set [batching] max_rows = 1 in model.toml"
            )
    return [
        {name: tensor[end - count : end] for name, tensor in outputs.items()}
        for count, end in zip(rows, ends, strict=True)
    ]
