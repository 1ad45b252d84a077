"""SavedModel to TF.js, a graph model: model.json and its weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tensorflowjs.converters import tf_saved_model_conversion_v2

from adapters.export.steps.job import Job, Refusal, Report, first_lines, unsupported
from adapters.export.steps.saved_models import layers_of, prepared, signature_name

TOOLS = ("tensorflowjs", "tensorflow")

_OPERATOR = re.compile(r"\b[A-Z]\w+")


def run(told: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Convert one signature into the folder `target`."""
    job = Job.of(told)
    report(0.1, "reading the SavedModel")
    folder = prepared(job, job.target.with_suffix(".prepared"))
    report(0.3, "converting to TF.js")
    try:
        tf_saved_model_conversion_v2.convert_tf_saved_model(
            str(folder), str(job.target), signature_def=signature_name(folder), saved_model_tags="serve"
        )
    except Exception as error:
        text = str(error)
        if "Unsupported Ops" in text:
            lacking = layers_of(job.source, _OPERATOR.findall(text.split("\n", 1)[-1]))
            raise unsupported("TF.js", lacking) from error
        raise Refusal(f"tensorflowjs cannot convert it: {first_lines(error)}") from error
    return {}
