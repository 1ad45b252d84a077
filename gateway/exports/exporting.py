"""One export from its order to the file in the version's folder."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from adapters.export import certificate
from adapters.export.certificate import Certificate
from adapters.export.picture import picture
from adapters.export.trial import OnProgress
from gateway.artifacts import GOLDEN
from gateway.exports.engine import Converted, Engine, Task, convert
from gateway.exports.order import Order
from gateway.exports.origin import Origin
from gateway.exports.publishing import Standing, check_free, publish


@dataclass(frozen=True, slots=True)
class Published:
    """An export that is in its version's folder. `backend` is what serves it, None where nothing here does."""

    path: Path
    backend: str | None
    certificate: Certificate
    route: tuple[str, ...]


async def export(
    order: Order, version: Origin, calibration: Path | None, on_progress: OnProgress, engine: Engine = convert
) -> Published:
    """Convert what is in the folder of `version`, and put the result beside it.

    A caller who is cancelled while it is being put there gets it all the same: it is there then.

    Raises:
        InvalidInput: there is no way to what is asked for, or the data do not fit.
        Conflict: the version is gone or has such an artifact.
        NotAllowed: the folder cannot be written to, or the disk is full.
        ServingError: whatever else stands against it; nothing is published then.
    """
    standing = await asyncio.to_thread(Standing.of, str(order), version.folder)
    await asyncio.to_thread(check_free, standing, order.form, order.replace)
    with tempfile.TemporaryDirectory(prefix="torii-export-") as staging:
        task = _task(order, replace(version, folder=standing.path), calibration, Path(staging))
        converted = await engine(task, on_progress)
        on_progress(0.99, "publishing")
        putting = asyncio.ensure_future(asyncio.to_thread(_publish, order, converted, standing))
        try:
            path = await asyncio.shield(putting)
        except asyncio.CancelledError:
            path = await putting
    return Published(path, converted.form.backend, converted.certificate, converted.route)


def _task(order: Order, version: Origin, calibration: Path | None, staging: Path) -> Task:
    golden = version.folder / GOLDEN
    return Task(
        str(order),
        version.folder,
        order.form,
        staging,
        calibration,
        golden if golden.is_file() and not golden.is_symlink() else None,
        order.shapes,
        order.batch,
        order.tolerance,
        version.declared,
    )


def _publish(order: Order, converted: Converted, standing: Standing) -> Path:
    papers: Mapping[str, bytes] = {
        ".json": certificate.encode(converted.certificate),
        ".html": picture([converted.certificate]).encode(),
    }
    return publish(converted.path, converted.form, papers, standing, replace=order.replace)
