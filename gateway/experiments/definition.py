"""What an experiment is: plain data, as its file says it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

from gateway.types import Target

LATENCY: Final = "latency_ms"
"""The metric that every request gives: milliseconds from its admission to its answer."""

ERRORS: Final = "errors"
"""The metric that every request gives: 1 where it was not answered and that was not its caller's fault, else 0."""

UNIT_HEADER: Final = "torii-unit"
EXPERIMENT_HEADER: Final = "torii-experiment"
VARIANT_HEADER: Final = "torii-variant"
REQUEST_HEADER: Final = "torii-request-id"


class Standing(StrEnum):
    """Where an experiment stands. It may be started again after a stop: that is a new run, with evidence of its own."""

    DRAFT = "draft"
    RUNNING = "running"
    STOPPED = "stopped"


class Kind(StrEnum):
    """What of a metric is compared.

    MEAN: the mean of the reported values. BINARY: the share of ones among reported zeros and ones. QUANTILE: a quantile
    of the reported values. CONVERSION: the share of exposed units that ever reported a one.
    """

    MEAN = "mean"
    BINARY = "binary"
    QUANTILE = "quantile"
    CONVERSION = "conversion"


class Better(StrEnum):
    """Which way a metric is good."""

    LOWER = "lower"
    HIGHER = "higher"


class Variant(msgspec.Struct, frozen=True):
    """One side of the comparison; `weight` is its share of the traffic in percent."""

    name: str
    target: Target
    weight: float


class Metric(msgspec.Struct, frozen=True):
    """What is compared.

    `margin` is the difference that matters in practice: absolute for BINARY and CONVERSION (0.01 is one point), a part
    of the control's value for MEAN and QUANTILE (0.05 is 5 %). `quantile` is of QUANTILE only. `low` and `high` bound
    the values that are taken.
    """

    name: str
    kind: Kind
    better: Better
    margin: float
    quantile: float = 0.95
    low: float | None = None
    high: float | None = None

    @property
    def automatic(self) -> bool:
        """Whether requests give it by themselves; all others are reported as outcomes."""
        return self.name in (LATENCY, ERRORS)


class Guardrails(msgspec.Struct, frozen=True):
    """What no variant may do, or its traffic goes back to control; None is no limit.

    `error_rate`, `nan_rate`, `disagreement`: shares of requests (of examined answers, of compared ones).
    `p99_ratio`: of the variant's p99 latency to control's; `p99_ms`: absolute.
    """

    error_rate: float | None = 0.05
    p99_ratio: float | None = None
    p99_ms: float | None = None
    nan_rate: float | None = 0.01
    disagreement: float | None = None


class Ramp(msgspec.Struct, frozen=True):
    """How the variants other than control grow: to each of `steps` in turn, percent of the traffic for them together.

    A step is left after `hold_s` seconds, once every variant has `requests` in it. Within a step they share by weight.
    """

    steps: tuple[float, ...]
    hold_s: float
    requests: int


class Policy(msgspec.Struct, frozen=True):
    """Who sets the weights while the experiment runs.

    `kind`: fixed (people do), thompson or exp3. `metric` is the reward, `floor` the least percent that a variant keeps,
    `interval_s` the time between changes; with `sticky` false every request is assigned by itself.
    """

    kind: str = "fixed"
    metric: str = ""
    floor: float = 5.0
    interval_s: float = 5.0
    sticky: bool = True


class Shadow(msgspec.Struct, frozen=True):
    """Whose answers are compared with those that callers get: `percent` of the requests are copied to `target`.

    Copies take `busy_percent` of the time at most.
    """

    target: Target
    percent: float = 100.0
    tolerance: float = 1e-3
    busy_percent: float = 0.25


class Filter(msgspec.Struct, frozen=True):
    """Which requests take part: those with all of these headers (metadata over gRPC) and V2 parameters."""

    headers: Mapping[str, str] = {}
    parameters: Mapping[str, str | int | float | bool] = {}


class Current(msgspec.Struct, frozen=True):
    """What Torii keeps in the file, so that every gateway that watches it assigns alike.

    `weights` are in force (a ramp's step, a bandit's, or control's 100 after a breach) as long as the variants' own are
    still `declared`; `slots` are the allocation (see assignment) that belongs to them. `epoch` counts the changes of a
    run, `step` the ramp's (from 0), `since` is of the latest change, `reason` why it was made.
    """

    declared: Mapping[str, float]
    weights: Mapping[str, float]
    slots: tuple[tuple[int, str], ...]
    epoch: int = 0
    step: int = 0
    since: datetime | None = None
    reason: str = ""


class Definition(msgspec.Struct, frozen=True):
    """One experiment of one model.

    `units` are the sources of the unit that assignment sticks to, the first that a request has counts:
    `header:NAME`, `parameter:NAME`, `cookie:NAME`; a request with none is assigned by itself. `testers` are units (as
    they come, not hashed) that always get a variant; with `overrides` the header torii-variant chooses. Neither gives
    evidence. `run` counts the starts, `winner` is the variant that was promoted; with `promote`, a variant that is
    better as a whole is promoted by itself.
    """

    model: str
    name: str
    variants: tuple[Variant, ...]
    control: str
    state: Standing = Standing.DRAFT
    description: str = ""
    owner: str = ""
    salt: str = ""
    units: tuple[str, ...] = ("header:torii-unit", "parameter:unit")
    where: Filter = Filter()
    metrics: tuple[Metric, ...] = ()
    guardrails: Guardrails = Guardrails()
    confidence: float = 0.95
    start: datetime | None = None
    stop: datetime | None = None
    ramp: Ramp | None = None
    policy: Policy = Policy()
    shadow: Shadow | None = None
    testers: Mapping[str, str] = {}
    overrides: bool = False
    promote: bool = False
    promote_label: str = "stable"
    attribution_s: float = 86_400.0
    run: int = 0
    started: datetime | None = None
    ended: datetime | None = None
    reason: str = ""
    winner: str = ""
    current: Current | None = None

    def __str__(self) -> str:
        return f"{self.model}/{self.name}"

    def variant(self, name: str) -> Variant | None:
        """A variant by its name."""
        return next((each for each in self.variants if each.name == name), None)

    def metric(self, name: str) -> Metric | None:
        """A metric by its name."""
        return next((each for each in self.metrics if each.name == name), None)
