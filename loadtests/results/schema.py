"""The result file: JSON of these structures. A change of meaning raises SCHEMA; additions have defaults."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

SCHEMA: Final = 1


class Machine(msgspec.Struct, frozen=True):
    """Where it ran: the machine's fingerprint. None and empty: could not be found out."""

    name: str
    """Short and the same for equal hardware: `EPYC-9B14-2c-24GB`, `H100-16c`; the column in tables."""

    cpu: str
    architecture: str
    cores: int
    """Logical ones that this process may use."""

    physical_cores: int | None
    flags: tuple[str, ...]
    """Only those that matter for inference: avx2, avx512f, avx512_vnni, amx_int8, f16c, fma, asimddp, i8mm, sve, …"""

    caches: dict[str, str]
    mhz: float | None
    governor: str
    memory_bytes: int
    gpus: tuple[dict[str, str], ...]
    """name, memory, driver, CUDA of each."""

    container: dict[str, str]
    """Limits: cpu.max, memory.max, and what virtualization or container was recognised."""

    system: str
    kernel: str
    runtimes: dict[str, str]
    """python, onnxruntime, ai-edge-litert, tensorflow, torch, torchserve, java, locust, torii."""


class Noise(msgspec.Struct, frozen=True):
    """What else the machine did during a run; shares of all cores, 0…1; None where it cannot be told."""

    steal: float | None
    """What the hypervisor took."""

    others: float | None
    """CPU of processes that are neither the generator's nor the gateway's; None where the gateway runs elsewhere."""

    load_before: float | None


class Distribution(msgspec.Struct, frozen=True):
    """Answers of one deployment in one slice; histograms as in engine.plan, in base64."""

    succeeded: int
    latency: str
    service: str


class Slice(msgspec.Struct, frozen=True):
    """As the generator told it (see engine.plan.Slice); seconds since the run began."""

    begin_s: float
    end_s: float
    level: float
    sent: int
    answers: dict[str, Distribution]
    failures: dict[str, int]
    first_failure: str
    waiting: int
    under_way: int
    late_us: int
    cpu: float


class Run(msgspec.Struct, frozen=True):
    """One stretch of load: the raw material of everything else."""

    began: str
    """ISO 8601, UTC."""

    phase: str
    """`measure`, or what of a scenario it was: `search 1200/s`, `spike`, `recovery`, …"""

    round: int
    arrival: Literal["closed", "poisson", "uniform"]
    connections: int
    warm_up_s: float
    """Slices of which the larger part is before this are of the warm-up, and count nowhere."""

    slices: tuple[Slice, ...]
    noise: Noise
    events: tuple[tuple[float, str], ...] = ()
    """Seconds since the run began, and what happened: `version 2 published`, `SIGSTOP`."""

    marks: tuple[str, ...] = ()
    """Why to mistrust it: `busy machine: 23 % steal`, `the generator was the limit: 97 % of its core`."""

    @property
    def measured(self) -> tuple[Slice, ...]:
        """Slices after the warm-up. One that was to end with it ends a little later."""
        return tuple(each for each in self.slices if (each.begin_s + each.end_s) / 2 > self.warm_up_s)


class Figure(msgspec.Struct, frozen=True):
    """One number with its interval at 95 % (None where it has none)."""

    name: str
    """`p50`, `p90`, `p99`, `throughput`, `errors`, `server rate`, `load time`, …"""

    value: float | None
    unit: str
    low: float | None = None
    high: float | None = None
    note: str = ""
    """`early stopping: 1,204 queries more needed`, `the bound was never met`."""


class Row(msgspec.Struct, frozen=True):
    """One line of the table: one deployment, asked in one way, on one setting of the hardware."""

    deployment: str
    """`digits/1@onnxruntime`; `digits` where the gateway chose."""

    dialect: str
    """`v2-json`, `v2-binary`, `v2-grpc`, `tfs-rest`, `tfs-grpc`, `torchserve`."""

    hardware: str
    """`CPU, 1 thread`, `CPU, 2 threads`, `CUDA`, `OpenVINO`, `XNNPACK off`; `as served` where nothing was set."""

    payload: str
    """`digits`, `image 1×3×224×224`."""

    settings: dict[str, Any]
    """What was set for it, as in model.toml."""

    status: Literal["measured", "not run", "failed"]
    why: str = ""
    """Why it was not run, or what failed."""

    figures: tuple[Figure, ...] = ()
    """What the scenario asks for first is first."""

    runs: tuple[Run, ...] = ()


class Result(msgspec.Struct, frozen=True):
    """One result file."""

    schema: int
    name: str
    """The scenario's."""

    kind: str
    """`single-stream`, `multi-stream`, `server`, `offline`, `load` (a shape), `rolling-update`, `cold-start`, …"""

    made: str
    command: str
    scenario: dict[str, Any]
    """All of its settings, defaults included."""

    git: dict[str, Any]
    """revision, modified (bool); empty outside a checkout."""

    models: dict[str, dict[str, str]]
    """`digits/1`: artifact or backend to its SHA-256."""

    machine: Machine
    rows: tuple[Row, ...]
    marks: tuple[str, ...] = ()
