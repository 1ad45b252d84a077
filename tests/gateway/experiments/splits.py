"""Running experiments as requests know them, and callers with headers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.experiments.slots import Allocation, allocate
from gateway.types import Arm, Target, TrafficSplit

UNIT = ("header", "torii-unit")


def split(weights: Mapping[str, float] | None = None, slots: Allocation | None = None, **changes: Any) -> TrafficSplit:
    """The experiment x of the model m; arm number i goes to version i + 1."""
    weights = weights or {"a": 50, "b": 50}
    index = {name: number for number, name in enumerate(weights)}
    settings: dict[str, Any] = {
        "experiment": "x",
        "run": 1,
        "epoch": 0,
        "salt": "m/x",
        "arms": tuple(Arm(name, Target("m", number + 1)) for name, number in index.items()),
        "slots": tuple((end, index[name]) for end, name in slots or allocate(weights)),
        "units": (UNIT, ("parameter", "unit")),
    }
    return TrafficSplit(**{**settings, **changes})


class From:
    """A Caller with headers."""

    def __init__(self, **headers: str | bytes) -> None:
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def header(self, name: str) -> bytes | None:
        """See Caller."""
        value = self._headers.get(name)
        return value.encode() if isinstance(value, str) else value
