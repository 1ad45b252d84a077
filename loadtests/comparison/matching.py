"""Which rows can be compared with which, and why some results cannot be compared at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from loadtests.results.schema import Result, Row
from loadtests.results.text import plain

_DIMENSIONS: Final = ("deployment", "dialect", "hardware")
_MAY_DIFFER: Final = frozenset(
    {"description", "deployments", "dialects", "hardware", "gateway", "cores", "prices", "rounds", "seconds"}
)
"""Settings of a scenario that say where and how long it is run, or for what it costs; others say what is measured."""


class NotComparable(Exception):
    """Two results, or rows, of different things; says what differs."""


@dataclass(frozen=True, slots=True)
class Source:
    """A result and what it is called here: its file's name."""

    name: str
    result: Result


@dataclass(frozen=True, slots=True)
class Side:
    """A row and where it is from."""

    source: Source
    row: Row


@dataclass(frozen=True, slots=True)
class Pair:
    """What is compared with what; `differs` names what the two do not share, as `deployment: a → b`."""

    ours: Side
    theirs: Side
    differs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Matched:
    """Pairs, and what has no counterpart, in words; `lost` is what failed and had been measured before."""

    pairs: tuple[Pair, ...]
    alone: tuple[str, ...]
    lost: tuple[str, ...] = ()


def between(baseline: Source, others: Sequence[Source]) -> Matched:
    """Rows of each other result with those of the baseline.

    Raises:
        NotComparable: Models, scenario or payload differ, or no row has a counterpart.
    """
    pairs: list[Pair] = []
    alone: list[str] = []
    lost: list[str] = []
    for other in others:
        _check_scenario(other, baseline)
        _check_models(other, baseline)
        _check_payloads(other, baseline)
        used: set[int] = set()
        for row in other.result.rows:
            counterpart = _counterpart(row, baseline.result.rows)
            used.add(id(counterpart))
            if row.status != "measured":
                said = f"{title(row)} in {other.name}: {_unmeasured(row)}"
                (lost if row.status == "failed" and counterpart else alone).append(said)
            elif counterpart:
                pairs.append(_pair(Side(other, row), Side(baseline, counterpart)))
            else:
                alone.append(f"{title(row)} in {other.name} has no counterpart in {baseline.name}")
        missing = [row for row in baseline.result.rows if row.status == "measured" and id(row) not in used]
        alone += [f"{title(row)} in {baseline.name} has no counterpart in {other.name}" for row in missing]
    if not pairs:
        raise NotComparable("no row was measured on both sides: " + ("; ".join([*lost, *alone]) or "there are no rows"))
    return Matched(tuple(pairs), tuple(alone), tuple(lost))


def within(source: Source) -> Matched:
    """All rows of one result with its first one; rows of another payload with the first of theirs.

    Raises:
        NotComparable: Rows are of different models, or fewer than two were measured.
    """
    alone = [f"{title(row)}: {_unmeasured(row)}" for row in source.result.rows if row.status != "measured"]
    rows = [row for row in source.result.rows if row.status == "measured"]
    models = sorted({_model(row) for row in rows})
    if len(models) > 1:
        raise NotComparable(f"{source.name} has rows of different models: {', '.join(map(plain, models))}")
    first: dict[str, Row] = {}
    pairs = []
    for row in rows:
        baseline = first.setdefault(row.payload, row)
        if baseline is not row:
            pairs.append(_pair(Side(source, row), Side(source, baseline)))
    if not pairs:
        raise NotComparable(f"{source.name} has fewer than two measured rows of one payload; nothing to compare")
    return Matched(tuple(pairs), tuple(alone))


def title(row: Row) -> str:
    """A row in one line: deployment, dialect, hardware, payload."""
    return plain(" · ".join((row.deployment, row.dialect, row.hardware, row.payload)))


def _unmeasured(row: Row) -> str:
    return f"{row.status}: {plain(row.why) or 'no reason is given'}"


def _counterpart(row: Row, others: Sequence[Row]) -> Row | None:
    """The row that is the same in all dimensions; else the only one that differs in one of them."""
    measured = [
        each
        for each in others
        if each.status == "measured" and each.payload == row.payload and _model(each) == _model(row)
    ]
    for apart in (0, 1):
        found = [each for each in measured if len(_apart(row, each)) == apart]
        if found and (apart == 0 or len(found) == 1):
            return found[0]
    return None


def _apart(row: Row, other: Row) -> list[str]:
    return [each for each in _DIMENSIONS if getattr(row, each) != getattr(other, each)]


def _pair(ours: Side, theirs: Side) -> Pair:
    differs = [
        f"{each}: {plain(getattr(theirs.row, each))} → {plain(getattr(ours.row, each))}"
        for each in _apart(ours.row, theirs.row)
    ]
    machines = [side.source.result.machine for side in (theirs, ours)]
    if machines[0] != machines[1]:
        differs.append(f"machine: {_differing_machines(machines[0].name, machines[1].name)}")
    if not differs:
        differs += _settings(theirs.row.settings, ours.row.settings)
    revisions = [_revision(side.source.result) for side in (theirs, ours)]
    if revisions[0] != revisions[1]:
        differs.append(f"revision: {revisions[0]} → {revisions[1]}")
    return Pair(ours, theirs, tuple(differs))


def _settings(theirs: dict[str, Any], ours: dict[str, Any]) -> Iterator[str]:
    for key in sorted(theirs.keys() | ours.keys()):
        left, right = (plain(str(each.get(key, "not set")), 60) for each in (theirs, ours))
        if left != right:
            yield f"{plain(key)}: {left} → {right}"


def _revision(result: Result) -> str:
    """`1a2b3c4d5e`, with what was changed since; `unknown` outside a checkout."""
    revision = plain(str(result.git.get("revision", "unknown")))[:10]
    return f"{revision} with changes" if result.git.get("modified") else revision


def _differing_machines(theirs: str, ours: str) -> str:
    return f"{plain(theirs)} → {plain(ours)}" if theirs != ours else f"{plain(ours)}, whose software or limits changed"


def _model(row: Row) -> str:
    return row.deployment.partition("@")[0].partition("/")[0]


def _check_scenario(ours: Source, theirs: Source) -> None:
    differences = list(_different_settings(ours.result, theirs.result))
    if differences:
        raise NotComparable(
            f"{ours.name} and {theirs.name} measure different things: {'; '.join(differences[:8])}. "
            "Run the same scenario on both sides"
        )


def _different_settings(ours: Result, theirs: Result) -> Iterator[str]:
    for name, left, right in (("scenario", ours.name, theirs.name), ("kind", ours.kind, theirs.kind)):
        if left != right:
            yield f"{name} is {plain(left)} and {plain(right)}"
    missing = object()
    for key in sorted(ours.scenario.keys() | theirs.scenario.keys()):
        left, right = ours.scenario.get(key, missing), theirs.scenario.get(key, missing)
        if left != right and key not in _MAY_DIFFER | {"name", "kind"}:
            said = ["not there" if each is missing else plain(str(each), 60) for each in (left, right)]
            yield f"{plain(key)} is {said[0]} and {said[1]}"


def _check_models(ours: Source, theirs: Source) -> None:
    left, right = ours.result.models, theirs.result.models
    for model in sorted(left.keys() & right.keys()):
        for artifact in sorted(left[model].keys() & right[model].keys()):
            if left[model][artifact] != right[model][artifact]:
                raise NotComparable(
                    f"{ours.name} and {theirs.name} have different models: {plain(artifact)} of {plain(model)} has "
                    f"SHA-256 {plain(left[model][artifact], 16)} and {plain(right[model][artifact], 16)}"
                )
    if left and right and not left.keys() & right.keys():
        raise NotComparable(
            f"{ours.name} and {theirs.name} have different models: {', '.join(map(plain, sorted(left)))} and "
            f"{', '.join(map(plain, sorted(right)))}"
        )


def _check_payloads(ours: Source, theirs: Source) -> None:
    left, right = ({row.payload for row in each.result.rows} for each in (ours, theirs))
    if left and right and not left & right:
        raise NotComparable(
            f"{ours.name} and {theirs.name} have different payloads: {', '.join(map(plain, sorted(left)))} and "
            f"{', '.join(map(plain, sorted(right)))}"
        )
