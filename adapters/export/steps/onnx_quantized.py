"""ONNX to 8-bit ONNX: by calibration data, or with scales that are found while it runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from adapters.export.steps.calibration import batches
from adapters.export.steps.job import Job, Refusal, Report, first_lines
from adapters.export.steps.onnx_files import modern, read, save, sizes_of

TOOLS = ("onnxruntime", "onnx")


class _Rows(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, rows: Iterator[dict[str, Any]]) -> None:
        self._rows = rows

    def get_next(self) -> dict[str, Any] | None:
        """The next batch, None after the last."""
        return next(self._rows, None)


def run(told: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Quantize weights and, for int8, activations; inputs and outputs stay floats."""
    job = Job.of(told)
    logging.getLogger().setLevel(logging.ERROR)  # it recommends what is done here
    report(0.1, "reading the ONNX model")
    prepared, raw = job.target.with_suffix(".prepared.onnx"), job.target.with_suffix(".raw.onnx")
    model = modern(read(job.source))
    try:
        _prepare(model, prepared)
        report(0.3, f"quantizing, {job.precision}")
        if job.precision == "dynamic":
            # Signed weights would need kernels for convolutions that onnxruntime does not have.
            quantize_dynamic(prepared, raw, weight_type=QuantType.QUInt8)
        else:
            _static(job, model, prepared, raw)
        quantized = onnx.load(raw)
    except Refusal:
        raise
    except Exception as error:
        raise Refusal(f"onnxruntime cannot quantize it: {first_lines(error)}") from error
    save(quantized, job.target)
    prepared.unlink()
    raw.unlink()
    return {}


def _prepare(model: onnx.ModelProto, target: Path) -> None:
    """Write the model with its shapes worked out, as far as they can be: more of it is quantized then."""
    onnx.save(model, target)
    try:
        quant_pre_process(str(target), str(target), skip_symbolic_shape=True)
    except Exception:
        logging.getLogger(__name__).exception("shapes not inferred")
        onnx.save(model, target)


def _static(job: Job, model: onnx.ModelProto, prepared: Path, raw: Path) -> None:
    try:
        _by_calibration(job, model, prepared, raw, per_channel=True)
    except ValueError:  # onnxruntime 1.32 cannot give some biases a scale for each channel; one for all it always can
        _by_calibration(job, model, prepared, raw, per_channel=False)


def _by_calibration(job: Job, model: onnx.ModelProto, prepared: Path, raw: Path, *, per_channel: bool) -> None:
    shapes = {each.name: sizes_of(each) for each in model.graph.input}
    quantize_static(
        prepared,
        raw,
        _Rows(batches(job, shapes)),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        per_channel=per_channel,
    )
