"""The machine's fingerprint: what of it bears on figures. Nothing here fails: what cannot be found out is left out."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil

from loadtests.hardware import apple, container, cpu, gpu
from loadtests.hardware.commands import said
from loadtests.hardware.files import Files
from loadtests.hardware.naming import name_of
from loadtests.hardware.runtimes import runtimes
from loadtests.results.schema import Machine

Ask = Callable[..., str]

_BOARD: Final = ("proc/device-tree/model", "sys/firmware/devicetree/base/model")


def fingerprint(pythons: Sequence[Path] = ()) -> Machine:
    """This machine. `pythons` are interpreters whose packages count, too. Blocking, a second: runs programs."""
    return described(Files(), said, os.environ, affinity(), runtimes(pythons, said))


def affinity() -> list[int]:
    """The logical processors that this process may run on; all of them where the system has no such rule."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def usable_cores(files: Files | None = None) -> int:
    """Logical processors that may be used, by affinity and by the time that a container has; as the gateway counts."""
    limits = container.limits(files or Files())
    return _cores(affinity(), limits)


def _cores(usable: Sequence[int], limits: Mapping[str, str]) -> int:
    quota = container.cores_of(limits["cpu.max"]) if "cpu.max" in limits else len(usable)
    return max(1, min(len(usable), int(quota)))


def described(
    files: Files, ask: Ask, variables: Mapping[str, str], usable: Sequence[int], versions: Mapping[str, str]
) -> Machine:
    """The machine that `files` and programs (`ask(*argv)`) tell of; `usable` are the processors that may be used."""
    limits = container.limits(files)
    cpus = cpu.processors(files.text("proc/cpuinfo"))
    mine = [each for each in cpus if each["processor"] in set(map(str, usable))] or cpus
    board = next(filter(None, map(files.text, _BOARD)), "")
    mac = apple.told(ask) if platform.system() == "Darwin" else {}
    model = cpu.model(mine) or mac.get("cpu", "")
    memory = min(_memory_bytes(files), int(limits.get("memory.max", 1 << 62)))
    found = gpu.gpus(files, ask)
    cores = _cores(usable, limits)
    physical = cpu.physical_cores(files, usable) or apple.number(mac, "physical")
    accelerators = [each["name"] for each in found if "memory" in each]  # a board's graphics have none of their own
    return Machine(
        name=name_of(board or model or platform.machine(), cores, memory, accelerators),
        cpu=f"{board} ({model})" if board and model else board or model,
        architecture=platform.machine(),
        cores=cores,
        physical_cores=physical and min(physical, cores),
        flags=cpu.flags(mine) or apple.flags(mac),
        caches=cpu.caches(files) or apple.caches(mac),
        mhz=cpu.mhz(files, mine) or apple.mhz(mac),
        governor=cpu.governor(files),
        memory_bytes=memory,
        gpus=found,
        container=limits | container.recognised(files, variables, lambda kind: ask("systemd-detect-virt", kind)),
        system=_system(files),
        kernel=f"{platform.system()} {platform.release()}",
        runtimes=dict(versions),
    )


def _memory_bytes(files: Files) -> int:
    for line in files.text("proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return int(psutil.virtual_memory().total)


def _system(files: Files) -> str:
    lines = (line.partition("=") for line in files.text("etc/os-release").splitlines())
    told = {key: value.strip("\"'") for key, _, value in lines}
    mac = platform.mac_ver()[0]
    return told.get("PRETTY_NAME") or (f"macOS {mac}" if mac else platform.system())
