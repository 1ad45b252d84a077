"""The verdict as JSON: what `--json` writes and the gateway keeps. None is what was not measured, or is not known."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

SCHEMA: Final = 1

Kind = Literal["recommended", "undecided", "alone", "none"]


class Estimate(msgspec.Struct, frozen=True):
    """A figure with its interval at 95 %."""

    value: float
    low: float
    high: float

    def below(self, other: Estimate) -> bool:
        """Whether it is surely less: the intervals do not touch."""
        return self.high < other.low


class Agreement(msgspec.Struct, frozen=True):
    """How near a deployment's answers are to the reference's.

    `largest` is the largest absolute difference of any output, as a share of the largest value that the reference gives
    there, `limit` how far that may be off; `argmax` the share of rows with the same best class, None where no output
    is scores of classes.
    """

    largest: float
    limit: float
    argmax: float | None
    rows: int
    within: bool


class Row(msgspec.Struct, frozen=True):
    """One deployment."""

    deployment: str
    backend: str
    runtime: str = ""
    digest: str = ""
    state: Literal["measured", "not ready", "failed"] = "measured"
    why: str = ""
    """Why it is not ready, or what failed."""

    problems: tuple[str, ...] = ()
    """What keeps it from being recommended."""

    marks: tuple[str, ...] = ()
    """Why to mistrust its figures."""

    load_s: float | None = None
    artifact_bytes: int | None = None
    rss_bytes: int | None = None
    server_rss_bytes: int | None = None
    """Of the server beside its processes that it needs: TorchServe's Java."""

    sharing: int = 1
    """How many deployments are in its process or server."""

    alone_p50_ms: Estimate | None = None
    alone_p99_ms: Estimate | None = None
    p50_ms: Estimate | None = None
    """At the rate, as p99_ms, errors and cpu_ms are."""

    p99_ms: Estimate | None = None
    errors: float | None = None
    """Share of the requests that failed."""

    highest_rate: Estimate | None = None
    """Requests a second that keep p99 under the target; 0: not even the lowest rate does."""

    cpu_ms: Estimate | None = None
    """CPU time of gateway and backend for one request."""

    cost: Estimate | None = None
    """Of a million requests."""

    accuracy: Estimate | None = None
    agreement: Agreement | None = None

    @property
    def memory_bytes(self) -> int | None:
        """What has to be there to serve it."""
        return None if self.rss_bytes is None else self.rss_bytes + (self.server_rss_bytes or 0)


class Recommendation(msgspec.Struct, frozen=True):
    """Which deployment should serve; several where it is undecided between them."""

    kind: Kind
    deployments: tuple[str, ...]
    reason: str
    against: tuple[str, ...] = ()


class Where(msgspec.Struct, frozen=True):
    """The machine that it was measured on."""

    name: str
    cpu: str
    cores: int
    memory_bytes: int
    system: str


class Settings(msgspec.Struct, frozen=True):
    """What was asked for, and what was chosen where nothing was."""

    latency_target_ms: float | None
    target_given: bool
    rate: float | None
    rate_given: bool
    price_per_core_hour: float
    cost_by: Literal["cpu", "rate", ""]
    dialect: str
    payload: str
    rounds: int
    seconds: float
    """Of each stretch of load."""


class Verdict(msgspec.Struct, frozen=True, rename={"schema_": "schema"}):
    """All of it."""

    schema_: int
    model: str
    version: int
    made: str
    """ISO 8601, UTC."""

    machine: Where
    settings: Settings
    reference: str
    """What answers were held against: `golden outputs`, or a deployment; empty: nothing."""

    accuracy_by: Literal["labels", "golden outputs", ""]
    rows: tuple[Row, ...]
    recommendation: Recommendation
    marks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`digits/1`."""
        return f"{self.model}/{self.version}"


def encode(verdict: Verdict) -> bytes:
    """As JSON."""
    return msgspec.json.format(msgspec.json.encode(verdict), indent=1)


def decode(document: bytes) -> Verdict:
    """The way back; raises msgspec.ValidationError or DecodeError."""
    return msgspec.json.decode(document, type=Verdict)
