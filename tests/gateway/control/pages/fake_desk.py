"""A desk that conducts nothing: experiments in every state, with evidence that is made up and always the same."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from adapters.errors import BackendUnavailable, InvalidInput
from gateway.errors import Conflict, ModelNotFound
from gateway.experiments.definition import (
    ERRORS,
    LATENCY,
    Better,
    Current,
    Definition,
    Guardrails,
    Kind,
    Metric,
    Policy,
    Ramp,
    Shadow,
    Standing,
    Variant,
)
from gateway.experiments.report import (
    Analysis,
    Bayes,
    Comparison,
    Estimate,
    Event,
    Look,
    Outcome,
    OutputView,
    Receipt,
    SampleRatio,
    ShadowView,
    VariantMetric,
    VariantView,
    Verdict,
    View,
)
from gateway.types import Target

NOW = datetime(2026, 11, 23, 15, 4, 5, tzinfo=UTC)
METRICS = (
    Metric(LATENCY, Kind.QUANTILE, Better.LOWER, 0.05),
    Metric(ERRORS, Kind.BINARY, Better.LOWER, 0.01),
    Metric("correct", Kind.BINARY, Better.HIGHER, 0.01),
)
_LEVELS = {LATENCY: 12.0, ERRORS: 0.012, "correct": 0.94}
_STEPS = {LATENCY: -0.9, ERRORS: 0.001, "correct": 0.004}
_UNKNOWN = Estimate(None, None, None)


def definition(name: str = "which-runtime", variants: int = 2, **changes: Any) -> Definition:
    """An experiment that runs, over deployments of the model m."""
    names = ("tf", "onnx", "lite", "fourth", "fifth", "sixth", "seventh", "eighth")[:variants]
    found = Definition(
        model="m",
        name=name,
        variants=tuple(
            Variant(each, Target("m", 1 + index % 2, None, "onnxruntime"), round(100 / variants, 4))
            for index, each in enumerate(names)
        ),
        control=names[0],
        state=Standing.RUNNING,
        description="Is ONNX Runtime as good as TF Serving for digits?",
        owner="ml-team",
        metrics=METRICS,
        run=1,
        started=NOW - timedelta(hours=3),
    )
    return msgspec.structs.replace(found, **changes)


def view(of: Definition, requests: int = 48_210, **changes: Any) -> View:
    """How it stands after so many requests."""
    seen = [
        VariantView(
            each.name,
            f"m/{each.target.version}@{each.target.backend}",
            each.name == of.control,
            each.weight,
            (of.current.weights.get(each.name, each.weight) if of.current else each.weight),
            (each.weight + (0.4 if index == 0 else -0.4 if index == 1 else 0)) / 100,
            int(requests * each.weight / 100),
            int(requests * each.weight / 100 * 0.012),
            int(requests * each.weight / 100),
            0,
            (f"m/{each.target.version}@{each.target.backend}",),
            int(requests * each.weight / 700),
            {"probabilities": OutputView(32_000, 0.1, 0.28, 0.0, 0.9998, dict.fromkeys(range(14), 320))}
            if requests
            else {},
        )
        for index, each in enumerate(of.variants)
    ]
    found = View(
        of,
        NOW,
        tuple(seen),
        analysis(of, requests) if requests else None,
        ShadowView("m/2@onnxruntime", 4_803, 12, 0, 31, 0.0042, 0.999987) if of.shadow else None,
        {"outcomes": 31_007, "duplicates": 12} if requests else {},
        (),
    )
    return msgspec.structs.replace(found, **changes)


def analysis(of: Definition, requests: int, **changes: Any) -> Analysis:
    """What statistics could say."""
    metrics, comparisons = [], []
    kinds = (Verdict.BETTER, Verdict.SAME, Verdict.UNDECIDED, Verdict.WORSE)
    for number, metric in enumerate(of.metrics):
        for place, variant in enumerate(of.variants):
            level, step = _LEVELS.get(metric.name, 5.0), _STEPS.get(metric.name, 0.3) * place
            wide = 20 * level / math.sqrt(requests)
            quantiles = {"p50": level * 0.6, "p95": level, "p99": level * 1.7} if metric.kind is Kind.QUANTILE else {}
            metrics.append(
                VariantMetric(
                    metric.name,
                    variant.name,
                    requests // len(of.variants),
                    Estimate(level + step, level + step - wide, level + step + wide),
                    quantiles,
                    Bayes(0.971 if place == 1 else 0.029, wide / 9 * (2 - place % 2)),
                )
            )
            if variant.name != of.control:
                verdict = kinds[(number + place - 1) % 4]
                comparisons.append(
                    Comparison(
                        metric.name,
                        variant.name,
                        Estimate(step, step - wide * 0.4, step + wide * 0.4),
                        Estimate(1 + step / level, 0.9, 1.1),
                        0.0004,
                        0.0021,
                        verdict,
                        f"{variant.name} against {of.control} in {metric.name}: {verdict}.",
                        41_000 if verdict is Verdict.UNDECIDED else 0,
                        5_400.0 if verdict is Verdict.UNDECIDED else 0.0,
                    )
                )
    names = [each.name for each in of.variants]
    found = Analysis(
        tuple(metrics),
        tuple(comparisons),
        SampleRatio(
            0.41, False, dict.fromkeys(names, 0.5), dict.fromkeys(names, 24000), "Variants got what weights say."
        ),
        {each: kinds[place % 4] for place, each in enumerate(names[1:])},
        "onnx is faster by 0.9 ms (p95, 7.5 %), and gives as many right answers as tf.",
    )
    return msgspec.structs.replace(found, **changes)


def looks(of: Definition, count: int = 60) -> list[Look]:
    """As many looks of each metric and variant, oldest first."""
    chance = random.Random(7)
    found = []
    for number in range(1, count + 1):
        at = NOW - timedelta(hours=3) + timedelta(minutes=3 * number)
        for metric in of.metrics:
            for place, variant in enumerate(of.variants):
                level, step = _LEVELS.get(metric.name, 5.0), _STEPS.get(metric.name, 0.3) * place
                wide = level * 0.5 / math.sqrt(number)
                value = level + step + chance.gauss(0, wide / 6)
                control = variant.name == of.control
                apart = value - level
                found.append(
                    Look(
                        at,
                        metric.name,
                        variant.name,
                        number * 400,
                        Estimate(value, value - wide, value + wide),
                        _UNKNOWN if control else Estimate(apart, apart - wide * 0.5, apart + wide * 0.5),
                        None if control else 0.3 / number,
                        variant.weight,
                    )
                )
    return found


def event(number: int = 1, **changes: Any) -> Event:
    """A change."""
    found = Event(
        number,
        NOW - timedelta(minutes=7 * number),
        "ada",
        "set",
        "m",
        "which-runtime",
        {"weights": {"tf": 90.0, "onnx": 10.0}},
        {"weights": {"tf": 50.0, "onnx": 50.0}},
        "no errors so far",
    )
    return msgspec.structs.replace(found, **changes)


def every_state() -> FakeDesk:
    """A desk with an experiment in each state, and of each kind."""
    runs = definition(shadow=Shadow(Target("m", 2, None, "onnxruntime"), 10.0), guardrails=Guardrails(0.05, 2.0, 250.0))
    bandit = definition("bandit", 3, policy=Policy("thompson", "correct"), description="")
    ramp = definition(
        "ramp",
        ramp=Ramp((1.0, 5.0, 25.0, 50.0), 600.0, 1000),
        current=Current({"tf": 50.0, "onnx": 50.0}, {"tf": 95.0, "onnx": 5.0}, (), 2, 1, NOW, "step 2 of 4"),
    )
    breached = definition(
        "breached",
        current=Current(
            {"tf": 50.0, "onnx": 50.0}, {"tf": 100.0, "onnx": 0.0}, (), 2, 0, NOW, "onnx: errors 9 % > 5 %"
        ),
    )
    draft = definition("draft", state=Standing.DRAFT, run=0, started=None, owner="", description="")
    stopped = definition("stopped", state=Standing.STOPPED, ended=NOW, reason="enough was seen", winner="onnx")
    desk = FakeDesk(runs, bandit, ramp, breached, draft, stopped)
    alarm = analysis(breached, 900)
    desk.views["breached"] = view(
        breached,
        900,
        analysis=msgspec.structs.replace(
            alarm,
            sample_ratio=msgspec.structs.replace(
                alarm.sample_ratio, alarm=True, p_value=1e-5, words="tf got 53 % and should have 50 %: do not trust it."
            ),
        ),
        problems=("the store postgresql://… is gone since 15:03: evidence is kept in memory meanwhile",),
    )
    desk.log = [event(number) for number in range(1, 6)]
    return desk


class FakeDesk:
    """See ExperimentDesk; `fails` has what a call by its name raises, `asked` what was changed."""

    def __init__(self, *definitions: Definition) -> None:
        self.kept = {each.name: each for each in definitions}
        self.views: dict[str, View] = {}
        self.all_looks: dict[str, list[Look]] = {}
        self.log: list[Event] = []
        self.mistakes: list[str] = []
        self.fails: dict[str, Exception] = {}
        self.asked: list[tuple[Any, ...]] = []

    def _check(self, call: str) -> None:
        if error := self.fails.get(call):
            raise error

    def definitions(self, model: str | None = None) -> list[Definition]:
        return sorted((each for each in self.kept.values() if model in (None, each.model)), key=str)

    def definition(self, model: str, name: str) -> Definition:
        found = self.kept.get(name)
        if found is None or found.model != model:
            raise ModelNotFound(f"model '{model}' has no experiment '{name}'")
        return found

    def problems(self, model: str | None = None) -> list[str]:
        return self.mistakes

    async def create(self, model: str, name: str, document: Mapping[str, Any], who: str) -> Definition:
        self._check("create")
        if name in self.kept:
            raise Conflict(f"experiment '{model}/{name}' is there already")
        self.asked.append(("create", name, document, who))
        variants = tuple(
            Variant(key, Target(model, 1, None, "onnxruntime"), each["weight"])
            for key, each in document["variants"].items()
        )
        control = document.get("control", variants[0].name)
        self.kept[name] = Definition(model, name, variants, control, metrics=METRICS)
        return self.kept[name]

    async def start(self, model: str, name: str, who: str) -> Definition:
        return self._change("start", model, name, who, state=Standing.RUNNING)

    async def set(self, model: str, name: str, changes: Mapping[str, Any], who: str) -> Definition:
        weights = changes["weights"]
        old = self.definition(model, name)
        variants = tuple(msgspec.structs.replace(each, weight=weights[each.name]) for each in old.variants)
        return self._change("set", model, name, who, changes, variants=variants)

    async def stop(self, model: str, name: str, who: str, reason: str = "") -> Definition:
        return self._change("stop", model, name, who, reason, state=Standing.STOPPED, reason=reason)

    async def promote(self, model: str, name: str, variant: str, who: str) -> Definition:
        if self.definition(model, name).variant(variant) is None:
            raise InvalidInput(f"variant: expected one of the experiment's, got {variant!r}")
        return self._change("promote", model, name, who, variant, state=Standing.STOPPED, winner=variant)

    async def remove(self, model: str, name: str, who: str) -> None:
        self._change("remove", model, name, who)
        del self.kept[name]

    def _change(self, act: str, model: str, name: str, who: str, *rest: Any, **changes: Any) -> Definition:
        old = self.definition(model, name)
        self._check(act)
        self.asked.append((act, name, *rest, who))
        self.kept[name] = msgspec.structs.replace(old, **changes)
        self.log.insert(0, event(0, who=who, action=act, experiment=name, before={}, after={}))
        return self.kept[name]

    async def view(self, model: str, name: str) -> View:
        self._check("view")
        found = self.definition(model, name)
        return self.views.get(name) or view(found, 0 if found.state is Standing.DRAFT else 48_210)

    async def looks(self, model: str, name: str) -> list[Look]:
        self._check("looks")
        found = self.definition(model, name)
        if name not in self.all_looks:
            self.all_looks[name] = [] if found.state is Standing.DRAFT else looks(found)
        return self.all_looks[name]

    async def events(self, model: str | None = None, name: str | None = None, limit: int = 100) -> list[Event]:
        self._check("events")
        return [each for each in self.log if name in (None, each.experiment)][:limit]

    async def report(self, outcomes: Sequence[Outcome], who: str) -> Receipt:
        raise BackendUnavailable("this desk takes none")
