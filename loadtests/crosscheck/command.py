"""A tool's process: bounded in time, its CPU watched from the outside."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import psutil

from loadtests.crosscheck.measured import ToolFailed

_LOOK_S = 0.2
_LAST_WORDS = 600


@dataclass(frozen=True, slots=True)
class Command:
    """What to run; `told` goes to its stdin, `environment` joins this process's own."""

    argv: Sequence[str]
    told: str = ""
    environment: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """What it printed, and the share of a core, 0…1, that it used while it measured."""

    output: str
    cpu: float


def run(command: Command, folder: Path, limit_s: float) -> Ended:
    """Run it to its end in a folder.

    Raises:
        ToolFailed: it could not be started, ended badly, or not in time.
    """
    (folder / "told").write_text(command.told)
    output, errors = folder / "stdout", folder / "stderr"
    with (folder / "told").open("rb") as told, output.open("wb") as out, errors.open("wb") as err:
        environment = {**os.environ, **(command.environment or {})}
        try:
            process = subprocess.Popen(command.argv, cwd=folder, env=environment, stdin=told, stdout=out, stderr=err)
        except OSError as error:
            raise ToolFailed(f"{command.argv[0]} cannot be run: {error}") from None
        try:
            cpu = _watch(process, limit_s)
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        words = (errors.read_text(errors="replace") + output.read_text(errors="replace")).strip()[-_LAST_WORDS:]
        raise ToolFailed(f"it ended with {process.returncode}: {words}")
    return Ended(output.read_text(errors="replace"), cpu)


def _watch(process: subprocess.Popen[bytes], limit_s: float) -> float:
    """Wait for its end; its share of a core in its usual looks, for starting and ending are not what is measured."""
    watched = psutil.Process(process.pid)
    give_up = time.monotonic() + limit_s
    shares: list[float] = []
    before_s, before_cpu = time.monotonic(), 0.0
    while True:
        try:
            process.wait(_LOOK_S)
        except subprocess.TimeoutExpired:
            now, cpu = time.monotonic(), sum(watched.cpu_times()[:2])
            shares.append((cpu - before_cpu) / (now - before_s))
            before_s, before_cpu = now, cpu
            if now > give_up:
                raise ToolFailed(f"it did not end within {limit_s:.0f} s") from None
        else:
            return _usual(shares)


def _usual(shares: Sequence[float]) -> float:
    """The mean of the middle half: a look is short for the system's clock ticks, so a median would be coarse."""
    cut = len(shares) // 4
    return fmean(sorted(shares)[cut : len(shares) - cut]) if shares else 0.0
