"""Files that make a new bundle out of an old one: bsdiff, in a child process, within limits of size and time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

MOST_SHARE: Final = 0.6
"""Of the whole: a larger delta is not worth the device's work."""

MOST_BYTES: Final = 32 << 20
"""Of either file: bsdiff takes 15 times as much memory, and 40 s for 32 MiB; much longer for what is hardly random."""

Differ: TypeAlias = Callable[[Path, Path, Path], str]
"""Writes a delta of an old and a new file to a third; gives why there is none."""

LONGEST_S: Final = 120.0
_PROGRAM: Final = "import sys, bsdiff4; bsdiff4.file_diff(*sys.argv[1:4])"


@dataclass(frozen=True, slots=True)
class DeltaLimits:
    """What a delta may cost, and be. No delta is made where `most_bytes` is 0."""

    most_bytes: int = MOST_BYTES
    longest_s: float = LONGEST_S
    most_share: float = MOST_SHARE


def make_delta(old: Path, new: Path, staged: Path, limits: DeltaLimits | None = None) -> str:
    """Write a delta to a file; why there is none is what it gives, and empty where there is one.

    Blocking, for `longest_s` at most; the child has the memory. Raises OSError.
    """
    limits = limits or DeltaLimits()
    size = new.stat().st_size
    largest = max(size, old.stat().st_size)
    if largest > limits.most_bytes:
        return f"{largest:,} bytes are more than deltas are made of ({limits.most_bytes:,})"
    command = [sys.executable, "-I", "-c", _PROGRAM, str(old), str(new), str(staged)]
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, timeout=limits.longest_s, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        staged.unlink(missing_ok=True)
        return f"it was not ready within {limits.longest_s:g} s"
    if done.returncode:
        staged.unlink(missing_ok=True)
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        return f"bsdiff failed with exit code {done.returncode}: {said:.200}"
    share = staged.stat().st_size / size
    if share >= limits.most_share:
        staged.unlink()
        return f"it would be {share:.0%} of the whole, and is worth it below {limits.most_share:.0%}"
    return ""
