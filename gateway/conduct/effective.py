"""Which experiments requests go by, and what stands against the others: pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from gateway.errors import ModelNotFound, VersionNotReady
from gateway.experiments.definition import Current, Definition, Filter, Kind, Standing
from gateway.experiments.slots import allocate, reallocate
from gateway.routing import choose
from gateway.types import Arm, ModelTable, ShadowRule, TrafficSplit

_FIRST = datetime.min.replace(tzinfo=UTC)


def effective(
    definitions: Iterable[Definition], table: ModelTable, now: datetime, begun: frozenset[str]
) -> tuple[list[Definition], list[str]]:
    """The running experiments of a model that requests go by, and the problems with those that they don't.

    Of two over the same traffic, the one that was started first counts. One whose variants are not all ready waits,
    unless it is among `begun`: then what has become of a variant is for its guardrails to see.
    """
    taken: list[Definition] = []
    problems: list[str] = []
    running = [each for each in definitions if each.state is Standing.RUNNING]
    for each in sorted(running, key=lambda one: (one.started or _FIRST, one.name)):
        problem = _not_now(each, now) or _shared(each, taken)
        if problem is None and each.name not in begun:
            problem = _unready(each, table)
        if problem is None:
            taken.append(each)
        elif problem:
            problems.append(f"experiment {each}: {problem}")
    return taken, problems


def _not_now(definition: Definition, now: datetime) -> str | None:
    """Empty where it is merely not its time."""
    early = definition.start is not None and now < definition.start
    late = definition.stop is not None and now >= definition.stop
    return "" if early or late else None


def _shared(definition: Definition, taken: Sequence[Definition]) -> str | None:
    for other in taken:
        if not apart(definition.where, other.where):
            return (
                f"it is over the same traffic as {other}, which was started first; stop that one, or give both a "
                "filter with the same header or parameter and different values"
            )
    return None


def apart(one: Filter, other: Filter) -> bool:
    """Whether no request can pass both filters."""
    return any(
        name in theirs and theirs[name] != value
        for ours, theirs in ((one.headers, other.headers), (one.parameters, other.parameters))
        for name, value in ours.items()
    )


def _unready(definition: Definition, table: ModelTable) -> str | None:
    for variant in definition.variants:
        try:
            choose(variant.target, {table.name: table})
        except (ModelNotFound, VersionNotReady) as error:
            return f"it waits: variants.{variant.name}.target: {error}"
    return None


def in_force(definition: Definition) -> Current:
    """The weights and slots that count: those that are kept, brought up to what people have changed by hand."""
    declared = {each.name: each.weight for each in definition.variants}
    kept = definition.current
    if kept is None or kept.weights.keys() != declared.keys():
        weights = started_weights(definition)
        epoch = 0 if kept is None else kept.epoch + 1
        return Current(declared, weights, allocate(weights), epoch)
    if dict(kept.declared) == declared:
        return kept
    return changed(kept, declared, declared)


def started_weights(definition: Definition) -> dict[str, float]:
    """The weights of a run that begins: the first step of the ramp, where there is one."""
    declared = {each.name: each.weight for each in definition.variants}
    return declared if definition.ramp is None else ramped(definition, definition.ramp.steps[0])


def ramped(definition: Definition, percent: float) -> dict[str, float]:
    """The weights with which all variants but control share `percent`, by their own weights."""
    others = {each.name: each.weight for each in definition.variants if each.name != definition.control}
    total = sum(others.values()) or float(len(others))
    shares = {name: percent * (weight or (total == len(others))) / total for name, weight in others.items()}
    return {each.name: shares.get(each.name, 100 - percent) for each in definition.variants}


def changed(
    before: Current,
    declared: dict[str, float],
    weights: dict[str, float],
    *,
    since: datetime | None = None,
    reason: str = "",
    step: int | None = None,
    epoch: bool = True,
) -> Current:
    """Other weights, of which as few units as possible take notice; `epoch` is false where evidence goes on."""
    return Current(
        declared,
        weights,
        reallocate(before.slots, weights),
        before.epoch + epoch,
        before.step if step is None else step,
        since,
        reason,
    )


def split(definition: Definition, token_key: bytes) -> TrafficSplit:
    """An experiment as routing knows it."""
    current = in_force(definition)
    index = {each.name: number for number, each in enumerate(definition.variants)}
    awaited = any(not each.automatic for each in definition.metrics)
    sticky = definition.policy.kind == "fixed" or definition.policy.sticky
    shadow = definition.shadow
    return TrafficSplit(
        definition.name,
        definition.run,
        current.epoch,
        f"{definition.model}/{definition.salt or definition.name}",
        tuple(Arm(each.name, each.target) for each in definition.variants),
        tuple((end, index[name]) for end, name in current.slots),
        tuple(_source(each) for each in definition.units) if sticky else (),
        definition.where.headers,
        definition.where.parameters,
        {unit: index[name] for unit, name in definition.testers.items()},
        definition.overrides,
        token_key if awaited else b"",
        ShadowRule(shadow.target, shadow.percent / 100, shadow.tolerance) if shadow else None,
    )


def _source(text: str) -> tuple[str, str]:
    kind, _, name = text.partition(":")
    return kind, name


def awaits_units(definition: Definition) -> bool:
    """Whether units' exposures have to be kept: outcomes are reported for them."""
    return bool(definition.units) and any(not each.automatic for each in definition.metrics)


def histograms(definition: Definition) -> frozenset[str]:
    """The metrics of which histograms are kept."""
    return frozenset(each.name for each in definition.metrics if each.kind is Kind.QUANTILE)


def identity(definition: Definition) -> tuple[object, ...]:
    """What makes evidence comparable: when it changes, a new run begins."""
    kinds = tuple((each.name, each.kind) for each in definition.metrics)
    variants = tuple((each.name, each.target) for each in definition.variants)
    return variants, definition.control, definition.salt, definition.units, kinds


def begun_anew(definition: Definition, now: datetime) -> Definition:
    """The same, at the start of its next run."""
    bare = msgspec.structs.replace(
        definition,
        state=Standing.RUNNING,
        run=definition.run + 1,
        started=now,
        ended=None,
        reason="",
        winner="",
        current=None,
    )
    before = definition.current
    declared = {each.name: each.weight for each in definition.variants}
    weights = started_weights(definition)
    keeps = before is not None and before.weights.keys() == declared.keys()
    slots = reallocate(before.slots, weights) if before is not None and keeps else allocate(weights)
    return msgspec.structs.replace(bare, current=Current(declared, weights, slots, since=now))


def ended(definition: Definition, now: datetime, reason: str, winner: str = "") -> Definition:
    """The same, after its run."""
    return msgspec.structs.replace(
        definition, state=Standing.STOPPED, ended=now, reason=reason, winner=winner or definition.winner
    )
