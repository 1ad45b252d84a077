"""The file of a model's channels: which version is whose, and how far a rollout is.

A channel has a current version, and perhaps a rollout of another one to a share of its devices. What is settled are
versions whose rollout by rules (`--os android`) has ended: those whom the rules allow keep them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import msgspec
from msgspec.structs import replace

from adapters.errors import InvalidInput
from gateway.config import ConfigError
from gateway.edge.devices import Device, Rules
from gateway.errors import ModelNotFound
from gateway.experiments.assignment import hash_unit
from gateway.types import SLOTS

CHANNEL_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_MOST_BYTES: Final = 1 << 20

Version = Annotated[int, msgspec.Meta(ge=1, lt=10**18)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Percent = Annotated[float, msgspec.Meta(gt=0, le=100)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
State = Literal["running", "halted", "done"]


class Stage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A share of the devices, and what must have come before the next one: time, and reports in that time."""

    percent: Percent
    after_s: Annotated[float, msgspec.Meta(ge=0)] = 3600.0
    min_reports: Count = 50


class Halt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What halts a rollout: a larger share of failed self-checks than this, among at least so many reports."""

    max_failed: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.02
    min_reports: Annotated[int, msgspec.Meta(ge=1)] = 50


class Evidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Devices that reported of a version in a channel since its rollout was `started`, and those where it failed."""

    reports: Count = 0
    failed: Count = 0


class Rollout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A version on its way to devices. `since` is when its stage began, `before` what had been seen until then."""

    version: Version
    percent: Percent
    stages: tuple[Stage, ...]
    stage: Count = 0
    started: Moment
    since: Moment
    before: Evidence = Evidence()
    rules: Rules = Rules()
    halt: Halt = Halt()
    state: State = "running"
    reason: str = ""

    def __post_init__(self) -> None:
        percents = [each.percent for each in self.stages]
        if not percents or percents != sorted(set(percents)) or percents[-1] != 100:
            raise InvalidInput(f"stages: expected growing percents that end with 100, got {_listed(percents)}")
        if self.stage >= len(self.stages) or self.percent != percents[self.stage]:
            raise InvalidInput(f"stage {self.stage} at {self.percent:g} %: expected one of {_listed(percents)}")

    def takes(self, model: str, channel: str, salt: str, device: Device) -> bool:
        """Whether a device is among those that get it now; it stays so while the percent grows.

        One without an id comes last. Each version has other devices that go first.
        """
        if self.state != "running" or not self.rules.allow(device):
            return False
        if self.percent >= 100 or not device.id:
            return self.percent >= 100
        unit = hash_unit(f"{salt}/{model}/{channel}/{self.version}", device.id.encode("utf-8", "surrogatepass"))
        return unit.slot < self.percent / 100 * SLOTS


class Settled(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A version that those have whom its rules allow."""

    version: Version
    rules: Rules


class Former(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a channel gave before its last change."""

    current: Version | None
    settled: tuple[Settled, ...] = ()


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that happened to a channel."""

    at: Moment
    event: str
    version: Version | None = None
    reason: str = ""


class Channel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`current` is what all others get: None where nothing is left that they could have."""

    current: Version | None = None
    rollout: Rollout | None = None
    settled: tuple[Settled, ...] = ()
    former: tuple[Former, ...] = ()
    history: tuple[Event, ...] = ()

    def versions(self) -> set[int]:
        """Every version that some device of the channel may have by it."""
        rollout = (self.rollout.version,) if self.rollout and self.rollout.state == "running" else ()
        return {each for each in (self.current, *rollout, *(one.version for one in self.settled)) if each is not None}


class ChannelFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The channels of a model, as `channels/<model>.json` has them."""

    schema: Literal[1] = 1
    model: str
    salt: str
    channels: dict[str, Channel] = {}

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file. Blocking; raises FileNotFoundError, OSError, and ConfigError where it is wrong."""
        with path.open("rb") as stream:
            text = stream.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise ConfigError(f"channels/{path.name}: expected at most {_MOST_BYTES} bytes")
        try:
            return msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidInput) as error:
            raise ConfigError(f"channels/{path.name}: {error}; mend it, or bring back the last good one") from None

    def text(self) -> str:
        """The file's text."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1).decode() + "\n"

    def channel(self, name: str) -> Channel:
        """A channel; raises ModelNotFound, which says what there is."""
        if name not in self.channels:
            there = ", ".join(sorted(self.channels)) or "none"
            raise ModelNotFound(f"channel {name!r:.40} of model '{self.model}' is not there; there is {there}")
        return self.channels[name]

    def having(self, name: str, channel: Channel) -> Self:
        """The same with a channel changed or added."""
        return replace(self, channels={**self.channels, name: channel})


def _listed(percents: Iterable[float]) -> str:
    return ", ".join(f"{each:g}" for each in percents) or "none"
