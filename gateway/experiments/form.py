"""The form of an experiment's file: every key, what it may hold, and what it is without it."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator

from gateway.experiments.definition import (
    Current,
    Definition,
    Filter,
    Guardrails,
    Policy,
    Ramp,
    Shadow,
    Standing,
    Variant,
)
from gateway.experiments.metric_form import MetricForm, read_metrics
from gateway.experiments.values import (
    Form,
    HeaderName,
    Line,
    Moment,
    Name,
    Number,
    Over,
    ParameterValue,
    Percent,
    Pin,
    Seconds,
    Share,
    Text,
    UnitSource,
    Whole,
)
from gateway.types import SLOTS

KEPT: Final = ("state", "run", "started", "ended", "reason", "winner", "current")
"""The keys that Torii keeps; all others are people's."""

_UNITS = ("header:torii-unit", "parameter:unit")


class VariantForm(Form):
    """[variants.NAME]"""

    target: Pin
    weight: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


class FilterForm(Form):
    """[filter]"""

    headers: dict[HeaderName, Annotated[str, Field(max_length=1000)]] = Field({}, max_length=16)
    parameters: dict[Line, ParameterValue] = Field({}, max_length=16)

    @field_validator("headers", mode="wrap")
    @classmethod
    def _once(cls, value: Any, read: Any) -> Any:
        headers = read(value)
        if len(headers) < len(value):
            raise ValueError("expected each header once: their case does not count")
        return headers


class GuardrailsForm(Form):
    """[guardrails]: false switches one off."""

    error_rate: Share = Guardrails().error_rate
    p99_ratio: Over = Guardrails().p99_ratio
    p99_ms: Over = Guardrails().p99_ms
    nan_rate: Share = Guardrails().nan_rate
    disagreement: Share = Guardrails().disagreement


class RampForm(Form):
    """[ramp]"""

    steps: Annotated[list[Percent], Field(min_length=1, max_length=100)]
    hold_s: Seconds = 600.0
    requests: Whole = 1000

    @field_validator("steps")
    @classmethod
    def _ascending(cls, steps: list[float]) -> list[float]:
        if steps != sorted(set(steps)):
            raise ValueError("expected percentages in ascending order, as in [1, 5, 25, 50]")
        return steps


class PolicyForm(Form):
    """[policy]"""

    kind: Literal["fixed", "thompson", "exp3"] = "fixed"
    metric: str = ""
    floor: Percent = 5.0
    interval_s: Annotated[float, Field(ge=1, le=10**8, allow_inf_nan=False)] = 5.0
    sticky: bool = True


class ShadowForm(Form):
    """[shadow]"""

    target: Pin
    percent: Percent = 100.0
    tolerance: Annotated[float, Field(ge=0, le=10**9, allow_inf_nan=False)] = 1e-3
    busy_percent: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 0.25


class CurrentForm(Form):
    """[current], which Torii keeps."""

    declared: dict[str, Number]
    weights: dict[str, Number]
    slots: list[Annotated[tuple[Whole, str], Field(strict=False)]] = Field([])
    epoch: Whole = 0
    step: Whole = 0
    since: Moment | None = None
    reason: Text = ""

    @field_validator("slots")
    @classmethod
    def _all(cls, slots: list[tuple[int, str]]) -> list[tuple[int, str]]:
        ends = [end for end, _ in slots]
        if slots and (ends != sorted(set(ends)) or ends[-1] != SLOTS):
            raise ValueError(f"expected ends in ascending order, the last of them {SLOTS}")
        return slots

    def current(self) -> Current:
        """As assignment knows it."""
        slots = tuple((until, variant) for until, variant in self.slots)
        return Current(self.declared, self.weights, slots, self.epoch, self.step, self.since, self.reason)


class ExperimentForm(Form):
    """The whole file; validate it with the model's name as context."""

    description: Text = ""
    owner: Line = ""
    state: Annotated[Standing, Field(strict=False)] = Standing.DRAFT
    control: str | None = None
    units: list[UnitSource] = Field(list(_UNITS), max_length=8)
    salt: Line = ""
    confidence: Annotated[float, Field(ge=0.5, le=0.9999, allow_inf_nan=False)] = 0.95
    start: Moment | None = None
    stop: Moment | None = None
    promote: bool = False
    promote_label: Name = "stable"
    attribution_s: Annotated[float, Field(gt=0, le=10**8, allow_inf_nan=False)] = 86_400.0
    overrides: bool = False
    variants: Annotated[dict[Name, VariantForm], Field(min_length=2, max_length=16)]
    filter: FilterForm = FilterForm()
    testers: dict[Annotated[str, Field(min_length=1, max_length=200)], str] = Field({}, max_length=1000)
    metrics: dict[Name, MetricForm] = Field({}, max_length=32)
    guardrails: GuardrailsForm = GuardrailsForm()
    ramp: RampForm | None = None
    policy: PolicyForm = PolicyForm()
    shadow: ShadowForm | None = None
    run: Whole = 0
    started: Moment | None = None
    ended: Moment | None = None
    reason: Text = ""
    winner: Line = ""
    current: CurrentForm | None = None

    @field_validator("metrics", mode="after")
    @classmethod
    def _reported(cls, metrics: dict[str, MetricForm]) -> dict[str, MetricForm]:
        list(read_metrics(metrics))
        return metrics

    def definition(self, model: str, name: str) -> Definition:
        """As everything else knows it."""
        variants = tuple(Variant(each, form.target, form.weight) for each, form in self.variants.items())
        ramp, shadow = self.ramp, self.shadow
        return Definition(
            model=model,
            name=name,
            variants=variants,
            control=variants[0].name if self.control is None else self.control,
            state=self.state,
            description=self.description,
            owner=self.owner,
            salt=self.salt,
            units=tuple(self.units),
            where=Filter(self.filter.headers, self.filter.parameters),
            metrics=tuple(read_metrics(self.metrics)),
            guardrails=Guardrails(**self.guardrails.model_dump()),
            confidence=self.confidence,
            start=self.start,
            stop=self.stop,
            ramp=Ramp(tuple(ramp.steps), ramp.hold_s, ramp.requests) if ramp else None,
            policy=Policy(**self.policy.model_dump()),
            shadow=Shadow(**shadow.model_dump()) if shadow else None,
            testers=self.testers,
            overrides=self.overrides,
            promote=self.promote,
            promote_label=self.promote_label,
            attribution_s=self.attribution_s,
            run=self.run,
            started=self.started,
            ended=self.ended,
            reason=self.reason,
            winner=self.winner,
            current=self.current.current() if self.current else None,
        )
