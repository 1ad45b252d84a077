"""Rows and verdicts, made up."""

from __future__ import annotations

from typing import Any

import msgspec

from loadtests.verdict.document import SCHEMA, Agreement, Estimate, Row, Settings, Verdict, Where
from loadtests.verdict.recommendation import problems, recommend

TARGET_MS = 5.0


def around(value: float, share: float = 0.1) -> Estimate:
    """A figure with an interval of that share to both sides."""
    return Estimate(value, value * (1 - share), value * (1 + share))


def row(backend: str, version: str = "m/1", **changed: Any) -> Row:
    """A deployment that does all well, but for what is said."""
    made = Row(
        deployment=f"{version}@{backend}",
        backend=backend,
        runtime=f"{backend} 1.0",
        digest="ab" * 32,
        load_s=0.5,
        artifact_bytes=25_000,
        rss_bytes=60_000_000,
        alone_p50_ms=around(0.5),
        alone_p99_ms=around(1.0),
        p50_ms=around(0.6),
        p99_ms=around(2.0),
        errors=0.0,
        highest_rate=around(1000.0),
        cpu_ms=around(1.0),
        cost=around(0.014),
        accuracy=Estimate(1.0, 0.8, 1.0),
        agreement=Agreement(1e-6, 1e-4, 1.0, 16, True),
    )
    return msgspec.structs.replace(made, **changed)


def judged(*rows: Row, target_ms: float | None = TARGET_MS) -> list[Row]:
    """The same, with what keeps each from being recommended."""
    return [msgspec.structs.replace(each, problems=problems(each, rows, target_ms)) for each in rows]


def verdict(*rows: Row, **changed: Any) -> Verdict:
    """A verdict on these, recommended as they deserve."""
    found = judged(*(rows or (row("onnxruntime"), row("tflite", cost=around(0.028), cpu_ms=around(2.0)))))
    made = Verdict(
        schema_=SCHEMA,
        model="m",
        version=1,
        made="2026-11-23T12:00:00+00:00",
        machine=Where("EPYC-2c", "AMD EPYC", 2, 8_000_000_000, "Debian"),
        settings=Settings(TARGET_MS, True, 500.0, False, 0.05, "cpu", "v2-binary", "golden data", 3, 4.0),
        reference="golden outputs",
        accuracy_by="golden outputs",
        rows=tuple(found),
        recommendation=recommend(found, TARGET_MS),
    )
    return msgspec.structs.replace(made, **changed)
