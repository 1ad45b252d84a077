"""Certificates of exports that never were."""

from __future__ import annotations

from pathlib import Path

from adapters.export.certificate import Certificate, DataUsed, Latency, Machine, Side, encode
from adapters.export.digests import artifact_digest
from adapters.export.figures import BIN_EXPONENTS, Differences, OutputParity
from adapters.export.tolerances import tolerance_for
from gateway.artifacts import find_artifacts


def certificate(artifact: Path, subject: str = "m/1") -> Certificate:
    """A certificate that passed, of a file or folder."""
    size = sum(each.stat().st_size for each in ([artifact] if artifact.is_file() else artifact.rglob("*")))
    side = Side("onnx", artifact.name, size, artifact_digest(artifact), "fake 1", 1.0, Latency(1.0, 1.0, 1, 1), {})
    differences = Differences(2, [0] * (len(BIN_EXPONENTS) - 1))
    output = OutputParity(
        "y", "y", "FP32", [1, 2], 2, 1.0, 0.0, 0, 0.0, 1.0, 1.0, 1.0, 0, 0, 0, differences, counted=False
    )
    return Certificate(
        schema=1,
        subject=subject,
        made="2026-11-23T12:00:00Z",
        passed=True,
        reasons=[],
        source=side,
        export=side,
        route=["onnx → tflite"],
        outputs=[output],
        accuracy=None,
        data=DataUsed("golden.npz", "golden", "", 1, 1),
        tolerance=tolerance_for("fp32"),
        machine=Machine("Linux", "x86_64", "fake", 1, 1),
        tools={},
    )


def certify(folder: Path, backend: str) -> None:
    """Write a certificate beside a version's artifact of a backend."""
    (folder / "certificates").mkdir(exist_ok=True)
    found = certificate(find_artifacts(folder).artifacts[backend].path)
    (folder / "certificates" / f"{backend}.json").write_bytes(encode(found))
