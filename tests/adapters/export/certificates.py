"""Certificates made up for tests."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from adapters.export.certificate import Certificate, DataUsed, Latency, Machine, Side
from adapters.export.comparing import compare
from adapters.export.data import DataKind
from adapters.export.tolerances import TOLERANCES
from adapters.export.verdicts import reasons_against


def side(form: str, file: str, sha256: str = "a" * 64, **changed: Any) -> Side:
    """A source or an export of 1,000 bytes that takes half a millisecond."""
    made = Side(form, file, 1000, sha256, "onnxruntime 1.0", 12.5, Latency(0.5, 2.0, 100, 1), {"Conv": 2, "Softmax": 1})
    return msgspec.structs.replace(made, **changed)


def certificate(precision: str = "fp32", difference: float = 1e-6, **changed: Any) -> Certificate:
    """Of digits/2 made to TFLite, whose scores are so far from the source's."""
    scores = np.eye(4, 10, dtype=np.float32)
    labels = np.arange(4)
    outputs, accuracy = compare({"scores": scores}, {"scores": scores - np.float32(difference)}, labels)
    reasons = reasons_against(outputs, accuracy, TOLERANCES[precision])
    made = Certificate(
        schema=1,
        subject="digits/2",
        made="2026-01-02T03:04:05+00:00",
        passed=not reasons,
        reasons=reasons,
        source=side("torchscript", "model.pt"),
        export=side("tflite", "model.tflite", "b" * 64, size_bytes=250),
        route=["torchscript → pt2", "pt2 → tflite"],
        outputs=outputs,
        accuracy=accuracy,
        data=DataUsed("golden.npz", DataKind.GOLDEN, "c" * 64, 4, 4),
        tolerance=TOLERANCES[precision],
        machine=Machine("Linux 6", "x86_64", "Some CPU", 2, 8 << 30),
        tools={"torii": "0.1.0"},
    )
    return msgspec.structs.replace(made, **changed)
