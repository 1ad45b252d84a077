"""What macOS tells of its machine, by sysctl."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

_KEYS: Final = {
    "cpu": "machdep.cpu.brand_string",
    "physical": "hw.physicalcpu",
    "hz": "hw.cpufrequency_max",
    "L1i": "hw.l1icachesize",
    "L1d": "hw.l1dcachesize",
    "L2": "hw.l2cachesize",
    "L3": "hw.l3cachesize",
    "asimddp": "hw.optional.arm.FEAT_DotProd",
    "i8mm": "hw.optional.arm.FEAT_I8MM",
    "bf16": "hw.optional.arm.FEAT_BF16",
    "sme": "hw.optional.arm.FEAT_SME",
    "avx2": "hw.optional.avx2_0",
    "fma": "hw.optional.fma",
    "f16c": "hw.optional.f16c",
    "avx512f": "hw.optional.avx512f",
}
_FLAGS: Final = ("asimddp", "avx2", "avx512f", "bf16", "f16c", "fma", "i8mm", "sme")


def told(ask: Callable[..., str]) -> dict[str, str]:
    """Our names to what sysctl says; `ask(*argv)` runs a program. Keys that this Mac does not have are left out."""
    names = {name: key for key, name in _KEYS.items()}
    lines = (line.partition(":") for line in ask("sysctl", "-i", *names).splitlines())
    return {names[name]: value.strip() for name, _, value in lines if name in names and value.strip()}


def number(told: Mapping[str, str], key: str) -> int | None:
    """A whole number; None where it is not told."""
    return int(told[key]) if told.get(key, "").isdecimal() else None


def flags(told: Mapping[str, str]) -> tuple[str, ...]:
    """Those instructions that are there."""
    return tuple(flag for flag in _FLAGS if told.get(flag) == "1")


def caches(told: Mapping[str, str]) -> dict[str, str]:
    """Sizes of the caches of the kind of core that sysctl tells of."""
    sizes = {key: number(told, key) for key in ("L1d", "L1i", "L2", "L3")}
    return {key: f"{size >> 10} KiB" for key, size in sizes.items() if size}


def mhz(told: Mapping[str, str]) -> float | None:
    """The highest clock; Macs with Apple's own processors do not tell it."""
    hz = number(told, "hz")
    return hz / 1e6 if hz else None
