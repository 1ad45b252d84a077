"""What is kept of a run besides cells and counts."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.experiments.outputs import OutputIncrement
from gateway.experiments.recording import ShadowIncrement

_log = logging.getLogger(__name__)


class Extras(msgspec.Struct):
    """Outputs by variant and name, the shadow's counts, and sums that a bandit has learned from."""

    outputs: dict[str, dict[str, OutputIncrement]] = msgspec.field(default_factory=dict)
    shadow: ShadowIncrement = msgspec.field(default_factory=ShadowIncrement)
    bandit: dict[str, float] = msgspec.field(default_factory=dict)

    def add_outputs(self, variant: str, outputs: Mapping[str, OutputIncrement]) -> None:
        """Add what a variant answered."""
        kept = self.outputs.setdefault(variant, {})
        for name, found in outputs.items():
            kept.setdefault(name, OutputIncrement(classes={})).add(found)

    def absorb(self, before: Extras) -> None:
        """Add what was seen before."""
        for variant, outputs in before.outputs.items():
            self.add_outputs(variant, outputs)
        self.shadow.add(before.shadow)
        sums = Counter(self.bandit)
        sums.update(Counter(before.bandit))
        self.bandit = dict(sums)

    def dump(self) -> dict[str, Any]:
        """As plain data."""
        plain: dict[str, Any] = msgspec.to_builtins(self, str_keys=True)
        return plain

    @classmethod
    def load(cls, plain: Mapping[str, Any]) -> Extras:
        """What `dump` gave; what cannot be read (sums beyond all numbers are stored as none) is left out."""
        try:
            return msgspec.convert(plain, cls, strict=False, str_keys=True)
        except msgspec.ValidationError as error:
            _log.warning("what was kept of outputs, shadow and bandit of a run cannot be read: %s", error)
            return cls()
