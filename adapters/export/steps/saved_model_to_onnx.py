"""SavedModel to ONNX, by tf2onnx."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any

import onnx
from tf2onnx import convert

from adapters.export.steps.job import Job, Kept, Refusal, Report, first_lines, unsupported
from adapters.export.steps.onnx_files import OPSET, save
from adapters.export.steps.saved_models import layers_of, prepared, signature_name

TOOLS = ("tf2onnx", "tensorflow")

_LACKING = re.compile(r"Tensorflow op \[([^:\]]+): (\w+)\] is not supported")
_KEPT = re.compile(r"'(\w+)': \d+")


def run(told: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Convert one signature, with its names."""
    job = Job.of(told)
    report(0.1, "reading the SavedModel")
    folder = prepared(job, job.target.with_suffix(".prepared"))
    raw = job.target.with_suffix(".raw.onnx")
    logged = Kept()
    logging.getLogger().addHandler(logged)
    report(0.3, "converting to ONNX")
    sys.argv = ["tf2onnx", "--saved-model", str(folder), "--output", str(raw), "--opset", str(OPSET)]
    sys.argv += ["--signature_def", signature_name(folder), "--tag", "serve"]
    try:
        convert.main()
    except (Exception, SystemExit) as error:
        raise _refusal(error, logged.lines, job) from error
    if not raw.exists() or _lacking(logged.lines):
        raise _refusal(None, logged.lines, job)
    save(onnx.load(raw), job.target)
    raw.unlink()
    return {}


def _lacking(lines: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for node, operator in _LACKING.findall("\n".join(lines)):
        found.setdefault(operator, []).append(node)
    return found


def _refusal(error: BaseException | None, lines: list[str], job: Job) -> Refusal:
    if lacking := _lacking(lines):
        return unsupported("ONNX", lacking)
    unsupported_lines = [line for line in lines if "Unsupported ops" in line]
    if unsupported_lines:
        return unsupported("ONNX", layers_of(job.source, _KEPT.findall(unsupported_lines[0])))
    reason = first_lines(error) if error is not None else (lines[-1][:600] if lines else "no reason given")
    return Refusal(f"tf2onnx cannot convert it: {reason}")
