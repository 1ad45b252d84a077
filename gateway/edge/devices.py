"""What a device says of itself, and the rules that tell which devices a version is for: pure."""

from __future__ import annotations

import re
from typing import Final

import msgspec
from packaging.version import InvalidVersion, Version

from adapters.errors import InvalidInput

_MOST_CHARACTERS: Final = 64
_RELEASE: Final = re.compile(r"v?([0-9]+(?:\.[0-9]+)*)")
_ARCHITECTURES: Final = {"aarch64": "arm64", "x86_64": "amd64", "x64": "amd64", "armv7l": "arm", "armv7": "arm"}


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A device as it describes itself; what it does not say is empty or None. `id` is anonymous, and stays the same."""

    id: str = ""
    os: str = ""
    arch: str = ""
    runtime: str = ""
    app: str = ""
    ram_mb: int | None = None

    @property
    def platforms(self) -> tuple[str, ...]:
        """The targets of bundles that it can take, the most exact first: linux-arm64, then linux."""
        arch = _ARCHITECTURES.get(self.arch, self.arch)
        return (f"{self.os}-{arch}", self.os) if arch else (self.os,)


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who may have a version: one of each list that is not empty, and at least what is required."""

    os: tuple[str, ...] = ()
    runtime: tuple[str, ...] = ()
    arch: tuple[str, ...] = ()
    min_app: str | None = None
    min_ram_mb: int | None = None

    def __post_init__(self) -> None:
        if self.min_app is not None and app_version(self.min_app) is None:
            raise InvalidInput(f"min_app: expected a version, as 2.1 or 2.1.0-rc1, got {self.min_app!r:.80}")
        if self.min_ram_mb is not None and self.min_ram_mb < 1:
            raise InvalidInput(f"min_ram_mb: expected a positive number of MiB, got {self.min_ram_mb}")

    def __str__(self) -> str:
        lists = ("os", self.os), ("arch", self.arch), ("runtime", self.runtime)
        said = [f"{name} {'/'.join(each)}" for name, each in lists if each]
        said += [f"app {self.min_app} or newer"] if self.min_app else []
        said += [f"{self.min_ram_mb} MiB or more"] if self.min_ram_mb else []
        return ", ".join(said) or "all"

    def allow(self, device: Device) -> bool:
        """Whether a device may have it; one that does not say what a rule asks for may not."""
        arch = _ARCHITECTURES.get(device.arch, device.arch)
        return (
            (not self.os or device.os in self.os)
            and (not self.runtime or device.runtime in self.runtime)
            and (not self.arch or arch in {_ARCHITECTURES.get(each, each) for each in self.arch})
            and enough(device, self.min_app, self.min_ram_mb)
        )


def enough(device: Device, min_app: str | None, min_ram_mb: int | None) -> bool:
    """Whether a device's app is new enough, and its memory large enough; what it does not say is not."""
    if min_ram_mb is not None and (device.ram_mb is None or device.ram_mb < min_ram_mb):
        return False
    if min_app is None:
        return True
    wanted, there = app_version(min_app), app_version(device.app)
    return wanted is not None and there is not None and there >= wanted


def app_version(text: str) -> Version | None:
    """A version by the rules of PEP 440 (2.10 is above 2.9, 2.1-rc1 below 2.1); None where there is none in it.

    Of what has other words behind its numbers (`2.1.0 (build 7)`), the numbers count.
    """
    text = text.strip()
    if len(text) > _MOST_CHARACTERS:
        return None
    try:
        return Version(text)
    except InvalidVersion:
        numbers = _RELEASE.match(text)
        return Version(numbers[1]) if numbers else None
