"""Keras (.keras) to SavedModel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from adapters.export.steps.job import Job, Refusal, Report, first_lines

TOOLS = ("keras", "tensorflow")


def run(told: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Read the layers and their weights, and never code: a Lambda layer is refused."""
    job = Job.of(told)
    report(0.2, "reading the Keras model")
    try:
        model = keras.models.load_model(job.source, compile=False, safe_mode=True)
    except Exception as error:
        raise Refusal(f"{job.source.name} cannot be read by Keras {keras.__version__}: {_reason(error)}") from error
    report(0.5, "writing the SavedModel")
    model.export(job.target, verbose=False)
    return {}


def _reason(error: Exception) -> str:
    text = str(error)
    if "Lambda" in text:
        return (
            "it has a Lambda layer, whose code is not run here; make it a layer of operations, or export a SavedModel"
        )
    if "Could not locate class" in text or "register_keras_serializable" in text:
        return f"{first_lines(error)} It has layers of its own; export a SavedModel, which needs no Python classes"
    return first_lines(error)
