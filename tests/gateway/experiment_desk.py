"""A desk that keeps experiments in memory and notes what it was asked; what it says of their evidence is made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from gateway.errors import Conflict, ModelNotFound
from gateway.experiments.definition import Definition, Standing
from gateway.experiments.files import change_experiment, new_experiment, read_experiment
from gateway.experiments.report import (
    Analysis,
    Comparison,
    Estimate,
    Event,
    Look,
    Outcome,
    Receipt,
    Refused,
    SampleRatio,
    ShadowView,
    VariantMetric,
    VariantView,
    Verdict,
    View,
)

AT = datetime(2026, 12, 1, 9, 5, tzinfo=UTC)
TWO: Mapping[str, Any] = {
    "variants": {
        "tf": {"target": "digits/1@tfserving", "weight": 50},
        "onnx": {"target": "digits/1@onnxruntime", "weight": 50},
    }
}

_ANALYSIS = Analysis(
    metrics=(
        VariantMetric("latency_ms", "tf", 500, Estimate(2.5, 2.4, 2.6), {"p50": 1.25, "p95": 2.5, "p99": 3.75}),
        VariantMetric("latency_ms", "onnx", 500, Estimate(2.0, 1.9, float("inf")), {"p50": 0.5, "p95": 2, "p99": 9}),
    ),
    comparisons=(
        Comparison(
            "latency_ms", "onnx", Estimate(-0.5, -0.7, -0.3), Estimate(0.8, 0.7, 0.9), 0.001, 0.002, Verdict.BETTER, ""
        ),
        Comparison(
            "errors", "onnx", Estimate(None, None, None), Estimate(None, None, None), 1, 1, Verdict.UNDECIDED, "", 700
        ),
    ),
    sample_ratio=SampleRatio(0.0001, True, {"tf": 50, "onnx": 50}, {"tf": 900, "onnx": 100}, "look at [the] filter"),
    verdicts={"onnx": Verdict.BETTER},
    words="onnx is better than tf",
)  # fmt: skip


class FakeDesk:
    """An ExperimentDesk over texts of files."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], str] = {}
        self.states: dict[tuple[str, str], Standing] = {}
        self.asked: list[tuple[Any, ...]] = []
        self.outcomes: list[Outcome] = []
        self.analysis: Analysis | None = _ANALYSIS
        self.mistakes: list[str] = []

    def definitions(self, model: str | None = None) -> list[Definition]:
        return [self.definition(*each) for each in sorted(self.files) if model in (None, each[0])]

    def definition(self, model: str, name: str) -> Definition:
        if (model, name) not in self.files:
            raise ModelNotFound(f"model '{model}' has no experiment '{name}'")
        read = read_experiment(self.files[model, name], model, name, name)
        return msgspec.structs.replace(read, state=self.states.get((model, name), Standing.DRAFT))

    def problems(self, model: str | None = None) -> list[str]:
        return self.mistakes

    async def create(self, model: str, name: str, document: Mapping[str, Any], who: str) -> Definition:
        self.asked.append(("create", who))
        if (model, name) in self.files:
            raise Conflict(f"experiment '{name}' is there already")
        self.files[model, name] = new_experiment(document, model, name)
        return self.definition(model, name)

    async def start(self, model: str, name: str, who: str) -> Definition:
        self.asked.append(("start", who))
        self.states[model, name] = Standing.RUNNING
        return self.definition(model, name)

    async def set(self, model: str, name: str, changes: Mapping[str, Any], who: str) -> Definition:
        self.asked.append(("set", changes, who))
        self.files[model, name] = change_experiment(self.files[model, name], changes, model, name)
        return self.definition(model, name)

    async def stop(self, model: str, name: str, who: str, reason: str = "") -> Definition:
        self.asked.append(("stop", reason, who))
        self.states[model, name] = Standing.STOPPED
        return self.definition(model, name)

    async def promote(self, model: str, name: str, variant: str, who: str) -> Definition:
        self.asked.append(("promote", variant, who))
        return self.definition(model, name)

    async def remove(self, model: str, name: str, who: str) -> None:
        self.asked.append(("remove", who))
        self.definition(model, name)
        del self.files[model, name]

    async def view(self, model: str, name: str) -> View:
        definition = self.definition(model, name)
        variants = tuple(
            VariantView(each.name, "digits/1", each.name == "tf", each.weight, 100 - index, 0.9, 900, 7, 0, 0)
            for index, each in enumerate(definition.variants)
        )
        shadow = ShadowView("digits/2", 200, 3, 1, 4, 0.25, 0.5)
        return View(definition, AT, variants, self.analysis, shadow, {}, ("onnx is [not] ready",))

    async def looks(self, model: str, name: str) -> list[Look]:
        self.definition(model, name)
        return [Look(AT, "errors", "tf", 5, Estimate(float("nan"), None, None), Estimate(None, None, None), None, 50)]

    async def events(self, model: str | None = None, name: str | None = None, limit: int = 100) -> list[Event]:
        self.asked.append(("events", model, name, limit))
        before, after = {"variants": {"tf": {"weight": 50}}}, {"variants": {"tf": {"weight": 90}}, "run": 1}
        return [Event(7, AT, "alice", "set", "digits", "x", before, after, "because [bold]")]

    async def report(self, outcomes: Sequence[Outcome], who: str) -> Receipt:
        self.asked.append(("report", who))
        self.outcomes += outcomes
        refused = tuple(
            Refused(index, "request: it is not of here") for index, each in enumerate(outcomes) if each.request == "?"
        )
        return Receipt(len(outcomes) - len(refused), 0, 0, refused)
