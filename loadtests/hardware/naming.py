"""A machine's short name: the same for equal hardware, and nothing of the host's own name in it."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NOISE = re.compile(
    r"\(R\)|\(TM\)|\(r\)|\(tm\)|@.*$|\b\d+-Core\b|\b\d+th Gen\b|\bProcessor\b|\bCPU\b|\bRev [\d.]+|\bModel\b"
    r"|\bAMD\b|\bIntel\b|\bNVIDIA\b|\bGenuine\b",
    re.IGNORECASE,
)
_OF_GPU = re.compile(r"\b(GeForce|Tesla|Quadro|PCIe|SXM\d*|NVL|HBM\w*|\d+GB)\b", re.IGNORECASE)
_PLATFORM = re.compile(r"\(([^),]+).*\)")


def name_of(cpu: str, cores: int, memory_bytes: int, gpus: Sequence[str]) -> str:
    """`EPYC-9B14-2c-24GB`; with a GPU, which then is what matters, `H100-16c`, and `2xH100-32c` with two."""
    if gpus:
        first = _short(_OF_GPU.sub("", gpus[0])) or "GPU"
        return f"{f'{len(gpus)}x' if len(gpus) > 1 else ''}{first}-{cores}c"
    return f"{_short(cpu) or 'unknown'}-{cores}c" + (f"-{_gigabytes(memory_bytes)}GB" if memory_bytes else "")


def _short(name: str) -> str:
    words = _PLATFORM.sub(r"\1", _NOISE.sub(" ", name.partition(" + ")[0]))
    return re.sub(r"[^A-Za-z0-9.]+", "-", words).strip("-.")[:40]


def _gigabytes(memory_bytes: int) -> str:
    """What was built in: the kernel keeps a part for itself, and not the same under each version."""
    gib = memory_bytes / 2**30
    if gib < 1:
        return f"{gib:.1f}"
    step = 1 if gib <= 16 else 4 if gib <= 64 else 16
    return str(-(-int(gib * 10) // (10 * step)) * step)
