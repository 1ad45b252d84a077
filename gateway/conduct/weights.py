"""Which weights are in force, and which come next: pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from gateway.experiments.definition import Current, Definition
from gateway.experiments.slots import allocate, reallocate


def in_force(definition: Definition) -> Current:
    """The weights and slots that count: those that are kept, brought up to what people have declared since."""
    kept = definition.current
    if kept is None or not _fits(kept, definition):
        weights = started_weights(definition)
        epoch = 0 if kept is None else kept.epoch + 1
        return Current(_declared(definition), weights, allocate(weights), epoch)
    return kept if dict(kept.declared) == _declared(definition) else reweighted(definition, kept)


def _declared(definition: Definition) -> dict[str, float]:
    return {each.name: each.weight for each in definition.variants}


def _fits(kept: Current, definition: Definition) -> bool:
    """Whether assignment can go by it: the file is anyone's to edit."""
    weights = kept.weights
    right = weights.keys() == _declared(definition).keys() and min(weights.values()) >= 0 < sum(weights.values())
    return right and bool(kept.slots) and all(name in weights for _, name in kept.slots)


def started_weights(definition: Definition) -> dict[str, float]:
    """The weights of a run that begins: the first step of the ramp, where there is one."""
    return _declared(definition) if definition.ramp is None else ramped(definition, definition.ramp.steps[0])


def ramped(definition: Definition, percent: float) -> dict[str, float]:
    """The weights with which all variants but control share `percent`, by their own weights."""
    others = sum(each.weight for each in definition.variants if each.name != definition.control)
    return {
        each.name: 100 - percent if each.name == definition.control else percent * each.weight / others
        for each in definition.variants
    }


def reweighted(definition: Definition, before: Current) -> Current:
    """The weights that people have declared, or what the ramp's step allows of them; a breach is forgiven."""
    ramp = definition.ramp
    step = min(before.step, len(ramp.steps) - 1) if ramp else 0
    weights = ramped(definition, ramp.steps[step]) if ramp else _declared(definition)
    return changed(definition, before, weights, step=step)


def follows(definition: Definition, before: Definition | None) -> Current:
    """The weights in force once a file has changed from `before`: its ramp may be another."""
    current = in_force(definition)
    if before is None or before.ramp == definition.ramp or current.reason or in_force(before).epoch != current.epoch:
        return current
    other = reweighted(definition, current)
    return current if other.weights == current.weights else other


def changed(
    definition: Definition,
    before: Current,
    weights: Mapping[str, float],
    *,
    since: datetime | None = None,
    reason: str = "",
    step: int | None = None,
    epoch: bool = True,
) -> Current:
    """Other weights, of which as few units as possible take notice; `epoch` is false where evidence goes on."""
    in_order = {each.name: weights[each.name] for each in definition.variants}
    return Current(
        _declared(definition),
        in_order,
        reallocate(before.slots, in_order),
        before.epoch + epoch,
        before.step if step is None else step,
        since,
        reason,
    )


def without(definition: Definition, variant: str, reason: str, now: datetime) -> Current:
    """The weights with a variant's traffic back at control."""
    current = in_force(definition)
    weights = dict(current.weights)
    weights[definition.control] += weights[variant]
    weights[variant] = 0.0
    return changed(definition, current, weights, since=now, reason=f"{variant}: {reason}")


def with_current(definition: Definition, current: Current) -> Definition:
    """The same with other weights in force."""
    return msgspec.structs.replace(definition, current=current)
