"""perf_analyzer: Triton's load generator, which speaks V2 over HTTP and gRPC to any server, in C++."""

from __future__ import annotations

import csv
import ctypes
import json
from pathlib import Path

from loadtests.crosscheck import environment
from loadtests.crosscheck.asked import Turn
from loadtests.crosscheck.command import Command
from loadtests.crosscheck.measured import Measured, ToolFailed

_LIBRARY = "libb64.so.0d"
_REPORT = "report.csv"
_A_CONNECTION_EACH = {"TRITON_CLIENT_GRPC_CHANNEL_MAX_SHARE_COUNT": "1"}
"""Else six callers share one connection over gRPC."""

_WINDOWS = 3
_UNSTABLE = "100000"
"""Per cent that its windows may differ by: our rounds judge that, and it shall not go on until it is content."""


class PerfAnalyzer:
    """The program inside the wheel tritonclient."""

    name = "perf_analyzer"

    def missing(self) -> str | None:
        """Why it cannot run here, or None."""
        if why := environment.missing():
            return why
        if not _program().exists():
            return f"the wheel tritonclient has no perf_analyzer for this machine ({_program()})"
        try:
            ctypes.CDLL(_LIBRARY)
        except OSError:
            return f"it needs the system's {_LIBRARY} (apt install libb64-0d, or make crosscheck-tools)"
        return None

    def command(self, turn: Turn) -> Command:
        """Synchronous calls, one thread a connection; or a Poisson stream of calls."""
        asked, load = turn.asked, turn.asked.load
        model, version, backend = parted(asked.deployment)
        rows = [
            {name: row.ravel().tolist() for name, row in zip(asked.inputs, each, strict=True)}
            for each in zip(*asked.inputs.values(), strict=True)
        ]
        (turn.folder / "inputs.json").write_text(json.dumps({"data": rows}))
        argv = [
            str(_program()),
            "-m",
            f"{model}@{backend}" if backend else model,
            *(["-x", version] if version else []),
        ]
        argv += [
            "-u",
            f"{asked.target.host}:{asked.target.port}",
            "-i",
            "grpc" if asked.target.protocol == "grpc" else "http",
        ]
        argv += ["-b", str(load.rows), "--input-data", "inputs.json", "-f", _REPORT]
        argv += ["-p", str(round(1000 * turn.seconds / _WINDOWS)), "-r", str(_WINDOWS), "-s", _UNSTABLE]
        if load.rate is None:
            argv += ["--concurrency-range", str(load.connections), "--sync"]
        else:
            argv += ["--request-rate-range", f"{load.rate:g}", "--request-distribution", "poisson"]
            argv += ["--max-threads", str(load.connections), "--sync"]
        return Command(argv, environment={"LD_LIBRARY_PATH": str(_cuda_runtime()), **_A_CONNECTION_EACH})

    def read(self, _output: str, turn: Turn) -> Measured:
        """Its report as CSV."""
        report = turn.folder / _REPORT
        return parse(report.read_text() if report.exists() else "")


def parse(report: str) -> Measured:
    """Figures out of the report's only row; it counts samples, and times in µs.

    Raises:
        ToolFailed: there is no such row.
    """
    rows = list(csv.DictReader(report.splitlines()))
    try:
        (row,) = rows
        p50, p90, p99 = (float(row[f"p{each} latency"]) / 1000 for each in (50, 90, 99))
        return Measured(float(row["Inferences/Second"]), p50, p90, p99)
    except (LookupError, ValueError):
        raise ToolFailed(f"expected perf_analyzer's report with one row, got {report[-300:]!r}") from None


def parted(deployment: str) -> tuple[str, str, str]:
    """Model, version and backend of `digits/1@tflite`; empty where it does not say."""
    rest, _, backend = deployment.partition("@")
    model, _, version = rest.partition("/")
    return model, version, backend


def _program() -> Path:
    return environment.FOLDER / "bin" / "perf_analyzer"


def _cuda_runtime() -> Path:
    """The folder of the CUDA runtime's library, from its wheel."""
    found = sorted(environment.FOLDER.glob("lib/python3.*/site-packages/nvidia/cuda_runtime/lib"))
    return found[0] if found else environment.FOLDER
