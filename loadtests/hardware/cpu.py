"""The processor: model, cores, instructions that matter for inference, caches, clock."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from loadtests.hardware.files import Files

_CPUS: Final = "sys/devices/system/cpu"

FLAGS: Final = frozenset(
    (
        *("sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx_vnni_int8", "avx_ne_convert"),
        *("avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
        *("amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
        *(
            "neon",
            "asimd",
            "asimdhp",
            "fphp",
            "asimddp",
            "i8mm",
            "bf16",
            "sve",
            "sve2",
            "svei8mm",
            "svebf16",
            "sme",
            "sme2",
        ),
    )
)
"""Of hundreds of flags those that kernels of linear algebra are chosen by, on x86 and on ARM."""

_ARM_MAKERS: Final = {
    0x41: "ARM", 0x42: "Broadcom", 0x46: "Fujitsu", 0x48: "HiSilicon", 0x4E: "NVIDIA", 0x51: "Qualcomm",
    0x61: "Apple", 0x6D: "Microsoft", 0xC0: "Ampere",
}  # fmt: skip
_ARM_PARTS: Final = {
    0xB76: "ARM1176", 0xC07: "Cortex-A7", 0xC0F: "Cortex-A15", 0xD03: "Cortex-A53", 0xD04: "Cortex-A35",
    0xD05: "Cortex-A55", 0xD07: "Cortex-A57", 0xD08: "Cortex-A72", 0xD09: "Cortex-A73", 0xD0A: "Cortex-A75",
    0xD0B: "Cortex-A76", 0xD0C: "Neoverse-N1", 0xD0D: "Cortex-A77", 0xD40: "Neoverse-V1", 0xD41: "Cortex-A78",
    0xD42: "Cortex-A78AE", 0xD44: "Cortex-X1", 0xD46: "Cortex-A510", 0xD47: "Cortex-A710", 0xD48: "Cortex-X2",
    0xD49: "Neoverse-N2", 0xD4D: "Cortex-A715", 0xD4E: "Cortex-X3", 0xD4F: "Neoverse-V2", 0xD80: "Cortex-A520",
    0xD81: "Cortex-A720", 0xD82: "Cortex-X4", 0xD84: "Neoverse-V3", 0xD8E: "Neoverse-N3",
}  # fmt: skip


def processors(cpuinfo: str) -> list[dict[str, str]]:
    """/proc/cpuinfo: one mapping for each logical processor. Old ARM kernels put what all share behind them."""
    blocks = [_fields(block) for block in re.split(r"\n\s*\n", cpuinfo)]
    shared = {key: value for block in blocks if "processor" not in block for key, value in block.items()}
    return [{**shared, **block} for block in blocks if "processor" in block]


def _fields(block: str) -> dict[str, str]:
    lines = (line.partition(":") for line in block.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, _, value in lines}


def model(cpus: Iterable[Mapping[str, str]]) -> str:
    """What the processor calls itself; of ARM, which tells numbers only, its cores' names; empty if neither is told."""
    names = [cpu.get("model name") or _of_arm(cpu) or cpu.get("uarch") or cpu.get("cpu", "") for cpu in cpus]
    return " + ".join(dict.fromkeys(re.sub(r"\s+", " ", name) for name in names if name))


def _of_arm(cpu: Mapping[str, str]) -> str:
    try:
        maker, part = int(cpu["CPU implementer"], 16), int(cpu["CPU part"], 16)
    except (KeyError, ValueError):
        return ""
    known = _ARM_PARTS.get(part) if maker == 0x41 else None
    return known or f"{_ARM_MAKERS.get(maker, f'implementer {maker:#x}')} part {part:#x}"


def flags(cpus: Iterable[Mapping[str, str]]) -> tuple[str, ...]:
    """Those of FLAGS that every processor has, sorted."""
    of_each = [set(f"{cpu.get('flags', '')} {cpu.get('Features', '')}".split()) for cpu in cpus]
    return tuple(sorted(FLAGS.intersection(*of_each))) if of_each else ()


def physical_cores(files: Files, usable: Iterable[int]) -> int | None:
    """Cores, of which several logical ones may be threads, among those that may be used; None: cannot be told."""
    cores = set()
    for number in usable:
        topology = f"{_CPUS}/cpu{number}/topology"
        core = files.text(f"{topology}/core_id"), files.text(f"{topology}/physical_package_id")
        siblings = files.text(f"{topology}/thread_siblings_list") or files.text(f"{topology}/core_cpus_list")
        if not siblings and not all(core):
            return None
        cores.add(siblings or core)  # on ARM, several clusters may count their cores from 0 each
    return len(cores) or None


def caches(files: Files) -> dict[str, str]:
    """`L1d`, `L1i`, `L2`, `L3` of the first processor and their sizes: `1 MiB`."""
    found = {}
    for folder in files.matching(f"{_CPUS}/cpu0/cache/index*"):
        level, kind, size = (files.text(f"{folder}/{name}") for name in ("level", "type", "size"))
        if level and size:
            found[f"L{level}{ {'Data': 'd', 'Instruction': 'i'}.get(kind, '') }"] = _readable(size)
    return dict(sorted(found.items()))


def _readable(size: str) -> str:
    match = re.fullmatch(r"(\d+)K", size)
    if match is None:
        return size
    kib = int(match[1])
    return f"{kib // 1024} MiB" if kib >= 1024 and kib % 1024 == 0 else f"{kib} KiB"


def mhz(files: Files, cpus: Iterable[Mapping[str, str]]) -> float | None:
    """The highest clock that the kernel would set; where it sets none (in virtual machines), the present one."""
    if khz := files.number(f"{_CPUS}/cpu0/cpufreq/cpuinfo_max_freq"):
        return khz / 1000
    present = (re.fullmatch(r"(\d+(?:\.\d+)?)(?:MHz)?", cpu.get("cpu MHz") or cpu.get("clock", "")) for cpu in cpus)
    return max((float(match[1]) for match in present if match), default=None)


def governor(files: Files) -> str:
    """Who sets the clock: `performance`, `schedutil`, …; several, where processors differ; empty where nobody does."""
    paths = files.matching(f"{_CPUS}/cpu[0-9]*/cpufreq/scaling_governor")
    return ", ".join(dict.fromkeys(filter(None, map(files.text, paths))))
