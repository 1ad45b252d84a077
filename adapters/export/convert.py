"""An export from what a version's folder has to an artifact with its certificate, by the first route that works."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from adapters.errors import BackendUnavailable, InferenceFailed, InvalidInput, ServingError
from adapters.export.certificate import Certificate
from adapters.export.certifying import Circumstances, Subject, certify
from adapters.export.data import Data, DataKind, read_data
from adapters.export.environments import MAIN, Environment, Environments
from adapters.export.formats import Form, Format, Precision, forms_in
from adapters.export.measuring import Bounds, measured
from adapters.export.paths import Route, Step, routes
from adapters.export.sources import copied
from adapters.export.stepping import Unconvertible, run_step
from adapters.export.timing import Timing
from adapters.export.tolerances import Tolerance, tolerance_for
from adapters.export.trial import OnProgress
from adapters.tensors import DataType, Signature, Tensors, TensorSpec

_STEPS_SHARE: Final = 0.6
_RUNS_IN: Final[Mapping[Format, str]] = {Format.PTE: "executorch", Format.TFJS: "tfjs"}


class ToleranceNotMet(InvalidInput):
    """The export is not the same model by the tolerance that was asked for; `certificate` says by how much."""

    def __init__(self, certificate: Certificate) -> None:
        super().__init__(f"not the same model within tolerance: {'; '.join(certificate.reasons)}")
        self.certificate = certificate


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What to make of a version's folder, and where: `staging` is an empty folder that the result goes into.

    `calibration` and `golden` are .npz files (`adapters.export.data`); one of them gives the rows that the certificate
    rests on. `declared` is the signature where it is known. `shapes` are fixed shapes by input, `batch` a fixed batch;
    `tolerance` are figures that replace the precision's own. Each conversion has `step_s` seconds.
    """

    source_folder: Path
    want: Form
    staging: Path
    calibration: Path | None = None
    golden: Path | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    batch: int | None = None
    tolerance: Mapping[str, float] = field(default_factory=dict)
    declared: Signature | None = None
    subject: str = ""
    step_s: float = 1800.0
    timing: Timing = Timing()  # noqa: RUF009  # frozen
    bounds: Bounds = Bounds()  # noqa: RUF009


@dataclass(frozen=True, slots=True)
class Exported:
    """What came of it: a file or folder below staging, its certificate, and the steps that led there."""

    form: Form
    path: Path
    certificate: Certificate
    route: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Material:
    """What is read before anything runs: rows to compare by and to quantize by, the signature as far as it is known."""

    compared: Data | None
    calibration: Data | None
    signature: Signature | None
    tolerance: Tolerance


async def convert(
    request: ExportRequest, on_progress: OnProgress, environments: Environments | None = None
) -> Exported:
    """Convert by the first route that works, and certify; `on_progress` is told which route that is.

    Raises:
        InvalidInput: there is no route, the data does not fit, or the model cannot be converted (Unconvertible) or not
            within the tolerance (ToleranceNotMet).
        BackendUnavailable: what converts cannot be installed, or the disk is full.
        InferenceFailed: the source, or what was made of it, cannot be run.
    """
    have = await asyncio.to_thread(_sources, request.source_folder)
    ways = routes(have, request.want, fixed=request.batch is not None or bool(request.shapes))
    material = await asyncio.to_thread(_material, request)
    request.staging.mkdir(parents=True, exist_ok=True)  # one call
    with tempfile.TemporaryDirectory(prefix="work-", dir=request.staging) as work:
        export = _Export(request, material, environments or Environments(), Path(work), on_progress)
        return await export.by_the_first_that_works(have, ways)


class _Export:
    """One export under way."""

    def __init__(
        self,
        request: ExportRequest,
        material: _Material,
        environments: Environments,
        work: Path,
        on_progress: OnProgress,
    ) -> None:
        self._request = request
        self._material = material
        self._environments = environments
        self._work = work
        self._on_progress = on_progress
        self._tools: dict[str, str] = {}

    async def by_the_first_that_works(self, have: Mapping[Form, Path], ways: list[Route]) -> Exported:
        failed: list[ServingError] = []
        for way in ways:
            try:
                return await self._by(way, have[way[0].source])
            except (Unconvertible, BackendUnavailable) as error:
                failed.append(error)
                self._on_progress(0.0, f"this way does not work: {error}")
        reasons = {str(error).partition(": ")[2]: error for error in reversed(failed)}
        if len(reasons) == 1:
            raise failed[0]
        told = [str(error) for error in reversed(reasons.values())]
        raise type(failed[0])("; ".join(f"({place}) {reason}" for place, reason in enumerate(told, 1)))

    async def _by(self, way: Route, found: Path) -> Exported:
        self._tools = {}
        self._on_progress(0.0, f"route: {' → '.join([str(way[0].source), *(str(step.target) for step in way)])}")
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self._work))
        source = await asyncio.to_thread(copied, way[0].source, found, folder)
        signature = self._material.signature or await self._asked(way[0].source, source)
        _check_shapes(self._request.shapes, signature)
        made = await self._converted(way, source, signature)
        certificate = await self._certified(way, source, made)
        if not certificate.passed:
            raise ToleranceNotMet(certificate)
        target = self._request.staging / self._request.want.file_name
        await asyncio.to_thread(shutil.move, made, target)
        return Exported(self._request.want, target, certificate, tuple(certificate.route))

    async def _asked(self, form: Form, source: Path) -> Signature | None:
        """The source's own signature; it is loaded for that, and so found out where it is damaged."""
        self._on_progress(0.0, f"reading what {source.name} takes")
        data = self._material.calibration
        names = list(data.inputs) if data else []
        try:
            async with measured(Subject(form, source), names, [], self._request.bounds) as model:
                inputs, outputs = ([each.spec() for each in side] for side in (model.inputs, model.outputs))
        except InferenceFailed as error:
            raise Unconvertible(str(error)) from error
        if not inputs or None in inputs:  # TorchScript does not say
            return _signature_of(data) if data is not None else None
        known = tuple(each for each in outputs if each is not None)
        signature = Signature(
            tuple(each for each in inputs if each is not None), known if len(known) == len(outputs) else ()
        )
        if data is not None:
            data.check(signature)
        return signature

    async def _converted(self, way: Route, source: Path, signature: Signature | None) -> Path:
        calibration = await asyncio.to_thread(self._calibration)
        for place, step in enumerate(way):
            begun, share = _STEPS_SHARE * place / len(way), _STEPS_SHARE / len(way)

            def on_step(fraction: float, text: str, begun: float = begun, share: float = share) -> None:
                self._on_progress(begun + share * fraction, text)

            environment = await self._environment(step.environment, begun)
            folder = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self._work))
            job = _job(self._request, signature, source, folder / step.target.file_name, calibration)
            job["precision"] = str(step.target.precision)
            self._tools |= await run_step(step, environment, job, folder, self._request.step_s, on_step)
            source = folder / step.target.file_name
            if not await asyncio.to_thread(source.exists):
                raise Unconvertible(f"{step}: the converter ended without a result")
        return source

    async def _certified(self, way: Route, source: Path, made: Path) -> Certificate:
        want = self._request.want
        environment = await self._environment(_RUNS_IN.get(want.format, MAIN), _STEPS_SHARE)
        python = Path(environment.python)
        circumstances = Circumstances(self._request.subject, [_told(step) for step in way], self._tools)
        return await certify(
            Subject(way[0].source, source),
            Subject(want, made, python, environment.node_modules),
            self._material.compared,
            self._material.tolerance,
            lambda fraction, text: self._on_progress(_STEPS_SHARE + (1 - _STEPS_SHARE) * fraction, text),
            circumstances,
            bounds=self._request.bounds,
            timing=self._request.timing,
        )

    async def _environment(self, name: str, fraction: float) -> Environment:
        return await self._environments.ready(name, lambda line: self._on_progress(fraction, line))

    def _calibration(self) -> Path | None:
        if self._material.calibration is None:
            return None
        path = self._work / "calibration.npz"
        if not path.exists():
            arrays: dict[str, Any] = dict(self._material.calibration.inputs)
            np.savez(path, **arrays)
        return path


def _sources(folder: Path) -> dict[Form, Path]:
    try:
        return forms_in(folder)
    except OSError as error:
        raise InvalidInput(f"{folder.name} cannot be read: {error.strerror or error}") from error


def _material(request: ExportRequest) -> _Material:
    tolerance = tolerance_for(request.want.precision, request.tolerance)
    golden = read_data(request.golden, DataKind.GOLDEN) if request.golden else None
    given = read_data(request.calibration, DataKind.CALIBRATION) if request.calibration else None
    if request.want.precision is Precision.INT8 and given is None and golden is None:
        raise InvalidInput(
            "int8 needs rows to find scales by: --calibration data.npz with arrays inputs/<tensor>, "
            "or golden.npz in the version's folder"
        )
    signature = request.declared or (_signature_of(golden) if golden else None)
    if signature is not None and given is not None:
        given.check(signature)
    compared = given if golden is None or (given is not None and given.labels is not None) else golden
    return _Material(compared, given or golden, signature, tolerance)


def _check_shapes(shapes: Mapping[str, tuple[int, ...]], signature: Signature | None) -> None:
    """A name that is mistyped would change nothing, and nobody would know."""
    known = {each.name for each in signature.inputs} if signature else set(shapes)
    if unknown := sorted(shapes.keys() - known):
        raise InvalidInput(f"--shape {unknown[0]:.80}: expected one of the inputs {', '.join(sorted(known))}")


def _signature_of(data: Data) -> Signature:
    def specs(arrays: Tensors) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(name, DataType.of(array.dtype), (None, *array.shape[1:]) if array.ndim else ())
            for name, array in arrays.items()
        )

    return Signature(specs(data.inputs), specs(data.outputs))


def _job(
    request: ExportRequest, signature: Signature | None, source: Path, target: Path, calibration: Path | None
) -> dict[str, Any]:
    inputs, outputs = (signature.inputs, signature.outputs) if signature else ((), ())
    return {
        "source": str(source),
        "target": str(target),
        "inputs": [{"name": each.name, "datatype": str(each.datatype), "shape": each.shape} for each in inputs],
        "outputs": [each.name for each in outputs],
        "shapes": {name: list(shape) for name, shape in request.shapes.items()},
        "batch": request.batch,
        "calibration": str(calibration) if calibration else None,
    }


def _told(step: Step) -> str:
    return f"{step}" if step.environment == MAIN else f"{step} ({step.environment})"
