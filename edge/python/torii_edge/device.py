"""What a device says of itself when it asks for a model: nothing by which its owner could be known."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

_SYSTEMS: Final = {"darwin": "macos", "win32": "windows"}
_ARCHITECTURES: Final = {"aarch64": "arm64", "x86_64": "amd64", "AMD64": "amd64", "armv7l": "arm", "armv6l": "arm"}


def _system() -> str:
    if hasattr(sys, "getandroidapilevel"):
        return "android"
    return _SYSTEMS.get(sys.platform, sys.platform)


def _architecture() -> str:
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine.lower())


def _ram_mb() -> int | None:
    """The machine's memory in MiB, or what this process may have of it."""
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    try:
        import resource  # noqa: PLC0415  # not on Windows

        allowed = resource.getrlimit(resource.RLIMIT_AS)[0]
        there = min(there, allowed) if allowed != resource.RLIM_INFINITY else there
    except ImportError:
        pass
    return there >> 20 if there > 0 else None


@dataclass(frozen=True)
class Device:
    """`os`, `arch` and `ram_mb` (MiB) are found by themselves; `app` is the app's version, where it has one."""

    os: str = field(default_factory=_system)
    arch: str = field(default_factory=_architecture)
    ram_mb: int | None = field(default_factory=_ram_mb)
    app: str = ""

    def facts(self, runtime: str) -> Iterable[tuple[str, str]]:
        """As the server is told them."""
        facts = ("os", self.os), ("arch", self.arch), ("runtime", runtime), ("app", self.app)
        yield from ((name, text) for name, text in facts if text)
        if self.ram_mb is not None:
            yield "ram_mb", str(self.ram_mb)
