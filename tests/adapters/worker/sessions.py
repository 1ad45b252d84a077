"""Models that a worker process runs in these tests: they do what a test wants to see survived."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from adapters.tensors import DataType, Signature, Tensor, Tensors, TensorSpec

BAD = -1.0
DEADLY = -2.0
ODD = -3.0
MEET = -4.0
QUIT = -5.0


class GatedSession:
    """Answers x, and the number of rows that ran with it; goes on only when let through a named pipe, if there is one.

    A row of BAD fails, one of DEADLY kills the process, one of ODD is answered with what no protocol can carry.
    """

    signature = Signature(
        (TensorSpec("x", DataType.FP32, (None,)),),
        (TensorSpec("x", DataType.FP32, (None,)), TensorSpec("rows", DataType.INT64, (None,))),
    )

    def __init__(self, gate: Path) -> None:
        self._gate = gate

    def run(self, inputs: Tensors) -> dict[str, Tensor]:
        """See Session.run."""
        x = inputs["x"]
        if self._gate.exists():
            self._gate.read_bytes()
        if (x == DEADLY).any():
            os.kill(os.getpid(), signal.SIGKILL)
        if (x == BAD).any():
            raise ValueError("a bad row\nand a second line")
        if (x == ODD).any():
            return {"x": x.astype(np.complex64), "rows": np.zeros(len(x), np.int64)}
        return {"x": x, "rows": np.full(len(x), len(x), np.int64)}


class GatedRuntime:
    """A Runtime; the artifact's path is that of the gate."""

    def describe(self) -> str:
        """See Runtime.describe."""
        return "gated 1"

    def load(self, path: Path, options: Mapping[str, Any]) -> GatedSession:
        """See Runtime.load."""
        return GatedSession(path)


class MeetingSession:
    """Several threads may run it; a row of MEET goes on only when another one runs at the same time.

    One of QUIT ends the thread.
    """

    signature = Signature((TensorSpec("x", DataType.FP32, (None,)),), (TensorSpec("x", DataType.FP32, (None,)),))

    def __init__(self) -> None:
        self._meeting = threading.Barrier(2, timeout=10)

    def share(self) -> MeetingSession:
        """See SharedSession."""
        return self

    def run(self, inputs: Tensors) -> dict[str, Tensor]:
        """See Session.run."""
        if (inputs["x"] == MEET).any():
            self._meeting.wait()
        if (inputs["x"] == QUIT).any():
            raise SystemExit
        return dict(inputs)


class MeetingRuntime:
    """A Runtime of these."""

    def describe(self) -> str:
        """See Runtime.describe."""
        return "meeting 1"

    def load(self, path: Path, options: Mapping[str, Any]) -> MeetingSession:
        """See Runtime.load."""
        return MeetingSession()


class LonelySession:
    """Says nothing of threads, and fails for a second one; answers which it is of those that were loaded."""

    signature = Signature((TensorSpec("x", DataType.FP32, (None,)),), (TensorSpec("number", DataType.INT64, (None,)),))

    def __init__(self, number: int, meeting: threading.Barrier) -> None:
        self._number = number
        self._meeting = meeting
        self._alone = threading.Lock()

    def run(self, inputs: Tensors) -> dict[str, Tensor]:
        """See Session.run."""
        if not self._alone.acquire(blocking=False):
            raise RuntimeError("two threads in one session")
        try:
            if (inputs["x"] == MEET).any():
                self._meeting.wait()
        finally:
            self._alone.release()
        return {"number": np.full(len(inputs["x"]), self._number)}


class LonelyRuntime:
    """A Runtime of these; loading takes one more each time."""

    def __init__(self) -> None:
        self._loaded = 0
        self._meeting = threading.Barrier(2, timeout=10)

    def describe(self) -> str:
        """See Runtime.describe."""
        return "lonely 1"

    def load(self, path: Path, options: Mapping[str, Any]) -> LonelySession:
        """See Runtime.load."""
        self._loaded += 1
        return LonelySession(self._loaded, self._meeting)


class TalkativeRuntime(GatedRuntime):
    """A Runtime that prints, as native libraries do."""

    def describe(self) -> str:
        """See Runtime.describe."""
        return "talkative 1"

    def load(self, path: Path, options: Mapping[str, Any]) -> GatedSession:
        """See Runtime.load."""
        os.write(1, b'{"type":"Refused","reason":"not so"}\n')
        return GatedSession(path.with_name("no gate"))
