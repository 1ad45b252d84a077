"""The way to what converts, adapters.export: it is loaded with the first export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from adapters.export.certificate import Certificate
from adapters.export.formats import Form
from adapters.export.trial import OnProgress
from adapters.tensors import Signature


@dataclass(frozen=True, slots=True)
class Task:
    """A conversion: `subject` is whose, as digits/2, `folder` that version's; the result goes below `staging`.

    `calibration` and `golden` are .npz files. `shapes` are fixed shapes by input, `batch` is a fixed batch, `tolerance`
    are figures that replace the precision's own; `declared` is the signature where model.toml says it.
    """

    subject: str
    folder: Path
    form: Form
    staging: Path
    calibration: Path | None = None
    golden: Path | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    batch: int | None = None
    tolerance: Mapping[str, float] = field(default_factory=dict)
    declared: Signature | None = None


@dataclass(frozen=True, slots=True)
class Converted:
    """What came of it: a file or folder, proved to be the same model, and by which way."""

    path: Path
    form: Form
    certificate: Certificate
    route: tuple[str, ...]


def headline(step: str) -> str:
    """What is done, without how many rows of it are: so a log has each step once."""
    return step.partition(": row ")[0]


class Engine(Protocol):
    """What converts, or what stands in for it."""

    async def __call__(self, task: Task, on_progress: OnProgress) -> Converted:
        """Convert and certify; raises ServingError. Its processes have ended when it ends."""
        ...


async def convert(task: Task, on_progress: OnProgress) -> Converted:
    """Torii's own engine."""
    from adapters.export import convert as own  # noqa: PLC0415

    request = own.ExportRequest(
        source_folder=task.folder,
        want=task.form,
        staging=task.staging / "made",
        calibration=task.calibration,
        golden=task.golden,
        shapes=task.shapes,
        batch=task.batch,
        tolerance=task.tolerance,
        declared=task.declared,
        subject=task.subject,
    )
    exported = await own.convert(request, on_progress)
    return Converted(exported.path, exported.form, exported.certificate, exported.route)
