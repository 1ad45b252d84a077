"""`make proof-export`: every path from every source, each with its certificate."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adapters.errors import ServingError
from adapters.export.certificate import Certificate
from adapters.export.convert import ExportRequest, convert
from adapters.export.formats import Form, Format, form_named, forms_in
from tests.conftest import TEST_DATA

PATHS = {
    Format.KERAS: ("tflite", "tflite-fp16", "tflite-dynamic", "tflite-int8", "onnx", "tfjs"),
    Format.SAVED_MODEL: ("tflite", "tflite-fp16", "tflite-dynamic", "tflite-int8", "onnx", "ort", "tfjs"),
    Format.TORCHSCRIPT: ("onnx", "tflite", "tflite batch=1", "pte"),
    Format.EXPORTED: ("onnx", "tflite", "tflite batch=1", "pte"),
    Format.ONNX: ("tflite", "tflite-int8", "ort", "onnx-dynamic", "onnx-int8"),
}
ONLY = {"half_plus_two": ("tflite", "onnx")}


@dataclass(frozen=True)
class Case:
    """One export: the source's model and form, what is wanted, and what came of it."""

    model: str
    source: Form
    wanted: str
    took_s: float
    certificate: Certificate | None
    route: tuple[str, ...] = ()
    error: str = ""

    def row(self) -> str:
        found = self.certificate
        if found is None:
            return f"| {self.model} | {self.source} → {self.wanted} | **{self.error}** | | | | | |"
        way = " → ".join([self.route[0].split(" → ")[0], *(step.split(" → ")[1] for step in self.route)])
        fixed = ", batch 1" if "batch=1" in self.wanted else ""
        largest = max(output.largest for output in found.outputs)
        accuracy = f"{found.accuracy.before:.4f} → {found.accuracy.after:.4f}" if found.accuracy else ""
        times = found.export.latency
        size = f"{found.source.size_bytes / 1000:.1f} → {found.export.size_bytes / 1000:.1f}"
        cells = (
            self.model,
            way + fixed,
            size,
            f"{largest:.1e}",
            accuracy,
            f"{times.p50_ms:.3f}",
            f"{times.p99_ms:.3f}",
        )
        return "| " + " | ".join((*cells, f"{self.took_s:.0f}")) + " |"


async def one(model: str, folder: Path, rows: Path | None, wanted: str) -> Case:
    name, _, fixed = wanted.partition(" batch=")
    to, _, quantize = name.partition("-")
    source = next(iter(forms_in(folder)))
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as staging:
        request = ExportRequest(
            folder,
            form_named(to, quantize or None),
            Path(staging),
            calibration=rows,
            batch=int(fixed) if fixed else None,
            subject=model,
        )
        try:
            made = await convert(request, lambda fraction, text: None)
        except ServingError as error:
            return Case(model, source, wanted, time.monotonic() - begun, None, error=f"{type(error).__name__}: {error}")
    return Case(model, source, wanted, time.monotonic() - begun, made.certificate, made.route)


def cases(work: Path, only: str) -> Iterator[tuple[str, Path, Path | None, str]]:
    from tests.proofs import export_models

    makers = (export_models.digits_1, export_models.digits_2, export_models.mobilenets)
    sources = [source for maker in makers for source in maker(work)] + export_models.others(work, TEST_DATA)
    for source in sources:
        form = next(iter(forms_in(source.folder)))
        for wanted in ONLY.get(source.model, PATHS[form.format]):
            if only in f"{source.model} {form} {wanted}":
                yield source.model, source.folder, source.rows, wanted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="only the cases with this in their name, as 'digits/1 onnx tflite'")
    arguments = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as work:
        print("| model | route | kB before → after | largest difference | accuracy | p50 ms | p99 ms | s |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
        for each in cases(Path(work), arguments.only):
            case = asyncio.run(one(*each))
            failed += case.certificate is None
            print(case.row(), flush=True)
    if failed:
        sys.exit(f"{failed} exports failed")


if __name__ == "__main__":
    main()
