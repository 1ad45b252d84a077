"""GPUs: NVIDIA's by its own program, others by what the kernel shows of them."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from typing import Final

from loadtests.hardware.files import Files

QUERY: Final = "name,memory.total,driver_version,compute_cap,power.limit,clocks.max.sm,mig.mode.current"
_MAKERS: Final = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
_KEYS: Final = ("name", "memory", "driver", "compute capability", "power limit", "max clock", "MIG")
_UNKNOWN: Final = ("", "[n/a]", "n/a", "[not supported]", "[unknown error]")


def gpus(files: Files, ask: Callable[..., str]) -> tuple[dict[str, str], ...]:
    """Each GPU: name, memory, driver, CUDA, as far as it can be found out. `ask(*argv)` runs a program."""
    nvidia = of_nvidia(
        ask("nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader"),
        ask("nvidia-smi"),
    ) or of_nvidia(ask("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"), "")
    shown = of_kernel(files)
    return (*nvidia, *(each for each in shown if not nvidia or not each["name"].startswith("NVIDIA")))


def of_nvidia(rows: str, summary: str) -> tuple[dict[str, str], ...]:
    """What nvidia-smi prints for `--query-gpu` as CSV without a header, and its summary, which names the CUDA version.

    An older nvidia-smi, which does not know every key, prints no table at all, but a message.
    """
    cuda = re.search(r"CUDA Version:\s*([\d.]+)", summary)
    found = []
    for row in csv.reader(rows.splitlines(), skipinitialspace=True):
        if len(row) < 3:
            return ()
        told = {key: value.strip() for key, value in zip(_KEYS, row, strict=False)}
        told = {key: value for key, value in told.items() if value.lower() not in _UNKNOWN}
        found.append(told | ({"CUDA": cuda[1]} if cuda else {}))
    return tuple(found)


def of_kernel(files: Files) -> tuple[dict[str, str], ...]:
    """What the kernel's graphics drivers show: maker and number of the device, its driver, and memory (AMD)."""
    found = []
    for card in files.matching("sys/class/drm/card[0-9]*/device"):
        if "-" in card.split("/")[-2]:  # card0-HDMI-A-1 is a connector
            continue
        event = dict(line.partition("=")[::2] for line in files.text(f"{card}/uevent").splitlines())
        maker, device = files.text(f"{card}/vendor"), files.text(f"{card}/device")
        compatible = event.get("OF_COMPATIBLE_0", "")  # boards: brcm,bcm2712-v3d
        if not compatible and maker not in _MAKERS:
            continue  # a virtual machine's screen
        told = {"name": compatible or f"{_MAKERS[maker]} {device}", "driver": event.get("DRIVER", "")}
        if size := files.number(f"{card}/mem_info_vram_total"):
            told["memory"] = f"{size >> 20} MiB"
        found.append({key: value for key, value in told.items() if value})
    return tuple(found)
