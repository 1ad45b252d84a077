"""Exports that wait, run and are over: one at a time, each with its progress, until the gateway ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from adapters.errors import ServingError
from adapters.export.certificate import Certificate
from gateway.errors import Conflict, ModelNotFound, Overloaded
from gateway.exports.engine import Engine, convert, headline
from gateway.exports.exporting import Published, export
from gateway.exports.order import Order
from gateway.exports.origin import Origin

_log = logging.getLogger(__name__)

_MOST_WAITING: Final = 16
_MOST_HELD_BYTES: Final = 128 << 20
"""Of calibration data that wait in memory."""

_KEPT: Final = 50
_LOG_LINES: Final = 50
_AGAIN_S: Final = 60.0
_CANCELLED: Final = "cancelled; nothing was published"


class JobState(StrEnum):
    """Where an export stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED: Final = (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


@dataclass(slots=True, eq=False)
class Job:
    """One export: `fraction` of it is done (0..1), `step` is what is done now, `log` are its latest steps."""

    id: str
    order: Order
    created: datetime
    state: JobState = JobState.QUEUED
    step: str = "waits for its turn"
    fraction: float = 0.0
    log: deque[str] = field(default_factory=lambda: deque(maxlen=_LOG_LINES))
    error: str = ""
    published: Published | None = None
    started: datetime | None = None
    ended: datetime | None = None
    task: asyncio.Task[None] | None = None
    calibration_bytes: int = 0

    @property
    def certificate(self) -> Certificate | None:
        """What was found out about it, once it is done."""
        return self.published.certificate if self.published else None

    def progressed(self, fraction: float, step: str) -> None:
        """Told by the engine. A fraction never goes back."""
        self.fraction = max(self.fraction, min(fraction, 1.0))
        self.step = step
        if headline(step) not in list(self.log)[-1:]:
            self.log.append(headline(step))


class Exports:
    """Takes orders, and carries them out one after the other."""

    def __init__(
        self,
        find: Callable[[str, int], Origin],
        published: Callable[[], None] = lambda: None,
        engine: Engine = convert,
        most_waiting: int = _MOST_WAITING,
    ) -> None:
        """`find` gives a version, or raises ServingError; `published` is told when there is something new."""
        self._find = find
        self._published = published
        self._engine = engine
        self._most_waiting = most_waiting
        self._jobs: dict[str, Job] = {}
        self._turn = asyncio.Lock()

    def submit(self, order: Order, calibration: bytes = b"") -> Job:
        """Queue an export; `calibration` are the bytes of an .npz.

        Raises:
            InvalidInput: there is no such format or precision.
            ModelNotFound: there is no such version.
            Conflict: the same is queued already.
            Overloaded: too many wait.
        """
        form = order.form
        self._find(order.model, order.version)
        alive = [job for job in self._jobs.values() if job.state not in ENDED]
        for job in alive:
            if (job.order.model, job.order.version, job.order.form) == (order.model, order.version, form):
                raise Conflict(f"{order} is being exported to {form} already: {job.id} is {job.state}")
        if len(alive) > self._most_waiting:
            raise Overloaded(f"{self._most_waiting} exports wait already; come again later", _AGAIN_S)
        held = sum(job.calibration_bytes for job in alive)
        if held and held + len(calibration) > _MOST_HELD_BYTES:
            raise Overloaded(f"{held} bytes of calibration data wait already; come again later", _AGAIN_S)
        job = Job(secrets.token_hex(6), order, datetime.now(UTC), calibration_bytes=len(calibration))
        self._jobs[job.id] = job
        job.task = asyncio.create_task(self._run(job, calibration), name=f"export {order} to {form}")
        self._forget()
        return job

    def all(self) -> list[Job]:
        """Every export that is known, the newest first."""
        return list(reversed(self._jobs.values()))

    def get(self, number: str) -> Job:
        """One of them; raises ModelNotFound."""
        if number not in self._jobs:
            raise ModelNotFound(f"export {number!r:.40} is not known; the latest {_KEPT} are")
        return self._jobs[number]

    async def cancel(self, number: str) -> Job:
        """End one that waits or runs, with its processes. One that is over, or almost, stays what it is."""
        job = self.get(number)
        await self._end([job])
        return job

    async def close(self) -> None:
        """End all of them, with their processes."""
        await self._end(self.all())

    async def _end(self, jobs: Sequence[Job]) -> None:
        """The newest first, so that none has its turn meanwhile."""
        running = {job.task: job for job in jobs if job.task is not None and not job.task.done()}
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        for job in running.values():
            if job.state not in ENDED:  # it had not even begun
                self._over(job, JobState.CANCELLED, _CANCELLED)

    def _forget(self) -> None:
        over = [job for job in self._jobs.values() if job.state in ENDED]
        for job in over[: max(0, len(over) - _KEPT)]:
            del self._jobs[job.id]

    async def _run(self, job: Job, calibration: bytes) -> None:
        try:
            async with self._turn:
                job.state, job.started = JobState.RUNNING, datetime.now(UTC)
                job.progressed(0.0, "begins")
                _log.info("export %s of %s to %s begins", job.id, job.order, job.order.form)
                job.published = await self._exported(job, calibration)
                job.progressed(1.0, "done")
                self._over(job, JobState.DONE)
                self._published()
        except asyncio.CancelledError:
            self._over(job, JobState.CANCELLED, _CANCELLED)
        except ServingError as error:
            self._over(job, JobState.FAILED, str(error))
        except Exception:  # noqa: BLE001  # one export's trouble must not be another's
            _log.exception("export %s failed", job.id)
            self._over(job, JobState.FAILED, f"internal error; the gateway's log has it under export {job.id}")

    async def _exported(self, job: Job, calibration: bytes) -> Published:
        version = self._find(job.order.model, job.order.version)  # it may have gone while this one waited
        with contextlib.ExitStack() as stack:
            file: Path | None = None
            if calibration:
                file = Path(
                    stack.enter_context(tempfile.TemporaryDirectory(prefix="torii-calibration-")), "calibration.npz"
                )
                await asyncio.to_thread(file.write_bytes, calibration)
            return await export(job.order, version, file, job.progressed, self._engine)

    def _over(self, job: Job, state: JobState, error: str = "") -> None:
        job.state, job.error, job.ended = state, error, datetime.now(UTC)
        level = logging.WARNING if state is JobState.FAILED else logging.INFO
        _log.log(
            level,
            "export %s of %s to %s is %s%s",
            job.id,
            job.order,
            job.order.form,
            state,
            f": {error}" if error else "",
        )
