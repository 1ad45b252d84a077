"""The metrics of an experiment's file: those that are reported, and those that requests give by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from gateway.experiments.definition import ERRORS, LATENCY, Better, Kind, Metric
from gateway.experiments.values import Form, Number

AUTOMATIC: Final = (
    Metric(LATENCY, Kind.QUANTILE, Better.LOWER, 0.05),
    Metric(ERRORS, Kind.BINARY, Better.LOWER, 0.01),
)
"""The metrics that every experiment has by itself."""

_SHARES = (Kind.BINARY, Kind.CONVERSION)


class MetricForm(Form):
    """[metrics.NAME]"""

    kind: Annotated[Kind, Field(strict=False)] | None = None
    better: Annotated[Better, Field(strict=False)] | None = None
    margin: Annotated[float, Field(gt=0, le=10**9, allow_inf_nan=False)] | None = None
    quantile: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] | None = None
    low: Number | None = None
    high: Number | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.quantile is not None and self.kind not in (Kind.QUANTILE, None):
            raise ValueError('quantile: only a metric of kind = "quantile" has one')
        if self.kind in _SHARES and (self.low, self.high) != (None, None):
            raise ValueError(f"low, high: values of a {self.kind} metric are 0 or 1 anyway")
        if self.kind in _SHARES and self.margin is not None and self.margin >= 1:
            raise ValueError(f"margin: of a {self.kind} metric it is a part of 1, as in 0.01 for one point")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low: expected less than high = {self.high:g}, found {self.low:g}")
        return self

    def metric(self, name: str) -> Metric:
        """A metric that is reported; raises ValueError where there is no kind."""
        if self.kind is None:
            raise ValueError(f"kind: expected one of {', '.join(Kind)}, found none")
        margin = self.margin or (0.01 if self.kind in _SHARES else 0.05)
        better = self.better or Better.HIGHER
        return Metric(name, self.kind, better, margin, self.quantile or 0.95, self.low, self.high)

    def automatic(self, metric: Metric) -> Metric:
        """One of those that are there by themselves, changed; raises ValueError for what cannot be."""
        if self.kind not in (metric.kind, None) or self.better not in (metric.better, None):
            raise ValueError(f"kind, better: {metric.name} is always {metric.kind}, and {metric.better} is better")
        if (self.low, self.high) != (None, None):
            raise ValueError(f"low, high: {metric.name} is measured, and no value of it is left out")
        if self.quantile is not None and metric.kind is not Kind.QUANTILE:
            raise ValueError(f"quantile: {metric.name} has none")
        if metric.kind in _SHARES and self.margin is not None and self.margin >= 1:
            raise ValueError(f"margin: of {metric.name} it is a part of 1, as in 0.01 for one point")
        margin, quantile = self.margin or metric.margin, self.quantile or metric.quantile
        return Metric(metric.name, metric.kind, metric.better, margin, quantile)


def read_metrics(forms: Mapping[str, MetricForm]) -> Iterator[Metric]:
    """All metrics of an experiment, the automatic ones first; raises ValueError with the metric's name."""
    own = {metric.name for metric in AUTOMATIC}
    try:
        for metric in AUTOMATIC:
            name = metric.name
            yield forms[name].automatic(metric) if name in forms else metric
        for name, form in forms.items():
            if name not in own:
                yield form.metric(name)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
