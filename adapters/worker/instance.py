"""One instance of a worker's model: runs batches, and says what answers each call."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from time import monotonic_ns
from typing import TypeAlias

from adapters import wire
from adapters.adaptive_limit import AdaptiveLimit
from adapters.base import Session
from adapters.batching import Call, gather, joint_rows, padded_rows, scatter
from adapters.errors import InferenceFailed, InvalidInput, ServingError

_log = logging.getLogger(__name__)

Parts: TypeAlias = list[bytes | memoryview]


class Instance:
    """A session that one thread at a time runs; `began_ns` is when its present run began, 0 between two runs.

    Batches are filled up to `allowed_rows`, and `limit` is told what they cost. The calls' tokens are their peers and
    ids.
    """

    def __init__(self, session: Session, allowed_rows: Sequence[int] = (), limit: AdaptiveLimit | None = None) -> None:
        self.began_ns = 0
        self._session = session
        self._allowed_rows = allowed_rows
        self._limit = limit

    def answers(self, batch: list[Call]) -> Iterator[tuple[Call, Parts]]:
        """Run a batch; gives each call with the frame that answers it."""
        try:
            frames = self._infer(batch)
        except ServingError as error:
            for call in batch:
                call.token[0].release(call.token[1])  # part of an answer may have been placed
            if len(batch) == 1:
                yield batch[0], [wire.error_frame(batch[0].token[1], error)]
                return
            for call in batch:  # one bad row fails alone
                if call.is_late(monotonic_ns()):
                    yield call, [wire.bare_frame(wire.Kind.DROPPED, call.token[1])]
                else:
                    yield from self.answers([call])
            return
        yield from zip(batch, frames, strict=True)

    def _infer(self, batch: list[Call]) -> list[Parts]:
        """The frame that answers each call. Raises InvalidInput or InferenceFailed."""
        taken_ns = monotonic_ns()
        try:
            inputs = gather(batch, self._allowed_rows)
            self.began_ns = gathered_ns = monotonic_ns()
            outputs = self._session.run(inputs)
        except InvalidInput:
            raise
        except Exception as error:  # whatever a model throws is that model's failure
            _log.exception("the model failed")
            raise InferenceFailed(f"the model failed: {first_line(error)}") from error
        finally:
            self.began_ns = 0
        ran_ns = monotonic_ns()
        answers = scatter(outputs, batch, self._allowed_rows)
        try:
            frames = [
                wire.tensors_frame(wire.Kind.RESULT, call.token[1], answer, place=call.token[0].place)
                for call, answer in zip(batch, answers, strict=True)
            ]
        except Exception as error:
            raise InferenceFailed(f"the model's answer cannot be sent: {first_line(error)}") from error
        input_ns, run_ns, output_ns = gathered_ns - taken_ns, ran_ns - gathered_ns, monotonic_ns() - ran_ns
        rows = joint_rows(batch, self._session.signature)
        if self._limit is not None:
            self._limit.learn(padded_rows(rows, self._allowed_rows), run_ns)
        for call, frame in zip(batch, frames, strict=True):
            # The wait begins where the call was sent: it lies in the socket, unread, while another batch runs.
            queue_ns = max(0, taken_ns - call.sent_ns)
            wire.stamp(frame, queue_ns, input_ns, run_ns, output_ns, rows, call is batch[0])
        return frames


def first_line(error: Exception) -> str:
    """What an exception says, without the lines of a native stack behind it."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:500]
