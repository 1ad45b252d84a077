"""What the evidence means: plain data, for the API, the command line and the pages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from gateway.experiments.definition import Definition


class Verdict(StrEnum):
    """How a variant stands to control in one metric, or in all."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "no practical difference"
    UNDECIDED = "undecided"


class Estimate(msgspec.Struct, frozen=True):
    """A value with its anytime-valid interval; None is "not known yet"."""

    value: float | None
    low: float | None
    high: float | None


class Bayes(msgspec.Struct, frozen=True):
    """The Bayesian view: probability to be the best of all variants, and what choosing it is expected to lose.

    `expected_loss` is in the metric's own unit.
    """

    probability_best: float
    expected_loss: float


class VariantMetric(msgspec.Struct, frozen=True):
    """One metric of one variant; `quantiles` by name (`p50`, `p95`, `p99`), of metrics that have a histogram."""

    metric: str
    variant: str
    count: int
    estimate: Estimate
    quantiles: Mapping[str, float] = {}
    bayes: Bayes | None = None


class Comparison(msgspec.Struct, frozen=True):
    """One variant against control in one metric.

    `difference` is variant - control, in the metric's unit; `ratio` is variant / control. `p_value` is anytime-valid,
    `p_adjusted` corrected over the metrics and variants. `needed` is how many more values per variant a decision is
    expected to take, `eta_s` how long, at the rate so far; None is "cannot be told", 0 "decided".
    """

    metric: str
    variant: str
    difference: Estimate
    ratio: Estimate
    p_value: float
    p_adjusted: float
    verdict: Verdict
    words: str
    needed: int | None = None
    eta_s: float | None = None


class SampleRatio(msgspec.Struct, frozen=True):
    """Whether variants got the traffic that their weights say; `p_value` is anytime-valid."""

    p_value: float
    alarm: bool
    expected: Mapping[str, float]
    observed: Mapping[str, int]
    words: str = ""


class Analysis(msgspec.Struct, frozen=True):
    """All that statistics say of a run at one moment."""

    metrics: tuple[VariantMetric, ...]
    comparisons: tuple[Comparison, ...]
    sample_ratio: SampleRatio
    verdicts: Mapping[str, Verdict]
    words: str


class OutputView(msgspec.Struct, frozen=True):
    """What one output of the examined answers is like; `classes` counts the largest of each row by its index."""

    values: int
    mean: float
    deviation: float
    least: float
    most: float
    classes: Mapping[int, int] = {}


class VariantView(msgspec.Struct, frozen=True):
    """What one variant gets and does. `weight` is in force now, `share` what it got of this run's traffic (0..1).

    `requests` were answered or failed; `errors` are failures that were not the callers'; of `examined` answers
    `not_finite` held NaN or infinity. `units` are those counted, where there are units.
    """

    name: str
    target: str
    control: bool
    declared_weight: float
    weight: float
    share: float
    requests: int
    errors: int
    examined: int
    not_finite: int
    served_by: tuple[str, ...] = ()
    units: int | None = None
    outputs: Mapping[str, OutputView] = {}


class ShadowView(msgspec.Struct, frozen=True):
    """How the shadow's answers compare with those that callers got.

    `compared` pairs of answers, `disagreed` in argmax or by more than the tolerance, `failed` on the shadow's side,
    `skipped` under load; `largest_difference` and `least_cosine` over all pairs.
    """

    target: str
    compared: int
    disagreed: int
    failed: int
    skipped: int
    largest_difference: float | None
    least_cosine: float | None


class View(msgspec.Struct, frozen=True):
    """An experiment as it stands at `at`. `problems` are for people: what is wrong, and what to do about it."""

    definition: Definition
    at: datetime
    variants: tuple[VariantView, ...]
    analysis: Analysis | None
    shadow: ShadowView | None
    counters: Mapping[str, int]
    problems: tuple[str, ...]


class Event(msgspec.Struct, frozen=True):
    """A change: who made it, what it did, and what was before and after it."""

    number: int
    at: datetime
    who: str
    action: str
    model: str
    experiment: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    reason: str = ""


class Look(msgspec.Struct, frozen=True):
    """What the statistics said at one moment: a point of the pictures over time. `variant` may be control."""

    at: datetime
    metric: str
    variant: str
    count: int
    estimate: Estimate
    difference: Estimate
    p_value: float | None
    weight: float


class Tally(msgspec.Struct, frozen=True):
    """What a variant of a running experiment has had of this run's requests, and its weight, in percent."""

    requests: int
    errors: int
    weight: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Something that became of a request or a unit.

    Either `request` (the header torii-request-id of an answer) or `experiment` (MODEL/NAME) and `unit`. Outcomes with a
    `key` that came before are not counted again.
    """

    metric: str
    value: float
    request: str | None = None
    experiment: str | None = None
    unit: str | None = None
    key: str | None = None
    at: datetime | None = None


class Refused(msgspec.Struct, frozen=True):
    """An outcome that does not count, by its place in the body, and why."""

    index: int
    error: str


class Receipt(msgspec.Struct, frozen=True):
    """What became of reported outcomes. `sampled_out` were left out under pressure, which the evidence records."""

    accepted: int
    duplicates: int
    sampled_out: int
    refused: tuple[Refused, ...]
