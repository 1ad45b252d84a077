"""Runs an export and its source on the same rows, and certifies how they compare."""

from __future__ import annotations

import asyncio
import platform
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import psutil

from adapters.cores import usable_cores
from adapters.export.certificate import SCHEMA, Certificate, DataUsed, Latency, Machine, Side
from adapters.export.data import Data
from adapters.export.digests import artifact_bytes, artifact_digest
from adapters.export.measuring import Bounds, Measured, Subject, measured
from adapters.export.timing import Timing
from adapters.export.tolerances import Tolerance
from adapters.export.trial import OnProgress, Trial
from adapters.export.verdicts import reasons_against

__all__ = ["Bounds", "Circumstances", "Subject", "Timing", "certify"]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a certificate says besides: of what model it is, by which conversions and with which tools it was made."""

    subject: str = ""
    route: Sequence[str] = ()
    tools: Mapping[str, str] = field(default_factory=dict)


_NOTHING_SAID: Final = Circumstances()
_BOUNDS: Final = Bounds()
_TIMING: Final = Timing()


async def certify(
    source: Subject,
    export: Subject,
    data: Data | None,
    tolerance: Tolerance,
    on_progress: OnProgress,
    circumstances: Circumstances = _NOTHING_SAID,
    *,
    bounds: Bounds = _BOUNDS,
    timing: Timing = _TIMING,
) -> Certificate:
    """Compare an export with its source on `data`, or on invented rows where there are none.

    What it finds is in the certificate, a tolerance that is not met too (`passed`, `reasons`). Both run in processes of
    their own, on one thread each, which end with this one.

    Raises:
        InferenceFailed: one of them cannot be loaded or run within `bounds`.
        InvalidInput: the data does not fit a side, or the outputs of the two cannot be compared.
        OSError: no room for the outputs, or an artifact is gone.
    """
    names: tuple[Sequence[str], Sequence[str]] = (list(data.inputs), list(data.outputs)) if data else ((), ())
    on_progress(0.0, f"loading {source.where}")
    with tempfile.TemporaryDirectory(prefix="torii-certify-") as folder:
        async with measured(source, *names, bounds) as first:
            on_progress(0.1, f"loading {export.where}")
            names = [each.name for each in first.inputs] or names[0], [each.name for each in first.outputs] or names[1]
            async with measured(export, *names, bounds) as second:
                trial = Trial(first, second, Path(folder), on_progress)
                rows = await trial.rows_of(data)
                outputs, accuracy = await trial.compared(rows)
                latencies = await trial.timed(rows, timing)
                operators = await trial.operators(rows)
    on_progress(0.97, "taking digests")
    sides = [await asyncio.to_thread(_side, *each) for each in zip((first, second), latencies, operators, strict=True)]
    reasons = reasons_against(outputs, accuracy, tolerance)
    return Certificate(
        schema=SCHEMA,
        subject=circumstances.subject,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        passed=not reasons,
        reasons=reasons,
        source=sides[0],
        export=sides[1],
        route=list(circumstances.route),
        outputs=outputs,
        accuracy=accuracy,
        data=DataUsed(rows.name, rows.kind, rows.digest, rows.rows, rows.rows_of or rows.rows),
        tolerance=tolerance,
        machine=_machine(),
        tools={**_versions(), **circumstances.tools},
    )


def _side(model: Measured, latency: Latency, operators: Mapping[str, int]) -> Side:
    path = model.subject.path
    return Side(
        form=str(model.subject.form),
        file=path.name,
        size_bytes=artifact_bytes(path),
        sha256=artifact_digest(path),
        runtime=model.runtime,
        load_ms=model.load_ns / 1e6,
        latency=latency,
        operators=dict(operators),
    )


def _machine() -> Machine:
    memory_bytes = psutil.virtual_memory().total
    system = f"{platform.system()} {platform.release()}"
    return Machine(system, platform.machine(), _processor(), usable_cores(), memory_bytes)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()


def _versions() -> dict[str, str]:
    try:
        torii = version("torii-gateway")
    except PackageNotFoundError:  # run from its sources
        torii = "of its sources"
    return {"torii": torii, "python": platform.python_version()}
