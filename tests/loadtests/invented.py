"""Results that no gateway gave, by a truth that is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from hdrh.histogram import HdrHistogram

from loadtests.results.schema import (
    SCHEMA,
    Distribution,
    Figure,
    Machine,
    Noise,
    Result,
    Row,
    Run,
    Slice,
)

QUIET = Noise(0.0, 0.01, 0.1)
DIGEST = "0" * 64


def histogram(microseconds: Sequence[int]) -> str:
    """As generators write it."""
    made = HdrHistogram(1, 3_600_000_000, 3)
    for each in microseconds:
        made.record_value(int(each))
    return made.encode().decode()


def made_slice(
    begin_s: float,
    microseconds: Sequence[int],
    *,
    by: str = "digits/1@tflite",
    failures: dict[str, int] | None = None,
    level: float = 8.0,
    length_s: float = 0.25,
) -> Slice:
    text = histogram(microseconds)
    return Slice(
        begin_s, begin_s + length_s, level, len(microseconds) + sum((failures or {}).values()),
        {by: Distribution(len(microseconds), text, text)}, failures or {}, "", 0, 0, 100, 0.4,
    )  # fmt: skip


def made_run(
    rng: np.random.Generator,
    *,
    round: int = 1,  # noqa: A002
    turn: int = 0,
    median_us: float = 800.0,
    slices: int = 12,
    arrival: Any = "closed",
    by: str = "digits/1@tflite",
    level: float = 8.0,
    phase: str = "measure",
    answers: int = 0,
    **more: Any,
) -> Run:
    """A run whose speed wanders a little; closed loops answer `level` at a time, each in its latency."""
    minute, second = divmod(20 * round + 4 * turn, 60)
    found, wander = [], 0.0
    for index in range(slices):
        wander = 0.6 * wander + 0.03 * rng.normal()
        centre = math.log(median_us) + wander
        count = answers or max(1, int(0.25 * level / (math.exp(centre) * 1e-6) / 40))
        values = np.exp(centre + 0.2 * rng.normal(size=count)) + (rng.random(count) < 0.02) * rng.exponential(
            3 * median_us, count
        )
        found.append(made_slice(0.25 * index, values.astype(int), by=by, level=level))
    began = f"2026-11-23T10:{minute:02}:{second:02}+00:00"
    settings = {"warm_up_s": 0.5, "noise": QUIET, **more}
    return Run(began=began, phase=phase, round=round, arrival=arrival, connections=8, slices=tuple(found), **settings)


def made_machine(name: str = "EPYC-2c-8GB") -> Machine:
    return Machine(
        name, "AMD EPYC", "x86_64", 2, 1, ("avx2", "f16c"), {"L2": "1 MiB"}, 2600.0, "unknown", 8 * 2**30, (),
        {"cpu.max": "max"}, "Debian 12", "6.1", {"python": "3.11", "onnxruntime": "1.32.0"},
    )  # fmt: skip


def made_row(deployment: str = "digits/1@tflite", runs: Sequence[Run] = (), **changes: Any) -> Row:
    settings: dict[str, Any] = {
        "dialect": "v2-json", "hardware": "as served", "payload": "digits", "settings": {}, "status": "measured",
        "figures": (Figure("p99", 1.5, "ms", 1.4, 1.7), Figure("load time", 0.4, "s")),
    }  # fmt: skip
    return Row(deployment=deployment, runs=tuple(runs), **{**settings, **changes})


def made_result(rows: Sequence[Row], **changes: Any) -> Result:
    settings: dict[str, Any] = {
        "schema": SCHEMA, "name": "frameworks", "kind": "frameworks", "made": "2026-11-23T10:00:00+00:00",
        "command": "torii loadtest run frameworks", "scenario": {"levels": [8], "rounds": 3}, "git": {},
        "models": {"digits/1": {"model.tflite": DIGEST}}, "machine": made_machine(),
    }  # fmt: skip
    return Result(rows=tuple(rows), **{**settings, **changes})


def rows_in_turns(medians: dict[str, float], rounds: int = 3, seed: int = 1, **more: Any) -> list[Row]:
    """Rows of deployments with these medians in µs, measured in turns."""
    rng = np.random.default_rng(seed)
    runs: dict[str, list[Run]] = {name: [] for name in medians}
    for number in range(1, rounds + 1):
        drift = 1 + 0.05 * rng.normal()
        for turn, (name, median) in enumerate(medians.items()):
            runs[name].append(made_run(rng, round=number, turn=turn, median_us=median * drift, by=name, **more))
    return [made_row(name, each) for name, each in runs.items()]
