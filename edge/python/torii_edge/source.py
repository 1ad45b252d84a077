"""Where a device's model comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torii_edge.device import Device
from torii_edge.limits import Limits


@dataclass(frozen=True)
class Source:
    """A model's channel on a server, and what may come from there.

    `root` is the trusted root's bytes, `runtimes` what bundles are asked for, `refresh_s` how old the signed metadata
    may be when the server says that there is nothing new.
    """

    url: str
    model: str
    channel: str
    root: bytes
    device: Device
    runtimes: Sequence[str]
    limits: Limits
    refresh_s: float

    @property
    def wish(self) -> str:
        """For whom a model is asked, in words: what a bundle must be of, where there is none."""
        where = "-".join(each for each in (self.device.os, self.device.arch) if each)
        return f"{self.model}, channel {self.channel}, for {where} with {', '.join(self.runtimes) or 'no runtime'}"
