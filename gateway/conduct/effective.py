"""Which experiments requests go by, and what stands against the others: pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from gateway.conduct.weights import in_force
from gateway.errors import ModelNotFound, VersionNotReady
from gateway.experiments.definition import Definition, Filter, Kind, Shadow, Standing
from gateway.routing import choose
from gateway.types import Arm, ModelTable, ShadowRule, TrafficSplit

_FIRST = datetime.min.replace(tzinfo=UTC)

APART: Final = "stop that one, or give both a filter with the same header or parameter and different values"
"""How two experiments can run side by side."""


def effective(
    definitions: Iterable[Definition], table: ModelTable, now: datetime, begun: frozenset[str]
) -> tuple[list[Definition], dict[str, str]]:
    """The running experiments of a model that requests go by, and the problems with others by their names.

    Of two over the same traffic, the one that was started first counts. One whose variants are not all ready waits,
    unless it is among `begun`: then what has become of a variant is for its guardrails to see.
    """
    taken: list[Definition] = []
    problems: dict[str, str] = {}
    running = [each for each in definitions if each.state is Standing.RUNNING and in_time(each, now)]
    for each in sorted(running, key=lambda one: (one.started or _FIRST, one.name)):
        problem = _shared(each, taken) or ("" if each.name in begun else _unready(each, table))
        if problem:
            problems[each.name] = f"experiment {each}: {problem}"
        else:
            taken.append(each)
    return taken, problems


def in_time(definition: Definition, now: datetime) -> bool:
    """Whether it is between its start and its stop."""
    early = definition.start is not None and now < definition.start
    late = definition.stop is not None and now >= definition.stop
    return not early and not late


def _shared(definition: Definition, taken: Sequence[Definition]) -> str:
    for other in taken:
        if not apart(definition.where, other.where):
            return f"it waits: it is over the same traffic as {other}, which was started first; {APART}"
    return ""


def apart(one: Filter, other: Filter) -> bool:
    """Whether no request can pass both filters."""
    return any(
        name in theirs and theirs[name] != value
        for ours, theirs in ((one.headers, other.headers), (one.parameters, other.parameters))
        for name, value in ours.items()
    )


def _unready(definition: Definition, table: ModelTable) -> str:
    for variant in definition.variants:
        try:
            choose(variant.target, {table.name: table})
        except (ModelNotFound, VersionNotReady) as error:
            return f"it waits: variants.{variant.name}.target: {error}"
    return ""


def split(definition: Definition, token_key: bytes) -> TrafficSplit:
    """An experiment as routing knows it."""
    current = in_force(definition)
    index = {each.name: number for number, each in enumerate(definition.variants)}
    awaited = any(not each.automatic for each in definition.metrics)
    shadow = definition.shadow
    return TrafficSplit(
        definition.name,
        definition.run,
        current.epoch,
        salt(definition),
        tuple(Arm(each.name, each.target) for each in definition.variants),
        tuple((end, index[name]) for end, name in current.slots),
        tuple(_source(each) for each in units(definition)),
        definition.where.headers,
        definition.where.parameters,
        {unit: index[name] for unit, name in definition.testers.items()},
        definition.overrides,
        token_key if awaited else b"",
        _shadow_rule(shadow) if shadow else None,
    )


def _shadow_rule(shadow: Shadow) -> ShadowRule:
    return ShadowRule(shadow.target, shadow.percent / 100, shadow.tolerance, shadow.busy_percent / 100)


def _source(text: str) -> tuple[str, str]:
    kind, _, name = text.partition(":")
    return kind, name


def salt(definition: Definition) -> str:
    """What units are hashed with."""
    return f"{definition.model}/{definition.salt or definition.name}"


def units(definition: Definition) -> tuple[str, ...]:
    """The sources of the unit that assignment sticks to; none where every request is assigned by itself."""
    return definition.units if definition.policy.kind == "fixed" or definition.policy.sticky else ()


def awaits_units(definition: Definition) -> bool:
    """Whether units' exposures have to be kept: outcomes are reported for them."""
    return bool(units(definition)) and any(not each.automatic for each in definition.metrics)


def histograms(definition: Definition) -> frozenset[str]:
    """The metrics of which histograms are kept."""
    return frozenset(each.name for each in definition.metrics if each.kind is Kind.QUANTILE)
