"""What is right: the golden outputs, else what most deployments answer; and how near each one is to it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from loadtests.verdict.answers import Arrays, Limits, Odd, agree, limits_of
from loadtests.verdict.document import Agreement

GOLDEN: Final = "golden outputs"


@dataclass(frozen=True, slots=True)
class Agreements:
    """By deployment; `problems` are of those that cannot be compared, or that nothing says the right answers of."""

    reference: str
    found: Mapping[str, Agreement] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


NONE: Final = Agreements("")


def held_against_golden(outputs: Mapping[str, Arrays], golden: Arrays) -> Agreements:
    """Outputs [rows, …] by deployment, beside the right ones."""
    return _held(outputs, golden, GOLDEN)


def held_against_each_other(outputs: Mapping[str, Arrays]) -> Agreements:
    """Beside those of the deployment that more than half of all agree with; of several, the most exact one.

    Where there is none, nothing says who is right, and all have that problem. One alone is held against nothing.
    """
    if len(outputs) < 2:
        return NONE
    votes = {name: sum(_agree(outputs, name, other) for other in outputs if other != name) + 1 for name in outputs}
    reference = min(votes, key=lambda name: (-votes[name], _limits(name).largest, name))
    if 2 * votes[reference] <= len(outputs):
        text = "the deployments answer differently, and there is no golden data to say which of them is right"
        return Agreements("", {}, dict.fromkeys(outputs, text))
    return _held(outputs, outputs[reference], reference)


def _held(outputs: Mapping[str, Arrays], right: Arrays, reference: str) -> Agreements:
    found: dict[str, Agreement] = {}
    problems: dict[str, str] = {}
    for name, given in outputs.items():
        try:
            found[name] = agree(right, given, _limits(name))
        except Odd as error:
            problems[name] = f"its answers cannot be held against the {reference}: {error}"
    return Agreements(reference, found, problems)


def _agree(outputs: Mapping[str, Arrays], one: str, other: str) -> bool:
    """By the limits of the less exact of the two."""
    limits = max(_limits(one), _limits(other))
    try:
        return agree(outputs[one], outputs[other], limits).within
    except Odd:
        return False


def _limits(deployment: str) -> Limits:
    return limits_of(deployment.partition("@")[2])
