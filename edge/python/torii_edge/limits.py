"""How long the client waits, and how much it takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Seconds and bytes, each a bound that the other side cannot move.

    A download may take `patience_s` and a second for every `slowest` bytes that were signed for; what has come until
    then is kept, and the next update goes on from there.
    """

    silence_s: float = 15.0
    patience_s: float = 60.0
    slowest: int = 2048
    self_check_s: float = 120.0
    bundle_bytes: int = 1 << 30
    answer_bytes: int = 1 << 18

    def download_s(self, length: int) -> float:
        """The seconds in which so many bytes must have come."""
        return self.patience_s + length / self.slowest
