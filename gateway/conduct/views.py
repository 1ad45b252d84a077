"""How an experiment stands, for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from gateway.conduct.active import Active
from gateway.conduct.weights import in_force
from gateway.errors import ModelNotFound, VersionNotReady
from gateway.experiments.definition import Definition
from gateway.experiments.outputs import OutputIncrement
from gateway.experiments.pins import write_pin
from gateway.experiments.report import OutputView, ShadowView, Tally, VariantView, View
from gateway.routing import choose
from gateway.types import ModelTable, Target

_SHOWN = ("outcomes", "sampled_out")


def view(definition: Definition, active: Active | None, table: ModelTable | None, problems: Sequence[str]) -> View:
    """An experiment with the evidence of its current or last run, if there is any; `table` is its model's."""
    return View(
        definition,
        datetime.now(UTC),
        tuple(_variants(definition, active, table)),
        active.analysis if active else None,
        _shadow(definition, active) if active else None,
        {name: active.evidence.counted(name) for name in _SHOWN} if active else {},
        tuple(problems),
    )


def tally(variant: str, active: Active) -> Tally:
    """What a variant has had."""
    counted, weights = active.evidence.counted, in_force(active.definition).weights
    return Tally(counted(f"requests:{variant}"), counted(f"errors:{variant}"), weights.get(variant, 0.0))


def _variants(definition: Definition, active: Active | None, table: ModelTable | None) -> list[VariantView]:
    evidence = active.evidence if active else None
    counted = evidence.counted if evidence else lambda name: 0
    units = evidence.units() if evidence else None
    assigned = {each.name: counted(f"assigned:{each.name}") for each in definition.variants}
    everything = sum(assigned.values())
    weights = in_force(definition).weights
    return [
        VariantView(
            name=each.name,
            target=write_pin(each.target),
            control=each.name == definition.control,
            declared_weight=each.weight,
            weight=weights.get(each.name, 0.0),
            share=assigned[each.name] / everything if everything else 0.0,
            requests=counted(f"requests:{each.name}"),
            errors=counted(f"errors:{each.name}"),
            examined=counted(f"examined:{each.name}"),
            not_finite=counted(f"not_finite:{each.name}"),
            served_by=_served_by(each.target, table),
            units=None if units is None else units.get(each.name, 0),
            outputs=_outputs(evidence.extras.outputs.get(each.name, {})) if evidence else {},
        )
        for each in definition.variants
    ]


def _outputs(found: Mapping[str, OutputIncrement]) -> dict[str, OutputView]:
    return {name: _output(each) for name, each in sorted(found.items()) if each.values}


def _output(found: OutputIncrement) -> OutputView:
    mean = found.total / found.values
    deviation = math.sqrt(max(found.squares / found.values - mean * mean, 0.0))
    return OutputView(found.values, mean, deviation, found.least, found.most, dict(sorted(found.classes.items())))


def _served_by(target: Target, table: ModelTable | None) -> tuple[str, ...]:
    if table is None:
        return ()
    try:
        return (str(choose(target, {table.name: table})),)
    except (ModelNotFound, VersionNotReady):
        return ()


def _shadow(definition: Definition, active: Active) -> ShadowView | None:
    if definition.shadow is None:
        return None
    seen = active.evidence.extras.shadow
    return ShadowView(
        write_pin(definition.shadow.target),
        seen.compared,
        seen.disagreed,
        seen.failed,
        seen.skipped,
        seen.apart,
        seen.cosine,
    )
