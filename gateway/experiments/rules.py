"""What the keys of an experiment's file must be to each other."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.experiments.definition import Definition
from gateway.experiments.pins import write_pin
from gateway.types import MODEL_NAME

_NEARLY = 1e-6
_SHOWN = 16


def mistakes(definition: Definition) -> Iterator[str]:
    """Each as "key: what was expected, what was found"."""
    if not MODEL_NAME.fullmatch(definition.name):
        yield f"its name: expected a-z 0-9 . _ - (64 at most), found {definition.name!r:.80}"
    names = ", ".join(each.name for each in definition.variants)
    if definition.variant(definition.control) is None:
        yield f"control: expected one of the variants {names}, found {definition.control!r:.80}"
    for unit, variant in definition.testers.items():
        if definition.variant(variant) is None:
            yield f"testers.{unit:.80}: expected one of the variants {names}, found {variant!r:.80}"
    yield from _variants(definition)
    yield from _weights_over_time(definition)
    yield from _shadow(definition)
    yield from _current(definition)
    if definition.start and definition.stop and definition.stop <= definition.start:
        yield f"stop: expected after start = {definition.start.isoformat()}, found {definition.stop.isoformat()}"


def _variants(definition: Definition) -> Iterator[str]:
    total = sum(each.weight for each in definition.variants)
    if abs(total - 100) > _NEARLY:
        shown = ", ".join(f"{each.name} {each.weight:g}" for each in definition.variants)
        yield f"variants: expected weights that sum to 100, found {total:.10g} ({shown})"


def _weights_over_time(definition: Definition) -> Iterator[str]:
    policy, count = definition.policy, len(definition.variants)
    others = sum(each.weight for each in definition.variants if each.name != definition.control)
    if definition.ramp and not others:
        yield "ramp: expected a weight for another variant than control, whose share grows with the steps"
    if policy.kind == "fixed":
        if policy.metric and definition.metric(policy.metric) is None:
            yield _no_metric(definition)
        return
    if definition.metric(policy.metric) is None:
        yield _no_metric(definition)
    if policy.floor * count > 100:
        yield f"policy.floor: expected at most {100 / count:g}, for {count} variants, found {policy.floor:g}"
    if definition.ramp:
        yield f'ramp: policy.kind = "{policy.kind}" sets the weights already; keep one of the two'


def _no_metric(definition: Definition) -> str:
    there = ", ".join(each.name for each in definition.metrics[:_SHOWN])
    return f"policy.metric: expected one of the metrics {there}, found {definition.policy.metric!r:.80}"


def _shadow(definition: Definition) -> Iterator[str]:
    shadow, control = definition.shadow, definition.variant(definition.control)
    if shadow and control and shadow.target == control.target:
        yield f"shadow.target: expected another than control's, found '{write_pin(shadow.target)}'"


def _current(definition: Definition) -> Iterator[str]:
    current, weights = definition.current, {each.name: each.weight for each in definition.variants}
    if current is None or current.declared != weights:
        return  # of other variants or weights than these: it counts no more
    unknown = any(name not in weights for _, name in current.slots)
    if current.weights.keys() != weights.keys() or not current.slots or unknown:
        yield f"current: expected weights and slots of the variants {', '.join(weights)}; remove it, and it comes anew"
