"""An engine that converts nothing, and does what a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from adapters.export.trial import OnProgress
from gateway.exports.engine import Converted, Task
from tests.gateway.exports.certificates import certificate


class FakeEngine:
    """Writes an artifact with the source's first bytes in it, once it may."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.calibrations: list[bytes] = []
        self.failure: Exception | None = None
        self.hold: asyncio.Event | None = None
        self.running = 0
        self.most_at_once = 0
        self.meanwhile: Callable[[Task], None] = lambda task: None

    async def __call__(self, task: Task, on_progress: OnProgress) -> Converted:
        """See gateway.exports.engine.Engine."""
        self.tasks.append(task)
        if task.calibration:
            self.calibrations.append(task.calibration.read_bytes())
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            on_progress(0.1, "onnx → saved_model")
            if self.hold is not None:
                await self.hold.wait()
            if self.failure is not None:
                raise self.failure
            for row in (1, 2):
                on_progress(0.2, f"running onnx: row {row} of 2")
            on_progress(0.5, "saved_model → tflite-int8")
            made = task.staging / task.form.file_name
            made.write_bytes(b"made of " + (task.folder / "model.onnx").read_bytes())
            self.meanwhile(task)
            return Converted(
                made, task.form, certificate(made, task.subject), ("onnx → saved_model", "saved_model → x")
            )
        finally:
            self.running -= 1
