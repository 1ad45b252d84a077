"""`python -m loadtests machine`: the fingerprint of this machine, and what models can be run on here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from loadtests.hardware.choices import ENVIRONMENTS, settings
from loadtests.hardware.machine import fingerprint
from loadtests.results.schema import Machine

_BACKENDS = ("onnxruntime", "tflite", "tfserving", "torchserve")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Examples:  [b]torii loadtest machine[/b]   |   [b]torii loadtest machine --json[/b]")(machine)


def machine(
    as_json: Annotated[bool, typer.Option("--json", help="the fingerprint as in a result file")] = False,
) -> None:
    """Show what results say of this machine, and which settings of the hardware can be measured on it."""
    here = fingerprint(sorted(ENVIRONMENTS.glob("*/bin/python")))
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(here)).decode())
        return
    console = Console()
    console.print(_pairs(here.name, lines(here)))
    table = Table("backend", "setting", "can be measured")
    for backend in _BACKENDS:
        for setting in settings(backend):
            table.add_row(backend, setting.name, f"no: {setting.missing}" if setting.missing else "yes")
    console.print(table)


def lines(machine: Machine) -> Iterator[tuple[str, str]]:
    """The fingerprint in words, line by line; what is not known is not there."""
    cores = f"{machine.cores} usable"
    yield "processor", machine.cpu
    yield "architecture", machine.architecture
    yield "cores", f"{cores}, {machine.physical_cores} physical" if machine.physical_cores else cores
    yield "instructions", " ".join(machine.flags)
    yield "caches", ", ".join(f"{name} {size}" for name, size in machine.caches.items())
    yield "clock", f"{machine.mhz:.0f} MHz" if machine.mhz else ""
    yield "governor", machine.governor
    yield "memory", f"{machine.memory_bytes / 2**30:.1f} GiB"
    for gpu in machine.gpus:
        yield "GPU", ", ".join(value if name == "name" else f"{name} {value}" for name, value in gpu.items())
    for name, value in machine.container.items():
        yield name, value
    yield "system", machine.system
    yield "kernel", machine.kernel
    for name, version in machine.runtimes.items():
        yield name, version


def _pairs(title: str, pairs: Iterator[tuple[str, str]]) -> Table:
    table = Table(title=title, show_header=False)
    for name, value in pairs:
        if value:
            table.add_row(name, value)
    return table
