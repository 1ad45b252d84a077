"""Which waiting calls run together: pure decisions, no clock, no socket, no event loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeAlias

import numpy as np

from adapters.errors import InferenceFailed
from adapters.tensors import Tensors

Key: TypeAlias = tuple[tuple[str, str, tuple[int, ...]], ...]


@dataclass(slots=True, eq=False)
class Call:
    """One request that waits for the model since `sent_ns`. `token` is the caller's: whom to answer."""

    token: Hashable
    inputs: Tensors
    sent_ns: int = 0

    @property
    def rows(self) -> int | None:
        """Size of the batch axis (axis 0), or None where the inputs do not share one."""
        sizes = {tensor.shape[0] if tensor.shape else None for tensor in self.inputs.values()}
        return sizes.pop() if len(sizes) == 1 else None

    @property
    def key(self) -> Key:
        """Calls of equal keys may share a batch: the same names, datatypes and trailing shapes."""
        return tuple((name, tensor.dtype.char, tensor.shape[1:]) for name, tensor in self.inputs.items())


class BatchQueue:
    """Calls in order of arrival; `take` gives the oldest and whatever may run together with it.

    No call waits for a batch to fill: what is there is taken. A call larger than `max_rows` runs alone.
    """

    def __init__(self, max_rows: int) -> None:
        """`max_rows` is the largest batch that is formed; 1 forms none."""
        self._max_rows = max_rows
        self._calls: deque[Call] = deque()

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: Call) -> None:
        """Queue a call."""
        self._calls.append(call)

    def cancel(self, token: Hashable) -> None:
        """Drop the call of that token where it still waits; its batch-mates do not notice."""
        self._calls = deque(call for call in self._calls if call.token != token)

    def cancel_where(self, owner: Hashable) -> None:
        """Drop every call whose token is a pair that begins with `owner`: its connection is gone."""
        self._calls = deque(call for call in self._calls if call.token[0] != owner)  # type: ignore[index]

    def take(self) -> list[Call]:
        """The next batch, oldest first; empty where nothing waits."""
        if not self._calls:
            return []
        first = self._calls.popleft()
        batch = [first]
        rows = first.rows
        if rows is None or rows >= self._max_rows or not self._calls:
            return batch
        key = first.key
        left: deque[Call] = deque()
        while self._calls and rows < self._max_rows:
            call = self._calls.popleft()
            more = call.rows
            if more is not None and rows + more <= self._max_rows and call.key == key:
                batch.append(call)
                rows += more
            else:
                left.append(call)
        left.extend(self._calls)
        self._calls = left
        return batch


def gather(calls: Sequence[Call]) -> Tensors:
    """One set of inputs out of the calls' inputs, joined along axis 0."""
    if len(calls) == 1:
        return calls[0].inputs
    return {name: np.concatenate([call.inputs[name] for call in calls]) for name in calls[0].inputs}


def scatter(outputs: Tensors, calls: Sequence[Call]) -> list[Tensors]:
    """Each call's rows of the outputs, in the order of `calls`.

    Raises:
        InferenceFailed: an output does not have one row for each row of the inputs.
    """
    if len(calls) == 1:
        return [outputs]
    rows = [call.rows or 0 for call in calls]
    ends = list(accumulate(rows))
    for name, tensor in outputs.items():
        if tensor.ndim == 0 or tensor.shape[0] != ends[-1]:
            raise InferenceFailed(
                f"output '{name}' of a batch of {ends[-1]} rows has shape {list(tensor.shape)}: "
                "the model has no batch axis there; set [batching] max_rows = 1 in model.toml"
            )
    return [
        {name: tensor[end - count : end] for name, tensor in outputs.items()}
        for count, end in zip(rows, ends, strict=True)
    ]
