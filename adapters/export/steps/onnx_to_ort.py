"""ONNX to ONNX Runtime's own format, for its mobile builds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnxruntime as ort

from adapters.export.steps.job import Job, Refusal, Report, first_lines

TOOLS = ("onnxruntime",)


def run(told: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Write the optimised graph; no optimisation is used that only this machine's kind of processor has."""
    job = Job.of(told)
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    settings.optimized_model_filepath = str(job.target)
    settings.log_severity_level = 3
    settings.add_session_config_entry("session.save_model_format", "ORT")
    report(0.3, "writing ONNX Runtime's format")
    try:
        ort.InferenceSession(str(job.source), settings, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise Refusal(f"onnxruntime {ort.__version__} cannot read it: {first_lines(error)}") from error
    return {}
