"""Results of two machines that have everything a report must show, and results that want to do harm."""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec.structs import replace

from loadtests.results.schema import Figure, Result, Row, Run
from tests.loadtests.invented import made_machine, made_result, made_row, made_run, made_slice, rows_in_turns

NO_GPU = "no NVIDIA driver was found"
BUSY = "busy machine: 23 % steal"
STOPPED = ((1.0, "SIGSTOP"), (2.0, "SIGCONT"))
LEVELS = (("measure 1 connection", 1.0), ("measure 8 connections", 8.0))

EVIL = (
    "<script>document.title = 'owned'</script>",
    "]]></style><img src=x onerror=alert(1)>",
    "](javascript:alert(1)) | `x` $\\frac{1}{0}$",
    "x" * 5000,
    "مرحبا بالعالم \u202e日本語😀",
    "{{ 7 * 7 }} a\nb\x00\x1b[31m",
)


def frameworks(machine: str = "EPYC-2c-8GB", speed: float = 1.0, **changes: Any) -> Result:
    """tflite is twice as fast as onnxruntime, whose last round fails, on a busy machine, while it stands."""
    medians = {"digits/1@onnxruntime": 800 / speed, "digits/1@tflite": 400 / speed}
    levels = [rows_in_turns(medians, rounds=5, phase=phase, level=level) for phase, level in LEVELS]
    rows = [replace(one, runs=(*one.runs, *eight.runs)) for one, eight in zip(*levels, strict=True)]
    rows[0] = replace(rows[0], runs=(*rows[0].runs[:-1], disturbed(rows[0].runs[-1])))
    figures = (
        Figure("load time", 0.4, "s", 0.3, 0.5),
        Figure("server rate", None, "1/s", note="the bound was never met"),
    )
    rows = [replace(row, hardware="CPU, 1 thread", settings={"intra_op_threads": 1}, figures=figures) for row in rows]
    rows.append(made_row("digits/1@onnxruntime", hardware="CUDA", status="not run", why=NO_GPU, figures=()))
    rows.append(made_row("digits/1@tflite", hardware="XNNPACK off", status="failed", why="it died", figures=()))
    return made_result(
        rows, machine=made_machine(machine), git={"revision": "abcdef0123456789", "modified": True}, **changes
    )


def disturbed(run: Run) -> Run:
    """Seven requests fail in the middle."""
    slices = list(run.slices)
    slices[6] = replace(slices[6], failures={"timeout": 7})
    return replace(run, slices=tuple(slices), marks=(BUSY,), events=STOPPED)


def steady(name: str, milliseconds: float) -> Row:
    """Each answer takes as long as every other one, 100 of them in a quarter of a second."""
    slices = tuple(made_slice(0.25 * index, [int(1000 * milliseconds)] * 100, by=name) for index in range(8))
    made = [made_run(np.random.default_rng(1), round=number) for number in (1, 2, 3)]
    return made_row(name, [replace(run, slices=slices, warm_up_s=0.0) for run in made])


def hostile() -> Result:
    """Texts that break out, are too long, or turn round, wherever a text can be; and rows without anything."""
    rng = np.random.default_rng(1)
    rows = []
    for number, evil in enumerate(EVIL):
        phase = f"measure {evil}" if number < 2 else "measure"
        run = made_run(rng, by=evil, phase=phase, slices=4, marks=(evil,), events=((0.6, evil),))
        failing = replace(run.slices[3], failures={evil: 1}, first_failure=evil)
        run = replace(run, slices=(*run.slices[:3], failing))
        settings: dict[str, Any] = {
            "dialect": evil, "hardware": evil, "settings": {evil: {evil: [evil]}},
            "figures": (Figure(evil, None, evil, None, None, evil), Figure("p90", 1e300, evil, None, 3.0)),
        }  # fmt: skip
        rows.append(made_row(f"digits/{number}@{evil}", [run], **settings))
        rows.append(made_row(evil, status="not run", why=evil))
    rows.append(made_row("nothing but warm-up", [made_run(rng, slices=4, warm_up_s=100.0)]))
    rows.append(
        made_row("nothing but failures", [replace(made_run(rng), slices=(made_slice(1, [], failures={"x": 5}),))])
    )
    machine = replace(made_machine(EVIL[0]), cpu=EVIL[1], gpus=({EVIL[0]: EVIL[1]},), mhz=None, physical_cores=None)
    return made_result(
        rows, name=EVIL[0], kind=EVIL[1], made=EVIL[2], command=EVIL[5], marks=EVIL, machine=machine,
        git={"revision": EVIL[0]}, models={EVIL[0]: {EVIL[1]: EVIL[2]}},
        scenario={EVIL[0]: EVIL, EVIL[1]: {EVIL[4]: None}},
    )  # fmt: skip
